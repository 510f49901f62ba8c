package bench

import (
	"math"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

func TestMedianLiesBetweenTheExtremes(t *testing.T) {
	for _, c := range []struct {
		values []float64
		want   Sample
	}{
		{[]float64{7}, Sample{7, 7, 7}},
		{[]float64{9, 1, 2}, Sample{2, 1, 9}},
		{[]float64{4, 1, 2, 9}, Sample{3, 1, 9}},
	} {
		if got := Summarize(c.values); got != c.want {
			t.Errorf("%v: got %+v, want %+v", c.values, got, c.want)
		}
	}
	if got := Summarize(nil); !math.IsNaN(got.Median) {
		t.Errorf("the median of nothing is %v", got.Median)
	}
}

func TestQuantileIsTheNearestRank(t *testing.T) {
	var durations []time.Duration
	for i := range 200 {
		durations = append(durations, time.Duration(200-i)*time.Millisecond)
	}
	for q, want := range map[float64]float64{0: 1, 0.5: 100, 0.99: 198, 1: 200} {
		if got := Quantile(durations, q); got != want {
			t.Errorf("quantile %v: got %v ms, want %v", q, got, want)
		}
	}
}

func TestNumbersAreReadable(t *testing.T) {
	for v, want := range map[float64]string{
		0: "0", 0.1234: "0.123", 12.34: "12.3", 99.96: "100", 100: "100", 1234.5: "1 234", 2e6: "2 000 000", -123456: "-123 456",
	} {
		if got := number(v); got != want {
			t.Errorf("%v: got %q, want %q", v, got, want)
		}
	}
}

func sampleReport() *Report {
	row := func(name, floor string, median float64, bound Bound) Row {
		return Row{Metric{Name: name, Unit: "lines/s", Floor: floor, Bound: bound}, Sample{median, median - 1, median + 1}}
	}
	return &Report{
		Machine: Machine{CPU: "Fast One", Cores: 2, Memory: 24 << 30, System: "Linux 6.1", Go: "go1.26", Disk: "ext4"},
		Load:    0.04,
		Rounds:  3,
		Taken:   time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC),
		Parts: []Part{{
			Section: Section{Name: "lines", About: "Lines of text."},
			Rows: []Row{
				row("bare", "", 1000, Bound{}),
				row("at the bound", "bare", 700, Bound{OfFloor: 0.7}),
				row("below the floor's share", "bare", 699, Bound{OfFloor: 0.7}),
				row("too few", "", 9999, Bound{Min: 10_000}),
				row("not below", "", 3000, Bound{Below: 3000}),
				row("no floor there", "elsewhere", 1000, Bound{OfFloor: 0.1}),
				row("not a number", "", math.NaN(), Bound{Min: 1}),
			},
		}},
	}
}

func TestMissedPromisesAreNamed(t *testing.T) {
	want := []string{"below the floor's share", "too few", "not below", "no floor there", "not a number"}
	if diff := cmp.Diff(sampleReport().Missed(), want); diff != "" {
		t.Errorf("got -, want +:\n%s", diff)
	}
}

func TestMarkdownStandsBesideTheFloor(t *testing.T) {
	report := sampleReport()
	report.Parts[0].Rows = report.Parts[0].Rows[:3]
	var got strings.Builder
	if err := report.Markdown(&got); err != nil {
		t.Fatal(err)
	}
	want := `# Figures

Written by ` + "`make bench`" + ` on 2026-01-02. Each figure is the median of 3 rounds, with the lowest and the highest, and stands
beside its floor: the same work done by a bare Go program, in turns with slotd in the same run.

Machine: Fast One, 2 cores, 24 GiB, ext4, Linux 6.1, go1.26. Its load before the run was 0.0.

## lines

Lines of text.

| figure | median | min | max | unit | of floor | promise |
|---|---:|---:|---:|---|---:|---|
| bare | 1 000 | 999 | 1 001 | lines/s |  |  |
| at the bound | 700 | 699 | 701 | lines/s | 0.70 | ≥ 0.70 of its floor, holds |
| below the floor's share | 699 | 698 | 700 | lines/s | 0.70 | ≥ 0.70 of its floor, MISSED |
`
	if diff := cmp.Diff(got.String(), want); diff != "" {
		t.Errorf("got -, want +:\n%s", diff)
	}
}

func TestMachineIsDescribedInFull(t *testing.T) {
	m, err := ThisMachine(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	if m.CPU == "" || m.Cores < 1 || m.Memory < 1<<20 || m.System == "Linux " || m.Disk == "" || !strings.HasPrefix(m.Go, "go1.") {
		t.Errorf("got %+v", m)
	}
}
