package logs

import (
	"fmt"
	"math/rand/v2"
	"os"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"slotd/messages"
	slotdv1 "slotd/messages/slotd/v1"
)

func TestASilentTaskMakesNoFile(t *testing.T) {
	h := newHouse(t)
	c := h.cursor(query(follow)) // before there is anything
	for n := range uint32(30) {
		h.begin(n + 1)
		h.end(n+1, 1)
	}
	h.close()
	seen := drain(t, c)
	c.Close()
	if len(seen) != 60 {
		t.Fatalf("live: %s", short(seen))
	}
	if entries, err := os.ReadDir(h.config.Dir); err != nil || len(entries) != 0 {
		t.Fatalf("files %v, %v", entries, err)
	}
	// The same again from the runs, also in another life.
	for range 2 {
		if diff := cmp.Diff(rawFrames(seen), rawFrames(h.read(query()))); diff != "" {
			t.Fatalf("replay (-live +replay):\n%s", diff)
		}
		if got := short(h.read(query(after(seen[57].ID)))); got != "start 30, finish 30" {
			t.Errorf("after %v: %q", seen[57], got)
		}
		if got := short(h.read(query(attempt(7)))); got != "start 7, finish 7" {
			t.Errorf("attempt 7: %q", got)
		}
		if got := h.read(query(tail(1))); len(got) != 60 {
			t.Errorf("with fewer lines than the tail asks for, %d events", len(got))
		}
		h.restart()
	}
	// Runs that are not kept any more are missing.
	h.task.runs = h.task.runs[10:]
	if got := h.read(query()); len(got) != 41 || short(got[:2]) != "lagged 20, start 11" {
		t.Errorf("with the first ten runs gone: %s", short(got))
	}
}

func rawFrames(events []event) []string {
	var s []string
	for _, e := range events {
		s = append(s, e.rawFrameSSE)
	}
	return s
}

func TestARunningSilentTaskForgetsWhatItsRunsTell(t *testing.T) {
	h := newHouse(t)
	for n := range uint32(100) {
		h.begin(n + 1)
		h.end(n+1, 1)
	}
	h.begin(101)
	if got := len(h.logs.hubs[taskID].ring.blocks); got != silentKept {
		t.Errorf("remembers %d events", got)
	}
	all := h.read(query())
	if len(all) != 201 || all[0].Attempt != 1 || all[200].Attempt != 101 {
		t.Fatalf("%d events", len(all))
	}
	asked := h.task.asked
	if got := short(h.read(messages.LogQuery{})); got != "start 101" || h.task.asked != asked {
		t.Errorf("from now on: %q, and asked for the runs %d times", got, h.task.asked-asked)
	}
}

// The first line of a later attempt begins the files; what came before still follows from the runs, with the same ids.
func TestASilentTaskThatSpeaksUp(t *testing.T) {
	for _, restarted := range []bool{false, true} {
		t.Run("restarted="+strconv.FormatBool(restarted), func(t *testing.T) {
			h := newHouse(t)
			c := h.cursor(query(follow))
			for n := range uint32(20) {
				h.begin(n + 1)
				h.end(n+1, 1)
			}
			seen := want(t, c, short(h.read(query())))
			c.Close()
			if restarted {
				h.restart()
			}
			h.begin(21)
			h.print(21, stdout, "at last")
			h.end(21, 0)
			h.close()
			all := h.read(query())
			if got := short(all[38:]); got != "start 20, finish 20, start 21, at last, finish 21" {
				t.Fatalf("got %q", got)
			}
			if diff := cmp.Diff(rawFrames(seen), rawFrames(all[:40])); diff != "" {
				t.Errorf("what was silent has changed:\n%s", diff)
			}
			for i, e := range all[:len(all)-1] {
				if got := short(h.read(query(after(e.ID)))); got != short(all[i+1:]) {
					t.Errorf("after %v: %q", e, got)
				}
			}
			h.restart()
			if diff := cmp.Diff(rawFrames(all), rawFrames(h.read(query()))); diff != "" {
				t.Errorf("after a restart:\n%s", diff)
			}
		})
	}
}

