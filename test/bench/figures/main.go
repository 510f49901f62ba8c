// Command figures measures slotd's figures beside their floors, prints them as a table and keeps them as a page.
//
// It exits 1 when a figure misses what it promises, unless it was quick, and 2 when it could not measure.
package main

import (
	"cmp"
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"regexp"
	"runtime/debug"
	"slices"
	"syscall"
	"time"

	"slotd/test/bench"
)

var errMissed = errors.New("figures miss their promise")

func main() {
	debug.SetGCPercent(200) // as the slotd program does, for floors and slotd alike
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	err := run(ctx, os.Args[1:])
	if err != nil {
		fmt.Fprintln(os.Stderr, "figures:", err)
	}
	switch {
	case errors.Is(err, errMissed):
		os.Exit(1)
	case err != nil:
		os.Exit(2)
	}
}

func run(ctx context.Context, args []string) error {
	if bench.IsChild(args) {
		return bench.Child(ctx, args)
	}
	flags := flag.NewFlagSet("figures", flag.ContinueOnError)
	page := flags.String("write", "", "also write the report to this `file`, as Markdown")
	only := flags.String("only", "", "measure only the sections whose name matches this `regexp`")
	c := bench.Config{Progress: os.Stderr}
	quick := flags.Bool("quick", false, "measure everything once and little of it, in about a minute; such figures decide nothing")
	rounds := flags.Int("rounds", 0, "measure everything this many times (default 3)")
	lines := flags.Int("lines", 0, "lines of the log sections (default 2000000)")
	if err := flags.Parse(args); err != nil {
		if errors.Is(err, flag.ErrHelp) {
			return nil
		}
		return err
	}
	if *quick {
		c.Rounds, c.Starts, c.Latencies, c.Messages, c.Tasks = 1, 1000, 50, 200_000, 20_000
		c.Lines, c.Objects, c.Leftovers = 100_000, 20_000, 1000
		c.Retained, c.Submitting = []int{1000, 20_000}, 500*time.Millisecond
	}
	c.Rounds, c.Lines = cmp.Or(*rounds, c.Rounds), cmp.Or(*lines, c.Lines)
	err := measure(ctx, c, *only, *page)
	if *quick && errors.Is(err, errMissed) {
		return nil
	}
	return err
}

func measure(ctx context.Context, c bench.Config, only, page string) (err error) {
	wanted, err := regexp.Compile(only)
	if err != nil {
		return err
	}
	self, err := os.Executable()
	if err != nil {
		return err
	}
	c.Self = []string{self}
	if c.Dir, err = os.MkdirTemp("", "slotd-bench-"); err != nil {
		return err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(c.Dir)) }()
	if c.Slotd, err = bench.Build(ctx, c.Dir); err != nil {
		return err
	}

	sections := slices.DeleteFunc(bench.Sections(c), func(s bench.Section) bool { return !wanted.MatchString(s.Name) })
	report, err := bench.Run(ctx, c, sections)
	if err != nil {
		return err
	}
	if err := report.Table(os.Stdout); err != nil {
		return err
	}
	if page != "" {
		if err := write(report, page); err != nil {
			return err
		}
	}
	if missed := report.Missed(); len(missed) > 0 {
		return fmt.Errorf("%w: %q", errMissed, missed)
	}
	return nil
}

func write(report *bench.Report, path string) error {
	f, err := os.Create(path)
	if err != nil {
		return err
	}
	return errors.Join(report.Markdown(f), f.Close())
}
