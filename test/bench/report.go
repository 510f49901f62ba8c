package bench

import (
	"fmt"
	"io"
	"math"
	"strings"
	"text/tabwriter"
	"time"
)

// Report is what one run measured.
type Report struct {
	Machine Machine
	Load    float64 // of the machine in the minute before the run
	Rounds  int
	Taken   time.Time
	Parts   []Part
}

// Part is a section with its figures.
type Part struct {
	Section Section
	Rows    []Row
}

// Row is one figure.
type Row struct {
	Metric Metric
	Sample Sample
}

// floor is the median that a row stands beside, and whether there is one.
func (p Part) floor(r Row) (float64, bool) {
	for _, other := range p.Rows {
		if r.Metric.Floor != "" && other.Metric.Name == r.Metric.Floor {
			return other.Sample.Median, true
		}
	}
	return 0, false
}

// holds says whether the median keeps what the metric promises.
func (p Part) holds(r Row) bool {
	b, median := r.Metric.Bound, r.Sample.Median
	if b.OfFloor > 0 {
		if floor, ok := p.floor(r); !ok || !(median >= b.OfFloor*floor) {
			return false
		}
	}
	if b.AtMost > 0 {
		if floor, ok := p.floor(r); !ok || !(median <= b.AtMost*floor) {
			return false
		}
	}
	if b.Min > 0 && !(median >= b.Min) {
		return false
	}
	return b.Below <= 0 || median < b.Below
}

// Missed names the metrics whose bound does not hold.
func (r *Report) Missed() []string {
	var missed []string
	for _, part := range r.Parts {
		for _, row := range part.Rows {
			if !part.holds(row) {
				missed = append(missed, row.Metric.Name)
			}
		}
	}
	return missed
}

var heads = []string{"figure", "median", "min", "max", "unit", "of floor", "promise"}

// cells are the columns of one row.
func (p Part) cells(r Row) []string {
	share, promise := "", promise(r.Metric.Bound)
	if floor, ok := p.floor(r); ok {
		share = fmt.Sprintf("%.2f", r.Sample.Median/floor)
	}
	if promise != "" {
		promise += map[bool]string{true: ", holds", false: ", MISSED"}[p.holds(r)]
	}
	s := r.Sample
	return []string{r.Metric.Name, number(s.Median), number(s.Min), number(s.Max), r.Metric.Unit, share, promise}
}

func promise(b Bound) string {
	var parts []string
	if b.OfFloor > 0 {
		parts = append(parts, fmt.Sprintf("≥ %.2f of its floor", b.OfFloor))
	}
	if b.AtMost > 0 {
		parts = append(parts, fmt.Sprintf("≤ %.2f of its floor", b.AtMost))
	}
	if b.Min > 0 {
		parts = append(parts, "≥ "+number(b.Min))
	}
	if b.Below > 0 {
		parts = append(parts, "< "+number(b.Below))
	}
	return strings.Join(parts, " and ")
}

// Table writes the report for a terminal.
func (r *Report) Table(w io.Writer) error {
	tw := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	if _, err := fmt.Fprintf(tw, "%s; load before the run %.1f\n%s\n", r.Machine, r.Load, strings.ToUpper(strings.Join(heads, "\t"))); err != nil {
		return err
	}
	for _, part := range r.Parts {
		for _, row := range part.Rows {
			if _, err := fmt.Fprintln(tw, strings.Join(part.cells(row), "\t")); err != nil {
				return err
			}
		}
	}
	return tw.Flush()
}

// Markdown writes the report as a page.
func (r *Report) Markdown(w io.Writer) error {
	var b strings.Builder
	fmt.Fprintf(&b, "# Figures\n\nWritten by `make bench` on %s. Each figure is the median of %d rounds, with the lowest and the highest, and stands\n"+
		"beside its floor: the same work done by a bare Go program, in turns with slotd in the same run.\n\nMachine: %s. Its load before the run was %.1f.\n",
		r.Taken.UTC().Format(time.DateOnly), r.Rounds, r.Machine, r.Load)
	for _, part := range r.Parts {
		fmt.Fprintf(&b, "\n## %s\n\n%s\n\n| %s |\n|%s\n", part.Section.Name, part.Section.About, strings.Join(heads, " | "),
			"---|---:|---:|---:|---|---:|---|")
		for _, row := range part.Rows {
			fmt.Fprintf(&b, "| %s |\n", strings.Join(part.cells(row), " | "))
		}
	}
	_, err := io.WriteString(w, b.String())
	return err
}

// number writes three significant digits, or a whole number with its thousands apart.
func number(v float64) string {
	if math.IsNaN(v) || math.IsInf(v, 0) {
		return fmt.Sprint(v)
	}
	if math.Abs(v) < 100 {
		return fmt.Sprintf("%.3g", v)
	}
	digits := fmt.Sprintf("%.0f", v)
	var b strings.Builder
	for i, d := range digits {
		if i > 0 && digits[i-1] != '-' && (len(digits)-i)%3 == 0 {
			b.WriteByte(' ')
		}
		b.WriteRune(d)
	}
	return b.String()
}