// A reader may ask for a task whose hub this life has not made yet, and then the task goes on.
func TestAReaderOfATaskThatWaits(t *testing.T) {
	for _, lines := range []bool{false, true} {
		t.Run("lines="+strconv.FormatBool(lines), func(t *testing.T) {
			h := newHouse(t)
			h.begin(1)
			expected := "start 1, finish 1"
			if lines {
				h.print(1, stdout, "a")
				expected = "start 1, a, finish 1"
			}
			h.end(1, 1)
			h.restart()
			c := h.cursor(query(follow))
			first := want(t, c, expected)
			now := h.cursor(query(live))
			wantNothing(t, now)
			resumed := h.cursor(query(follow, after(first[len(first)-1].ID)))
			wantNothing(t, resumed)
			h.begin(2)
			h.print(2, stdout, "b")
			for _, c := range []*Cursor{c, now, resumed} {
				want(t, c, "start 2, b")
			}
			h.end(2, 0)
			h.close()
			for _, c := range []*Cursor{c, now, resumed} {
				if got := short(drain(t, c)); got != "finish 2" {
					t.Errorf("got %q", got)
				}
			}
		})
	}
}

func TestATaskThatNeverRan(t *testing.T) {
	h := newHouse(t)
	c := h.cursor(query(live))
	wantNothing(t, c)
	h.close()
	if got := drain(t, c); len(got) != 0 {
		t.Errorf("got %v", got)
	}
	c.Close()
	if got := h.read(query()); len(got) != 0 {
		t.Errorf("replay %v", got)
	}
	if got := h.logs.Stats(); got != (Stats{}) {
		t.Errorf("left %+v", got)
	}
}

// Close comes just when a reader learns that the task runs.
func TestAReaderThatIsLateForTheEnd(t *testing.T) {
	for name, q := range map[string]messages.LogQuery{"live": query(live), "all": query(follow)} {
		t.Run(name, func(t *testing.T) {
			h := newHouse(t)
			h.begin(1)
			h.print(1, stdout, "a")
			h.end(1, 0)
			c, err := h.logs.Open(t.Context(), taskID, q, &endsWhenAsked{h.task, h})
			if err != nil {
				t.Fatal(err)
			}
			defer c.Close()
			got := short(drain(t, c))
			if name == "all" && got != "start 1, a, finish 1" || name == "live" && got != "" {
				t.Errorf("got %q", got)
			}
		})
	}
}

type endsWhenAsked struct {
	*fakeTask
	h *house
}

func (e *endsWhenAsked) Terminal() bool {
	e.h.close()
	return false
}

func TestARunningSilentTaskIsSmall(t *testing.T) {
	const tasks, most = 10_000, 1 << 10
	h := newHouse(t)
	var writers []*Writer
	measure := func() uint64 {
		runtime.GC()
		runtime.GC()
		var m runtime.MemStats
		runtime.ReadMemStats(&m)
		return m.HeapAlloc
	}
	before := measure()
	for i := range tasks {
		id := "tsk_" + strings.Repeat("0", 20) + strconv.Itoa(100_000+i)
		h.logs.Record(&slotdv1.RunRecord{TaskId: id, Attempt: 1, StartedAt: 1})
		writers = append(writers, h.logs.Writer(id, 1, stdout), h.logs.Writer(id, 1, stderr))
	}
	each := (measure() - before) / tasks
	t.Logf("%d bytes per silent running task, with its two writers", each)
	if each > most+512 {
		t.Errorf("%d bytes each", each)
	}
	for _, w := range writers {
		if err := w.Close(); err != nil {
			t.Error(err)
		}
	}
}

// A task that is deleted while it runs says its last words while it is being stopped.
func TestAFollowerOfADeletedTaskGetsItsEnd(t *testing.T) {
	h := newHouse(t)
	h.begin(1)
	c := h.cursor(query(live))
	defer c.Close()
	want(t, c, "start 1")
	h.print(1, stdout, "bye")
	h.end(1, 0)
	h.close()
	h.logs.Remove(taskID)
	if got := short(drain(t, c)); got != "bye, finish 1" {
		t.Errorf("after the deletion: %q", got)
	}
}

