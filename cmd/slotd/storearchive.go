package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/spf13/cobra"

	"slotd/actors/store"
	"slotd/actors/store/archive"
	"slotd/actors/store/pebble"
	"slotd/actors/store/pebble/verify"
)

// importDir is where a store is made before it takes its place: what is there is complete.
const importDir = "store.import"

func (a *app) storeExportVerb() *cobra.Command {
	var (
		file    string
		salvage bool
	)
	cmd := &cobra.Command{
		Use:   "export",
		Short: "Write the store as JSON lines",
		Long: "Write every task with its spec and runs, and every idempotency key, as JSON, an object a line, to stdout\n" +
			"or a new file. Changes nothing in the store. Output of tasks is not in it: copy the directory `logs`.\n\n" +
			"Values of variables in the specs, secret ones as well, are written in clear: keep the export private.",
		Args: cobra.NoArgs,
	}
	a.dataFlags(cmd.Flags())
	cmd.Flags().StringVarP(&file, "file", "f", "", "write to this file, which must not exist yet, with mode 0600 (default stdout)")
	cmd.Flags().BoolVar(&salvage, "salvage", false, "of a damaged store, write what can be read; the exit code is 1 all the same")
	cmd.RunE = a.verb(func(ctx context.Context, _ []string) (err error) {
		o, err := a.takeOffline(cmd.Flags(), false)
		if err != nil {
			return err
		}
		defer func() { err = errors.Join(err, o.close()) }()
		return a.exportStore(ctx, o.store(), file, salvage)
	})
	return cmd
}

func (a *app) exportStore(ctx context.Context, dir, file string, salvage bool) (err error) {
	report, damage := verify.Check(vfs.Default, dir)
	_, corrupt := errors.AsType[*verify.CorruptError](damage)
	if damage != nil && (!corrupt || !salvage) {
		return damage
	}
	var from archive.Source = nothing{}
	if !report.Empty {
		r, err := pebble.OpenReadOnly(pebble.Config{Dir: dir})
		if err != nil {
			return errors.Join(damage, err)
		}
		defer func() { err = errors.Join(err, r.Close()) }()
		from = r
	}
	o := archive.Options{At: a.now(), Version: buildVersion().GetVersion(), Salvage: salvage}
	write := func(to io.Writer) error {
		counts, err := archive.Export(ctx, from, to, o)
		if err != nil {
			return fmt.Errorf("export the store in %s: %w", dir, err)
		}
		a.talk("exported %s", countsText(counts))
		return nil
	}
	if file == "" {
		return errors.Join(damage, write(a.stdout))
	}
	return errors.Join(damage, writeNew(file, salvage, write))
}

// writeNew writes a file that did not exist, durably and for its owner alone. After an error there is none, unless it is
// to be kept.
func writeNew(path string, keep bool, write func(io.Writer) error) error {
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return err
	}
	err = write(f)
	synced := errors.Join(f.Sync(), f.Close())
	if synced == nil {
		synced = syncDir(filepath.Dir(path))
	}
	if err != nil && !keep || synced != nil {
		return errors.Join(err, synced, os.Remove(path))
	}
	return err
}

func syncDir(path string) error {
	d, err := os.Open(path)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}

func (a *app) storeImportVerb() *cobra.Command {
	var file string
	cmd := &cobra.Command{
		Use:   "import",
		Short: "Make the store of a data directory from an export",
		Long: "Read an export from stdin or a file and make it the store of a data directory. A directory that has a\n" +
			"store with anything in it is refused. The store takes its place when it is complete, or not at all.",
		Args: cobra.NoArgs,
	}
	a.dataFlags(cmd.Flags())
	cmd.Flags().StringVarP(&file, "file", "f", "", "read this file (default stdin)")
	cmd.RunE = a.verb(func(ctx context.Context, _ []string) (err error) {
		from := a.stdin
		if file != "" {
			f, err := os.Open(file)
			if err != nil {
				return err
			}
			defer func() { err = errors.Join(err, f.Close()) }()
			from = f
		}
		o, err := a.takeOffline(cmd.Flags(), true)
		if err != nil {
			return err
		}
		defer func() { err = errors.Join(err, o.close()) }()
		counts, err := importStore(ctx, from, o)
		if err != nil {
			return err
		}
		a.talk("imported %s into %s", countsText(counts), o.store())
		return nil
	})
	return cmd
}

// importStore makes a store beside its place, and moves it there when it is complete.
func importStore(ctx context.Context, from io.Reader, o *offline) (counts archive.Counts, err error) {
	report, err := verify.Check(vfs.Default, o.store())
	if err != nil {
		return counts, err
	}
	if !report.Empty {
		if err := vacant(ctx, o.store()); err != nil {
			return counts, err
		}
	}
	fresh := filepath.Join(o.path, importDir)
	if err := os.RemoveAll(fresh); err != nil { // of an import that was killed
		return counts, err
	}
	if counts, err = fill(ctx, from, fresh); err != nil {
		return counts, errors.Join(fmt.Errorf("import: %w; nothing was imported", err), os.RemoveAll(fresh))
	}
	if err := os.RemoveAll(o.store()); err != nil { // it is empty
		return counts, err
	}
	if err := os.Rename(fresh, o.store()); err != nil {
		return counts, err
	}
	return counts, syncDir(o.path)
}

// vacant is nil when a store that a daemon has made holds nothing.
func vacant(ctx context.Context, dir string) error {
	r, err := pebble.OpenReadOnly(pebble.Config{Dir: dir})
	if err != nil {
		return err
	}
	err = r.Load(ctx, func(store.Entry) error {
		return fmt.Errorf("the store in %s is not empty: an import makes a store and adds to none; "+
			"move it away, or tell another data directory with --data", dir)
	})
	return errors.Join(err, r.Close())
}

func fill(ctx context.Context, from io.Reader, dir string) (archive.Counts, error) {
	s, err := pebble.Open(pebble.Config{Dir: dir, Version: buildVersion().GetVersion()})
	if err != nil {
		return archive.Counts{}, err
	}
	counts, err := archive.Import(ctx, from, s)
	return counts, errors.Join(err, s.Close())
}

func countsText(c archive.Counts) string {
	return counted(c.Tasks, "task") + ", " + counted(c.Runs, "run") + ", " + counted(c.Keys, "key")
}
