package logs

import (
	"context"
	"errors"
	"io"
	"strconv"
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"slotd/messages"
	soltiv1 "slotd/messages/solti/v1"
)

// story is a task of three attempts: two lines each at 5000, 6000 and 7000, then the third is still running.
func story(t *testing.T) *house {
	h := newHouse(t)
	for n := range uint32(3) {
		h.now.Store(5000 + 1000*int64(n))
		h.begin(n + 1)
		h.print(n+1, stdout, "out"+strconv.Itoa(int(n+1)))
		h.print(n+1, stderr, "err"+strconv.Itoa(int(n+1)))
		if n < 2 {
			h.end(n+1, 1)
		}
	}
	return h
}

func TestEveryParameter(t *testing.T) {
	const (
		one   = "start 1, out1, err1, finish 1"
		two   = "start 2, out2, err2, finish 2"
		three = "start 3, out3, err3"
	)
	tests := []struct {
		name  string
		query messages.LogQuery
		want  string
	}{
		{"all", query(), one + ", " + two + ", " + three},
		{"tail 0", query(tail(0)), "start 3"},
		{"tail 1", query(tail(1)), "start 3, err3"},
		{"tail 2", query(tail(2)), "start 3, out3, err3"},
		{"tail 3", query(tail(3)), "start 2, err2, finish 2, " + three},
		{"tail 6", query(tail(6)), one + ", " + two + ", " + three},
		{"tail 7", query(tail(7)), one + ", " + two + ", " + three},
		{"stdout", query(stream(stdout)), "start 1, out1, finish 1, start 2, out2, finish 2, start 3, out3"},
		{"stderr tail 2", query(stream(stderr), tail(2)), "start 2, err2, finish 2, start 3, err3"},
		{"attempt 2", query(attempt(2)), two},
		{"attempt 2 tail 1", query(attempt(2), tail(1)), "start 2, err2, finish 2"},
		{"attempt 1 stderr tail 1", query(attempt(1), stream(stderr), tail(1)), "start 1, err1, finish 1"},
		{"attempt 1 tail 0", query(attempt(1), tail(0)), ""},
		{"attempt 4", query(attempt(4)), ""},
		{"since the second attempt's lines", query(since(6000)), "start 2, out2, err2, start 3, out3, err3"},
		{"since the third attempt's lines", query(since(6001)), "start 3, out3, err3"},
		{"since later than all", query(since(7001)), "start 3"},
		{"since, tail 1", query(since(6000), tail(1)), "start 3, err3"},
		{"since, tail 9", query(since(6000), tail(9)), "start 2, out2, err2, start 3, out3, err3"},
		{"since, stdout, attempt 2", query(since(6000), stream(stdout), attempt(2)), "start 2, out2"},
		{"neither tail nor follow", messages.LogQuery{}, "start 3"},
		{"after the first event", query(after("0-1-1")), "out1, err1, finish 1, " + two + ", " + three},
		{"after a line, tail is ignored", query(after("1-10-3"), tail(1)), "err3"},
		{"after a line, stderr", query(after("1-3-1"), stream(stderr)), "finish 1, start 2, err2, finish 2, start 3, err3"},
		{"after the last event", query(after("1-11-3")), ""},
		{"after, attempt 2", query(after("1-2-1"), attempt(2)), two},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			h := story(t)
			if got := short(h.read(tt.query)); got != tt.want {
				t.Errorf("got  %q\nwant %q", got, tt.want)
			}
			follow := tt.query
			follow.Follow = true
			c := h.cursor(follow)
			if tt.want != "" {
				want(t, c, tt.want)
			}
			wantNothing(t, c)
			h.now.Store(9000)
			h.print(3, stdout, "more")
			h.end(3, 0)
			h.close()
			rest := "more, finish 3"
			switch q := tt.query; {
			case q.Attempt != 0 && q.Attempt != 3:
				rest = ""
			case q.Stream == stderr:
				rest = "finish 3"
			case q.Since != 0: // the attempts of the story are older than what they print
				rest = "more"
			}
			if got := short(drain(t, c)); got != rest {
				t.Errorf("live: got %q, want %q", got, rest)
			}
		})
	}
}