// A reader learns of a run from its record, and its hub too, before the run is told to the log: whoever waits there
// already gets its events nevertheless.
func TestARunThatAReaderKnowsFirst(t *testing.T) {
	h := newHouse(t)
	c := h.cursor(query(follow))
	defer c.Close()
	wantNothing(t, c)
	run := &slotdv1.RunRecord{TaskId: taskID, Attempt: 1, StartedAt: 1000}
	h.task.mu.Lock()
	h.task.runs = append(h.task.runs, run)
	h.task.mu.Unlock()
	late := h.cursor(query(follow))
	defer late.Close()
	for _, c := range []*Cursor{c, late} {
		want(t, c, "start 1")
	}
	h.logs.Record(run)
	h.print(1, stdout, "a")
	h.end(1, 0)
	h.close()
	for _, c := range []*Cursor{c, late} {
		if got := short(drain(t, c)); got != "a, finish 1" {
			t.Errorf("got %q", got)
		}
	}
	if got := short(h.read(query())); got != "start 1, a, finish 1" {
		t.Errorf("replay: %q", got)
	}
}

// The ring may begin in the midst of what a task did before its first line: the runs tell what came before.
func TestASilentTaskThatSpeaksUpToAFollower(t *testing.T) {
	h := newHouse(t)
	for n := range uint32(20) {
		h.begin(n + 1)
		h.end(n+1, 1)
	}
	h.restart()
	first := h.cursor(query(follow))
	h.begin(21)
	first.Close() // leaves the last few events in memory
	second := h.cursor(query(follow))
	defer second.Close()
	h.print(21, stdout, "at last")
	all := h.read(query())
	if len(all) != 42 || short(all[38:]) != "start 20, finish 20, start 21, at last" {
		t.Fatalf("%d events: %s", len(all), short(all))
	}
	for i, e := range all[:len(all)-1] {
		if got := short(h.read(query(after(e.ID)))); got != short(all[i+1:]) {
			t.Fatalf("after %v: %q", e, got)
		}
	}
}

// Whatever readers come and go, learn of runs before the log does, and see restarts: each replay tells all that happened.
func TestRandomLivesOfASeldomTalkingTask(t *testing.T) {
	r := seed(t)
	for range 300 {
		if liveSeldomTalking(t, r); t.Failed() {
			return
		}
	}
}

func liveSeldomTalking(t *testing.T, r *rand.Rand) {
	t.Helper()
	h := newHouse(t)
	var open []*Cursor
	defer func() {
		for _, c := range open {
			c.Close()
		}
		h.shutdown()
	}()
	var story, happened []string
	var untold *slotdv1.RunRecord // in the store, and not in the log
	tell := func() {
		if untold != nil {
			h.logs.Record(untold)
			untold = nil
			story = append(story, "told")
		}
	}
	var attempt uint32
	running := false
	for range 60 {
		switch r.IntN(10) {
		case 0, 1, 2:
			tell()
			run := &slotdv1.RunRecord{TaskId: taskID, Attempt: attempt + 1, StartedAt: 1000 * int64(attempt+1)}
			what := fmt.Sprintf("start %d", attempt+1)
			if running {
				h.hangUp()
				run.Attempt, run.StartedAt = attempt, 1000*int64(attempt)
				run.FinishedAt, run.ExitCode = run.GetStartedAt()+500, new(int32(0))
				h.task.runs = h.task.runs[:len(h.task.runs)-1]
				what = fmt.Sprintf("finish %d", attempt)
			}
			attempt, running = run.GetAttempt(), !running
			h.task.runs = append(h.task.runs, run)
			story, happened, untold = append(story, what), append(happened, what), run
			if r.IntN(2) == 0 {
				tell()
			}
		case 3:
			if len(open) < 3 {
				story = append(story, "open")
				open = append(open, h.cursor(query(follow)))
			}
		case 4, 5:
			if len(open) > 0 {
				story = append(story, "close")
				i := r.IntN(len(open))
				open[i].Close()
				open = slices.Delete(open, i, i+1)
			}
		case 6:
			if running && len(happened) > 15 && r.IntN(3) == 0 {
				tell()
				line := fmt.Sprintf("line %d", len(happened))
				h.print(attempt, stdout, line)
				story, happened = append(story, line), append(happened, line)
			}
		case 7:
			if !running && r.IntN(3) == 0 {
				tell()
				for _, c := range open {
					c.Close()
				}
				open = nil
				story = append(story, "restart")
				h.restart()
			}
		default:
			tell()
			story = append(story, "read")
			if got, want := short(h.read(query())), strings.Join(happened, ", "); got != want {
				t.Errorf("after %v:\ngot  %s\nwant %s", story, got, want)
				return
			}
		}
	}
}
