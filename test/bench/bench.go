// Package bench measures slotd's figures, each beside its floor: the same work done by a bare Go program with nothing
// of slotd in it, in the same run on the same machine.
//
// A [Section] holds the probes of one question; [Run] takes them in turns, round after round, so that a machine that
// slows down slows both sides, and reports the median of the rounds with the lowest and the highest. What a figure
// promises is a [Bound]; [Report.Missed] names those that do not hold. [Sections] lists what is measured.
//
// Probes that need a second process start the program itself again ([Config.Self]); that program hands such calls to
// [Child]. Whoever measures should let the machine do nothing else.
package bench

import (
	"context"
	"errors"
	"fmt"
	"io"
	"runtime"
	"time"
)

// Metric is one number that a probe yields.
type Metric struct {
	Name  string // what was measured; unique in a report
	Unit  string // lines/s, ms, bytes
	Floor string // the metric of the same section that it stands beside, or "" for a floor
	Bound Bound
}

// Bound is what a figure promises of its median. Zero fields promise nothing.
type Bound struct {
	OfFloor float64 // at least this share of the floor's median
	AtMost  float64 // at most this multiple of the floor's median
	Min     float64 // at least this, in the metric's unit
	Below   float64 // less than this, in the metric's unit
}

// Probe is one experiment.
type Probe struct {
	Metrics []Metric
	// Measure does the work once and returns a value for each metric, in their order. It takes itself whatever it needs
	// to set up or clean away out of the time, and returns an error when the work was not done as promised.
	Measure func(ctx context.Context) ([]float64, error)
}

// Section is one question with the probes that answer it, floors first.
type Section struct {
	Name   string // one word, for the command line
	About  string // a sentence or two: how it was measured
	Probes []Probe
	// Prepare makes what all rounds need and returns what removes it again; nil = nothing.
	Prepare func(ctx context.Context) (undo func() error, err error)
}

// Config says how much is measured. The zero value of a number means the default.
type Config struct {
	Self     []string  // program and leading arguments that end up in Child
	Slotd    string    // path of the binary, see Build
	Dir      string    // an existing folder for scratch files
	Progress io.Writer // what is being measured, a line each; io.Discard for silence

	Rounds    int   // default 3
	Starts    int   // processes started per round, default 2000
	Latencies int   // processes started and stopped one at a time per round, default 300
	Messages  int   // messages through channels per round, default 1 000 000
	Tasks     int   // tasks that do nothing per round, default 50 000
	Lines     int   // lines written by one process per round, default 2 000 000
	Followers []int // clients that read them at the same time, default 1, 10, 100
	Objects   int   // objects kept to weigh one, default 100 000
	Leftovers int   // tasks after which nothing may be left, default 10 000
	Retained  []int // tasks that a daemon finds when it starts, default 1 000, 100 000
	Clients   []int // clients that submit at the same time, default 1, 16, 64
	Piles     []int // three heights of ended tasks that are read, default 10 000, 100 000, 1 000 000

	Submitting time.Duration // how long they do so per round, default 3 s
	Reading    time.Duration // how long clients ask for one thing per round, default 2 s
}

func (c Config) withDefaults() Config {
	for _, d := range []struct {
		field *int
		value int
	}{
		{&c.Rounds, 3},
		{&c.Starts, 2000},
		{&c.Latencies, 300},
		{&c.Messages, 1_000_000},
		{&c.Tasks, 50_000},
		{&c.Lines, 2_000_000},
		{&c.Objects, 100_000},
		{&c.Leftovers, 10_000},
	} {
		if *d.field == 0 {
			*d.field = d.value
		}
	}
	if len(c.Followers) == 0 {
		c.Followers = []int{1, 10, 100}
	}
	if len(c.Retained) == 0 {
		c.Retained = []int{1000, 100_000}
	}
	if len(c.Clients) == 0 {
		c.Clients = []int{1, 16, 64}
	}
	if len(c.Piles) == 0 {
		c.Piles = []int{10_000, 100_000, 1_000_000}
	}
	if c.Reading == 0 {
		c.Reading = 2 * time.Second
	}
	if c.Submitting == 0 {
		c.Submitting = 3 * time.Second
	}
	return c
}

// Validate says what is missing.
func (c Config) Validate() error {
	switch {
	case len(c.Self) == 0:
		return errors.New("no program for child processes")
	case c.Slotd == "":
		return errors.New("no slotd to measure")
	case c.Dir == "":
		return errors.New("no folder for scratch files")
	case c.Progress == nil:
		return errors.New("no writer for progress")
	}
	return nil
}

// Sections lists everything that is measured, in the order of the report.
func Sections(c Config) []Section {
	c = c.withDefaults()
	return []Section{
		processes(c),
		latency(c),
		noop(c),
		admission(c),
		submits(c),
		batches(c),
		durable(c),
		syncs(c),
		recovery(c),
		reads(c),
		streams(c),
		lines(c),
		followers(c),
		weights(c),
		leftovers(c),
	}
}

// Run measures the sections one after the other, each in as many rounds as the configuration says.
func Run(ctx context.Context, c Config, sections []Section) (*Report, error) {
	if err := c.Validate(); err != nil {
		return nil, err
	}
	c = c.withDefaults()
	machine, err := ThisMachine(c.Dir)
	if err != nil {
		return nil, err
	}
	before, err := load()
	if err != nil {
		return nil, err
	}
	report := &Report{Machine: machine, Load: before, Rounds: c.Rounds, Taken: time.Now()}
	for _, section := range sections {
		rows, err := measure(ctx, c, section)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", section.Name, err)
		}
		report.Parts = append(report.Parts, Part{Section: section, Rows: rows})
	}
	return report, nil
}

// measure takes the probes of one section in turns.
func measure(ctx context.Context, c Config, section Section) (rows []Row, err error) {
	if section.Prepare != nil {
		undo, failed := section.Prepare(ctx)
		if failed != nil {
			return nil, failed
		}
		defer func() { err = errors.Join(err, undo()) }()
	}
	values := make(map[string][]float64)
	for round := range c.Rounds {
		for _, probe := range section.Probes {
			runtime.GC() // so that no probe pays for the litter of the one before
			got, err := probe.Measure(ctx)
			if err != nil {
				return nil, fmt.Errorf("%s: %w", probe.Metrics[0].Name, err)
			}
			for i, metric := range probe.Metrics {
				values[metric.Name] = append(values[metric.Name], got[i])
				if _, err := fmt.Fprintf(c.Progress, "%s %d/%d: %s: %s %s\n", section.Name, round+1, c.Rounds, metric.Name, number(got[i]), metric.Unit); err != nil {
					return nil, err
				}
			}
		}
	}
	for _, probe := range section.Probes {
		for _, metric := range probe.Metrics {
			rows = append(rows, Row{Metric: metric, Sample: Summarize(values[metric.Name])})
		}
	}
	return rows, nil
}
