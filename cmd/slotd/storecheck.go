package main

import (
	"context"
	"errors"
	"fmt"
	"strconv"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/spf13/cobra"

	"slotd/actors/store"
	"slotd/actors/store/inspect"
	"slotd/actors/store/pebble"
	"slotd/actors/store/pebble/verify"
	slotdv1 "slotd/messages/slotd/v1"
)

func (a *app) storeCheckVerb() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "check",
		Short: "Look for damage, loss and records that do not belong",
		Long: "Read the whole store and tell what is wrong: damaged or missing files, acknowledged commits that are\n" +
			"missing, records and log directories without a task, records that make no sense. The end of a log that a\n" +
			"crash cut off was never acknowledged and is only noted. Changes nothing. Exit code 0: nothing was found,\n" +
			"1: something was.",
		Args: cobra.NoArgs,
	}
	a.dataFlags(cmd.Flags())
	cmd.RunE = a.verb(func(ctx context.Context, _ []string) (err error) {
		o, err := a.takeOffline(cmd.Flags(), false)
		if err != nil {
			return err
		}
		defer func() { err = errors.Join(err, o.close()) }()
		checked, err := checkStore(ctx, o)
		if err != nil {
			return err
		}
		if err := a.showCheck(checked); err != nil {
			return err
		}
		if n := len(checked.Findings); n > 0 {
			return fmt.Errorf("the store in %s is not in order: %s", checked.Store, counted(uint64(n), "finding"))
		}
		return nil
	})
	return cmd
}

// storeCheck is what a check has to say.
type storeCheck struct {
	Store        string              `json:"store"`
	Empty        bool                `json:"empty"`
	Format       uint32              `json:"format"`
	Engine       uint64              `json:"engine"`
	CreatedBy    string              `json:"createdBy"`
	Bytes        int64               `json:"bytes"`
	Tables       int                 `json:"tables"`
	Logs         int                 `json:"logs"`
	Commits      uint64              `json:"commits"`
	Acknowledged uint64              `json:"acknowledged"`
	Witness      verify.WitnessState `json:"witness"`
	Tasks        uint64              `json:"tasks"`
	Runs         uint64              `json:"runs"`
	Keys         uint64              `json:"keys"`
	Notes        []string            `json:"notes"`
	Findings     []storeFinding      `json:"findings"`
}

type storeFinding struct {
	Kind    inspect.Kind `json:"kind"`
	Subject string       `json:"subject"`
	What    string       `json:"what"`
}

// damaged is the kind of what is wrong with the files; the others are those of package inspect.
const damaged inspect.Kind = "damaged"

// checkStore looks at the files, and, when they are whole, at what is in them.
func checkStore(ctx context.Context, o *offline) (*storeCheck, error) {
	report, err := verify.Check(vfs.Default, o.store())
	corrupt, isCorrupt := errors.AsType[*verify.CorruptError](err)
	if err != nil && !isCorrupt {
		return nil, err
	}
	c := &storeCheck{
		Store: report.Dir, Empty: report.Empty, Format: report.Format.GetVersion(), Engine: report.Engine,
		CreatedBy: report.Format.GetCreatedBy(), Bytes: report.Bytes(), Tables: report.Tables, Logs: report.Logs,
		Commits: report.Commits, Acknowledged: report.Acknowledged, Witness: report.Witness,
		Notes: notes(report), Findings: []storeFinding{},
	}
	if isCorrupt {
		for _, d := range corrupt.Damage {
			c.Findings = append(c.Findings, storeFinding{damaged, d.File, d.What})
		}
		return c, nil
	}
	return c, c.inspect(ctx, o)
}

func notes(report *verify.Report) []string {
	all := []string{}
	for _, torn := range report.Torn {
		all = append(all, fmt.Sprintf("%s was cut off at %d by a crash; %s behind that cannot be read", torn.File, torn.Offset, counted(uint64(torn.Bytes), "byte")))
	}
	if report.Witness != verify.WitnessPresent && !report.Empty {
		all = append(all, fmt.Sprintf("the file %s is %s: that the end of the last log is there cannot be proven", verify.WitnessFile, report.Witness))
	}
	return all
}

// nothing is a store that has never been written to.
type nothing struct{}

func (nothing) Raw(context.Context, func(key, value []byte) error) error { return nil }

func (nothing) Load(context.Context, func(store.Entry) error) error { return nil }

func (nothing) Runs(context.Context, string) ([]*slotdv1.RunRecord, error) { return nil, nil }

func (c *storeCheck) inspect(ctx context.Context, o *offline) (err error) {
	logs, err := o.logs()
	if err != nil {
		return err
	}
	var from inspect.Store = nothing{}
	if !c.Empty {
		r, err := pebble.OpenReadOnly(pebble.Config{Dir: c.Store})
		if err != nil {
			return err
		}
		defer func() { err = errors.Join(err, r.Close()) }()
		from = r
	}
	found, err := inspect.Inspect(ctx, from, logs)
	if err != nil {
		return fmt.Errorf("read the store in %s: %w", c.Store, err)
	}
	c.Tasks, c.Runs, c.Keys = found.Tasks, found.Runs, found.Keys
	for _, f := range found.Findings {
		c.Findings = append(c.Findings, storeFinding(f))
	}
	return nil
}

func (a *app) showCheck(c *storeCheck) error {
	switch a.output {
	case formatJSON, formatYAML, formatJSONL:
		return a.writeValue(c)
	case formatName:
		for _, f := range c.Findings {
			if _, err := fmt.Fprintln(a.stdout, f.Subject); err != nil {
				return err
			}
		}
		return nil
	default:
		return a.tableCheck(c)
	}
}

func (a *app) tableCheck(c *storeCheck) error {
	number := func(n uint64) string { return strconv.FormatUint(n, 10) }
	rows := [][]cell{
		plain("STORE", c.Store),
		plain("FORMAT", fmt.Sprintf("%d (engine %d)", c.Format, c.Engine)),
		plain("BYTES", number(uint64(c.Bytes))),
		plain("COMMITS", fmt.Sprintf("%d (%d acknowledged)", c.Commits, c.Acknowledged)),
		plain("TASKS", number(c.Tasks)), plain("RUNS", number(c.Runs)), plain("KEYS", number(c.Keys)),
	}
	if c.Empty {
		rows = [][]cell{rows[0], plain("TASKS", "0")}
	}
	for _, note := range c.Notes {
		rows = append(rows, plain("NOTE", note))
	}
	for _, f := range c.Findings {
		text := f.What
		if f.Subject != "" {
			text = f.Subject + ": " + f.What
		}
		rows = append(rows, []cell{{text: "FINDING", tint: red}, {text: string(f.Kind) + ": " + text}})
	}
	if len(c.Findings) == 0 {
		rows = append(rows, plain("FINDING", "none"))
	}
	return writeTable(a.stdout, rows, a.colored())
}

// counted is a number of things in words.
func counted(n uint64, thing string) string {
	if n == 1 {
		return "1 " + thing
	}
	return strconv.FormatUint(n, 10) + " " + thing + "s"
}