func TestIDsOfOtherTasksAreRefused(t *testing.T) {
	h := story(t)
	for _, id := range []string{"garbage", "0-0-1", "1-0-1", "1-12-3", "2-1-1", "0-12-1", "1-999999999999-3"} {
		_, err := h.logs.Open(t.Context(), taskID, query(after(id)), h.task)
		if _, ok := errors.AsType[*messages.InvalidError](err); !ok {
			t.Errorf("%s: %v", id, err)
		}
	}
	if got := h.logs.Stats().Subscribers; got != 0 {
		t.Errorf("%d cursors are left", got)
	}
}

func TestATerminalTaskHasNothingAfterItsLastEvent(t *testing.T) {
	h := story(t)
	h.end(3, 0)
	h.close()
	events := h.read(query())
	last := events[len(events)-1].ID
	for name, q := range map[string]messages.LogQuery{
		"last":               query(after(last)),
		"last, following":    query(after(last), follow),
		"last of a filter":   query(after(events[3].ID), attempt(1), follow),
		"last of one stream": query(after(last), stream(stdout)),
	} {
		if _, err := h.logs.Open(t.Context(), taskID, q, h.task); !errors.Is(err, io.EOF) {
			t.Errorf("%s: %v, want EOF", name, err)
		}
	}
	if got := short(h.read(query(after(events[len(events)-2].ID), follow))); got != "finish 3" {
		t.Errorf("after the last but one: %q", got)
	}
	if got := h.read(query(live)); len(got) != 0 {
		t.Errorf("live from now on: %v", got)
	}
	if got := short(h.read(query(tail(1), follow))); got != "start 3, err3, finish 3" {
		t.Errorf("tail 1: %q", got)
	}
}

// To resume after any event of any reading gives exactly what that reading gave after it.
func TestEveryEventIsAPlaceToResume(t *testing.T) {
	h := story(t)
	for _, q := range []messages.LogQuery{
		query(), query(tail(0)), query(tail(1)), query(tail(3)), query(stream(stderr), tail(2)), query(since(6000)), query(attempt(2)),
	} {
		events := h.read(q)
		for i, e := range events {
			again := q
			again.After = e.ID
			if got, expected := short(h.read(again)), short(events[i+1:]); got != expected {
				t.Errorf("%+v after %v (%s): got %q, want %q", q, e, e.ID, got, expected)
			}
		}
	}
}

// told is an event of the model.
type told struct {
	kind    kind
	attempt uint32
	ts      int64
	name    string
}

// expect says by the rules, one event at a time, what a query gives.
func expect(events []told, q messages.LogQuery, from int) []string {
	pass := func(e told) bool {
		return (q.Attempt == 0 || q.Attempt == e.attempt) && e.ts >= q.Since &&
			(!e.kind.lines() || q.Stream == 0 || q.Stream == e.kind.stream())
	}
	var lines []int
	for i, e := range events {
		if e.kind.lines() && pass(e) {
			lines = append(lines, i)
		}
	}
	known, running := uint32(0), uint32(0)
	start := 0
	switch {
	case from >= 0:
		start, known = from+1, events[from].attempt
	case !q.HasTail || q.Tail == 0:
		start = len(events)
	case uint64(len(lines)) >= q.Tail:
		start = lines[uint64(len(lines))-q.Tail]
	}
	var got []string
	for _, e := range events[start:] {
		if !pass(e) {
			continue
		}
		if e.kind != kindStarted && known != e.attempt {
			got = append(got, "start "+strconv.Itoa(int(e.attempt)))
		}
		known = e.attempt
		got = append(got, e.name)
	}
	for _, e := range events {
		running = e.attempt
		if e.kind == kindFinished {
			running = 0
		}
	}
	if running != 0 && known != running && from < 0 && (q.Attempt == 0 || q.Attempt == running) {
		got = append(got, "start "+strconv.Itoa(int(running)))
	}
	return got
}

