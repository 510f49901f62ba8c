package logs

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	slotdv1 "slotd/messages/slotd/v1"
)

// A crash takes away what had not been recorded of the last runs. The next life makes up for it, before anything else,
// whoever comes first; and what it wrote is there for all later ones.
func TestWhatACrashTookFromALogIsMadeUpFor(t *testing.T) {
	expected := []string{"start 1", "a", "finish 1", "start 2", "finish 2", "start 3", "finish 3"}
	for kept := 2; kept <= len(expected); kept++ {
		for _, first := range []string{"a reader", "an event", "the end"} {
			t.Run(fmt.Sprintf("%d kept, then %s", kept, first), func(t *testing.T) {
				h := newHouse(t)
				h.begin(1)
				h.print(1, stdout, "a")
				for i, event := range expected[2:] {
					h.lived(event, i+2 < kept)
				}
				h.restart()
				h.resume()
				want := strings.Join(expected, ", ")
				switch first {
				case "a reader":
					if got := short(h.read(query())); got != want {
						t.Fatalf("got %q, want %q", got, want)
					}
				case "an event":
					h.begin(4)
					want += ", start 4"
				case "the end":
					h.close()
				}
				all := h.read(query())
				if got := short(all); got != want {
					t.Errorf("got %q, want %q", got, want)
				}
				if code := all[2].ExitCode; code == nil || *code != 7 {
					t.Errorf("the end of run 1 is %v", all[2].rawFrameSSE)
				}
				h.restart()
				if !h.task.Terminal() {
					h.resume()
				}
				if diff := cmp.Diff(rawFrames(all), rawFrames(h.read(query()))); diff != "" {
					t.Errorf("in the life after (-want +got):\n%s", diff)
				}
			})
		}
	}
}

// lived lets an event of a run be committed and, unless the node dies first, be recorded.
func (h *house) lived(event string, recorded bool) {
	h.t.Helper()
	if !recorded {
		logs := h.logs
		defer func() { h.logs = logs }()
		h.logs = silentLogs(h.t)
	}
	var attempt uint32
	if _, err := fmt.Sscanf(event, "start %d", &attempt); err == nil {
		h.begin(attempt)
		return
	}
	if _, err := fmt.Sscanf(event, "finish %d", &attempt); err != nil {
		h.t.Fatal(err)
	}
	h.end(attempt, 7)
}

// silentLogs are logs that nobody reads.
func silentLogs(t testing.TB) *Logs {
	t.Helper()
	l, err := Open(Config{Dir: t.TempDir()}, nil)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := l.Shutdown(); err != nil {
			t.Error(err)
		}
	})
	return l
}

func (h *house) resume() {
	h.t.Helper()
	err := h.logs.Resume(taskID, func() ([]*slotdv1.RunRecord, error) { return h.task.Runs(context.Background()) })
	if err != nil {
		h.t.Fatal(err)
	}
}

func TestResumeAsksForRunsOnlyOfTasksWithFiles(t *testing.T) {
	h := newHouse(t)
	h.begin(1)
	h.end(1, 0)
	h.restart()
	h.resume()
	if h.task.asked != 0 {
		t.Error("asked for the runs of a task that has printed nothing")
	}
	h.begin(2)
	h.print(2, stdout, "a")
	h.restart()
	failed := errors.New("the disk does not answer")
	if err := h.logs.Resume(taskID, func() ([]*slotdv1.RunRecord, error) { return nil, failed }); !errors.Is(err, failed) {
		t.Errorf("got %v, want %v", err, failed)
	}
	if got := h.logs.Stats().Hubs; got != 0 {
		t.Errorf("%d hubs in memory", got)
	}
}
