package bench

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"regexp"
	"slices"
	"strings"
	"time"
)

// ErrMissed says that figures are worse than promised.
var ErrMissed = errors.New("figures miss their promise")

// ErrSections says that there is nothing of that name to be measured.
var ErrSections = errors.New("sections")

// Hurry lets everything be measured once and little of it, in about a minute. Such figures decide nothing.
func (c Config) Hurry() Config {
	c.Rounds, c.Starts, c.Latencies, c.Messages, c.Tasks = 1, 1000, 50, 200_000, 20_000
	c.Lines, c.Objects, c.Leftovers = 100_000, 20_000, 1000
	c.Retained, c.Submitting = []int{1000, 20_000}, 500*time.Millisecond
	c.Piles, c.Reading = []int{1000, 5000, 20_000}, 300*time.Millisecond
	return c
}

// Figures measures the sections whose name matches only, in a scratch folder of its own, prints them as a table and, if
// page is not empty, writes them to that file as Markdown. The error is [ErrMissed] when a figure is worse than promised,
// [ErrSections] when there is nothing to measure.
// Without a slotd in the configuration, it builds one, for which it must run in the module's folder.
func Figures(ctx context.Context, c Config, only, page string, table io.Writer) (err error) {
	wanted, err := regexp.Compile(only)
	if err != nil {
		return fmt.Errorf("%w: %w", ErrSections, err)
	}
	matches := func() []Section {
		return slices.DeleteFunc(Sections(c), func(s Section) bool { return !wanted.MatchString(s.Name) })
	}
	if len(matches()) == 0 {
		return fmt.Errorf("%w: none matches %q; there are %s", ErrSections, only, strings.Join(names(Sections(c)), ", "))
	}
	var kept *os.File
	if page != "" { // before the minutes of measuring
		if kept, err = os.OpenFile(page, os.O_WRONLY|os.O_CREATE, 0o644); err != nil { //nolint:gosec // a page is for everybody
			return err
		}
		defer func() { err = errors.Join(err, closePage(kept)) }()
	}
	if c.Dir, err = os.MkdirTemp("", "slotd-bench-"); err != nil {
		return err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(c.Dir)) }()
	if c.Slotd == "" {
		if c.Slotd, err = Build(ctx, c.Dir); err != nil {
			return err
		}
	}
	report, err := Run(ctx, c, matches())
	if err != nil {
		return err
	}
	if err := report.Table(table); err != nil {
		return err
	}
	if kept != nil {
		if err := errors.Join(kept.Truncate(0), report.Markdown(kept)); err != nil {
			return err
		}
	}
	if missed := report.Missed(); len(missed) > 0 {
		return fmt.Errorf("%w: %q", ErrMissed, missed)
	}
	return nil
}

func names(sections []Section) []string {
	all := make([]string, len(sections))
	for i, s := range sections {
		all[i] = s.Name
	}
	return all
}

// closePage leaves no empty page behind.
func closePage(page *os.File) error {
	info, err := page.Stat()
	if err == nil && info.Size() == 0 {
		err = os.Remove(page.Name())
	}
	return errors.Join(err, page.Close())
}
