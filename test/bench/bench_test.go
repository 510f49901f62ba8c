package bench

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math"
	"os"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) {
	if IsChild(os.Args[1:]) {
		if err := Child(context.Background(), os.Args[1:]); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		return
	}
	code, err := run(m)
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		code = max(code, 1)
	}
	// The runtime's dead letters keep a timer for a second, which is longer than one search goes on.
	for deadline := time.Now().Add(10 * time.Second); code == 0; {
		err := goleak.Find()
		if err == nil {
			break
		}
		if time.Now().After(deadline) {
			fmt.Fprintln(os.Stderr, err)
			code = 1
		}
	}
	os.Exit(code)
}

// slotd is the path of the binary.
var slotd string

// run builds slotd and runs the tests.
func run(m *testing.M) (code int, err error) {
	dir, err := os.MkdirTemp("", "slotd-bench-test-")
	if err != nil {
		return 1, err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	if slotd, err = Build(context.Background(), dir); err != nil {
		return 1, err
	}
	return m.Run(), nil
}

// tiny is enough to see that everything that is measured is also done.
func tiny(t *testing.T) Config {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	return Config{
		Self: []string{self}, Slotd: slotd, Dir: t.TempDir(), Progress: io.Discard,
		Rounds: 2, Starts: 16, Latencies: 3, Messages: 640, Tasks: 100, Lines: 1000, Followers: []int{3}, Objects: 200, Leftovers: 20,
		Retained: []int{50}, Clients: []int{2}, Submitting: 20 * time.Millisecond,
		Piles: []int{150, 200, 300}, Reading: 5 * time.Millisecond,
	}
}

func TestEverySectionMeasuresInEveryRound(t *testing.T) {
	c := tiny(t)
	var progress strings.Builder
	c.Progress = &progress
	sections := Sections(c)
	report, err := Run(t.Context(), c, sections)
	if err != nil {
		t.Fatal(err)
	}
	if len(report.Parts) != len(sections) {
		t.Fatalf("got %d parts, want %d", len(report.Parts), len(sections))
	}
	rows := 0
	for _, part := range report.Parts {
		for _, row := range part.Rows {
			rows++
			least := math.SmallestNonzeroFloat64
			if part.Section.Name == "leftovers" {
				least = 0 // which is what it promises
			}
			if s := row.Sample; !(least <= s.Min && s.Min <= s.Median && s.Median <= s.Max) {
				t.Errorf("%s: %+v", row.Metric.Name, s)
			}
			if _, ok := part.floor(row); row.Metric.Floor != "" && !ok {
				t.Errorf("%s stands beside %q, which its section does not measure", row.Metric.Name, row.Metric.Floor)
			}
		}
	}
	if last := report.Parts[len(report.Parts)-1]; last.Section.Name == "leftovers" {
		for _, row := range last.Rows {
			if row.Sample.Max > 0 {
				t.Errorf("%.0f %s", row.Sample.Max, row.Metric.Name)
			}
		}
	} else {
		t.Errorf("the last section is %s, and nobody looks for what is left", last.Section.Name)
	}
	if got, want := strings.Count(progress.String(), "\n"), rows*c.Rounds; got != want {
		t.Errorf("%d measurements, want %d", got, want)
	}
	left, err := os.ReadDir(c.Dir)
	if err != nil || len(left) > 0 {
		t.Errorf("left behind: %v (%v)", left, err)
	}
}

func TestProbesOfASectionTakeTurns(t *testing.T) {
	c := tiny(t)
	var order []string
	probe := func(name string) Probe {
		return Probe{Metrics: []Metric{{Name: name}}, Measure: func(context.Context) ([]float64, error) {
			order = append(order, name)
			return []float64{1}, nil
		}}
	}
	if _, err := Run(t.Context(), c, []Section{{Name: "turns", Probes: []Probe{probe("floor"), probe("slotd")}}}); err != nil {
		t.Fatal(err)
	}
	if got, want := strings.Join(order, " "), "floor slotd floor slotd"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
}

func TestWhatASectionPreparesIsUndoneOnce(t *testing.T) {
	var order []string
	stuck := errors.New("the folder is not empty")
	section := Section{
		Name: "prepared",
		Prepare: func(context.Context) (func() error, error) {
			order = append(order, "prepare")
			return func() error { order = append(order, "undo"); return stuck }, nil
		},
		Probes: []Probe{{Metrics: []Metric{{Name: "probe"}}, Measure: func(context.Context) ([]float64, error) {
			order = append(order, "measure")
			return []float64{1}, nil
		}}},
	}
	if _, err := Run(t.Context(), tiny(t), []Section{section}); !errors.Is(err, stuck) {
		t.Errorf("got %v, want %v", err, stuck)
	}
	if got, want := strings.Join(order, " "), "prepare measure measure undo"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
	missing := errors.New("there is nothing to measure")
	section.Prepare = func(context.Context) (func() error, error) { return nil, missing }
	if _, err := Run(t.Context(), tiny(t), []Section{section}); !errors.Is(err, missing) {
		t.Errorf("got %v, want %v", err, missing)
	}
}

func TestAFailedProbeFailsTheRun(t *testing.T) {
	broken := errors.New("the last line is missing")
	_, err := Run(t.Context(), tiny(t), []Section{{Name: "lines", Probes: []Probe{{
		Metrics: []Metric{{Name: "reader"}},
		Measure: func(context.Context) ([]float64, error) { return []float64{1}, broken },
	}}}})
	if !errors.Is(err, broken) {
		t.Errorf("got %v, want %v", err, broken)
	}
}

func TestBytesEachWeighsWhatIsKept(t *testing.T) {
	const n, size = 10_000, 256
	got := BytesEach(n, func() any {
		kept := make([]*[size]byte, n)
		for i := range kept {
			kept[i] = new([size]byte)
		}
		return kept
	})
	if want := float64(size + 8); got < want || got > want+8 {
		t.Errorf("got %.1f bytes, want %.0f", got, want)
	}
}
