package main

import (
	"cmp"
	"context"
	"errors"
	"os"

	"github.com/spf13/cobra"

	"slotd/test/bench"
)

// benchVerb measures this machine. The program starts itself again for the work of bare processes, with arguments that
// nobody types.
func (a *app) benchVerb() *cobra.Command {
	var page string
	var full bool
	var rounds int
	cmd := &cobra.Command{
		Use:   "bench [SECTIONS]",
		Short: "Measure slotd on this machine, beside the same work done by bare programs",
		Long: "Measure slotd on this machine, beside the same work done by bare programs in the same run.\n" +
			"SECTIONS is a regular expression; without it everything is measured. Nothing of a running\n" +
			"daemon is touched: each figure starts its own, in a scratch folder that is removed.\n\n" +
			"Without --full it takes about a minute and tells the order of magnitude. With --full it\n" +
			"takes about ten minutes on an idle machine, and exits 1 when a figure misses its promise.",
		Args: cobra.MaximumNArgs(2),
	}
	cmd.Flags().BoolVar(&full, "full", false, "measure as much and as often as the promises ask for")
	cmd.Flags().IntVar(&rounds, "rounds", 0, "measure everything this many times (default 1, with --full 3)")
	cmd.Flags().StringVar(&page, "write", "", "also write the report to this file, as Markdown")
	cmd.RunE = a.verb(func(ctx context.Context, args []string) error {
		if bench.IsChild(args) {
			return bench.Child(ctx, args)
		}
		if len(args) > 1 {
			return usagef("bench takes one expression for its sections, got %d", len(args))
		}
		if rounds < 0 {
			return usagef("--rounds must be at least 1, got %d", rounds)
		}
		self, err := os.Executable()
		if err != nil {
			return err
		}
		c := bench.Config{Progress: a.stderr, Self: []string{self, cmd.Name()}, Slotd: self}
		if !full {
			c = c.Hurry()
		}
		c.Rounds = cmp.Or(rounds, c.Rounds)
		only := ""
		if len(args) == 1 {
			only = args[0]
		}
		err = bench.Figures(ctx, c, only, page, a.stdout)
		switch {
		case ctx.Err() != nil: // whatever was cut off by it has failed
			return context.Cause(ctx)
		case errors.Is(err, bench.ErrSections):
			return &usageError{err: err}
		case !full && errors.Is(err, bench.ErrMissed):
			return nil
		}
		return err
	})
	return cmd
}