// Random tasks and random queries, against the model; also after a restart, and whatever the sizes of segments and ring.
func TestQueriesFollowTheRules(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		h := newHouse(t, func(c *Config) {
			c.TaskBytes = minTaskBytes * 64
			c.SegmentBytes = rapid.SampledFrom([]int64{200, 1000, 1 << 20}).Draw(rt, "segment")
			c.RingBytes = rapid.SampledFrom([]int{1, 3000, 1 << 20}).Draw(rt, "ring")
		})
		defer h.shutdown()
		var events []told
		attempt, over := uint32(0), true
		steps := rapid.IntRange(0, 40).Draw(rt, "steps")
		for i := range steps {
			h.now.Add(rapid.Int64Range(-50, 400).Draw(rt, "pass"))
			switch what := rapid.IntRange(0, 9).Draw(rt, "what"); {
			case over:
				attempt, over = attempt+1, false
				h.begin(attempt)
				events = append(events, told{kindStarted, attempt, 1000 * int64(attempt), "start " + strconv.Itoa(int(attempt))})
			case what == 0:
				over = true
				h.end(attempt, 0)
				events = append(events, told{kindFinished, attempt, 1000*int64(attempt) + 500, "finish " + strconv.Itoa(int(attempt))})
			case what == 1 && len(events) > 0:
				if rapid.Bool().Draw(rt, "restart") {
					writers := h.writers
					h.writers = nil // the pipes would be gone, but here they go on
					seqs := map[streamOf]uint64{}
					for k, w := range writers {
						seqs[k] = w.seq
						if err := w.Close(); err != nil {
							rt.Fatal(err)
						}
					}
					h.restart()
					for k, seq := range seqs {
						h.writers[k] = h.logs.Writer(taskID, k.attempt, k.stream)
						h.writers[k].seq = seq
					}
					h.logs.Record(h.task.runs[attempt-1])
				}
			default:
				k := rapid.SampledFrom([]kind{kindStdout, kindStderr}).Draw(rt, "stream")
				for j := range rapid.IntRange(1, 4).Draw(rt, "lines") {
					name := strconv.Itoa(i) + "." + strconv.Itoa(j)
					h.print(attempt, k.stream(), name)
					events = append(events, told{k, attempt, h.now.Load(), name})
				}
			}
		}
		if rapid.Bool().Draw(rt, "terminal") {
			if !over {
				h.end(attempt, 0)
				events = append(events, told{kindFinished, attempt, 1000*int64(attempt) + 500, "finish " + strconv.Itoa(int(attempt))})
			}
			h.close()
		}
		all := h.read(query())
		for range 10 {
			q := messages.LogQuery{
				HasTail: rapid.Bool().Draw(rt, "has tail"),
				Attempt: rapid.SampledFrom([]uint32{0, 0, 0, 1, 2, attempt}).Draw(rt, "attempt"),
				Stream:  rapid.SampledFrom(streams).Draw(rt, "stream"),
			}
			if rapid.Bool().Draw(rt, "has since") {
				q.Since = h.now.Load() - rapid.Int64Range(0, 6000).Draw(rt, "since")
			}
			if q.HasTail {
				q.Tail = rapid.SampledFrom([]uint64{0, 1, 2, 3, 10, messages.AllLines}).Draw(rt, "tail")
			}
			from := -1
			if len(all) > 0 && rapid.Bool().Draw(rt, "resume") {
				from = rapid.IntRange(0, len(all)-1).Draw(rt, "from")
				q.After = all[from].ID
			}
			var got []string
			c, err := h.logs.Open(context.Background(), taskID, q, h.task)
			if err == nil {
				for _, e := range drain(t, c) {
					got = append(got, e.String())
				}
				c.Close()
			} else if !errors.Is(err, io.EOF) {
				rt.Fatal(err)
			}
			if diff := cmp.Diff(expect(events, q, from), got); diff != "" {
				rt.Fatalf("%+v (-want +got):\n%s", q, diff)
			}
		}
	})
}

var streams = []soltiv1.OutputStreamKind{0, stdout, stderr}
