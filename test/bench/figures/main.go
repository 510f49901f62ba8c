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
	"runtime/debug"
	"syscall"

	"slotd/test/bench"
)

func main() {
	debug.SetGCPercent(200) // as the slotd program does, for floors and slotd alike
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	err := run(ctx, os.Args[1:])
	if err != nil {
		fmt.Fprintln(os.Stderr, "figures:", err)
	}
	switch {
	case errors.Is(err, bench.ErrMissed):
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
	quick := flags.Bool("quick", false, "measure everything once and little of it, in about a minute; such figures decide nothing")
	rounds := flags.Int("rounds", 0, "measure everything this many times (default 3)")
	lines := flags.Int("lines", 0, "lines of the log sections (default 2000000)")
	if err := flags.Parse(args); err != nil {
		if errors.Is(err, flag.ErrHelp) {
			return nil
		}
		return err
	}
	self, err := os.Executable()
	if err != nil {
		return err
	}
	c := bench.Config{Progress: os.Stderr, Self: []string{self}}
	if *quick {
		c = c.Hurry()
	}
	c.Rounds, c.Lines = cmp.Or(*rounds, c.Rounds), cmp.Or(*lines, c.Lines)
	err = bench.Figures(ctx, c, *only, *page, os.Stdout)
	if *quick && errors.Is(err, bench.ErrMissed) {
		return nil
	}
	return err
}
