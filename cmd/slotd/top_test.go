package main

import (
	"encoding/json"
	"net/http"
	"os"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	slotdv1 "slotd/messages/slotd/v1"
	soltiv1 "slotd/messages/solti/v1"
)

// busyNode is a node that has admitted ten more tasks a second whenever it is asked.
func busyNode(t *testing.T) (r routes, asked *atomic.Int64) {
	t.Helper()
	asked = new(atomic.Int64)
	return routes{
		"GET /api/v1/introspection": func(w http.ResponseWriter, req *http.Request) {
			n := asked.Add(1)
			jsonAnswer(t, &slotdv1.IntrospectResponse{
				Node: "n1", StartedAt: clock.UnixMilli() - 3_600_000, Now: clock.UnixMilli() + 1000*n, Tasks: map[string]uint64{"RUNNING": 1, "PENDING": 2},
				TasksActive: 3, Queued: 2, AttemptsRunning: 1, AttemptsStarted: uint64(5 * n), HeapBytes: 3 << 20, Goroutines: 12,
				Decisions: &slotdv1.DecisionCounters{Admitted: uint64(10 * n), Dropped: uint64(n), QueueFull: uint64(n)},
				Store:     &slotdv1.StoreView{Kind: "pebble", Writable: true},
				Latencies: map[string]*slotdv1.LatencyView{"commit": {Count: 1, P50: 1500, P99: 9000}},
			})(w, req)
		},
		"GET /api/v1/slots": jsonAnswer(t, &slotdv1.ListSlotsResponse{Slots: []*slotdv1.SlotView{
			{Slot: "a", Phase: "retiring", Holder: new(idB)},
			{Slot: "build", Phase: "occupied", Holder: new(idA), Queue: []string{idC, idC}},
		}}),
		"GET /api/v1/tasks": jsonAnswer(t, &soltiv1.ListTasksResponse{Tasks: []*soltiv1.TaskData{{
			Metadata: &soltiv1.ObjectMeta{Id: idA, CreatedAt: ago(0)},
			Spec:     &soltiv1.CreateSpec{Slot: "build", Kind: command("make", "all\x1b[2J")},
			Status:   &soltiv1.TaskStatusInfo{Phase: soltiv1.TaskStatus_TASK_STATUS_RUNNING, Attempt: 2, Node: new("n1")},
		}}}),
	}, asked
}

func TestTopPrintsOneSnapshotWhereNobodyWatches(t *testing.T) {
	r, _ := busyNode(t)
	w := daemon(t, r)
	got := w.must(t, "top")
	addr, _ := w.getenv("SLOTD_ADDR")
	golden(t, "top-table", strings.ReplaceAll(got, addr, "ADDR"))
	for _, format := range []string{"json", "yaml"} {
		w = daemon(t, r)
		if got := w.must(t, "top", "-o", format); !strings.Contains(got, "introspection") || !strings.Contains(got, "occupied") {
			t.Errorf("%s: got %s", format, got)
		}
	}
	w = daemon(t, r)
	var object struct {
		Introspection struct{ Node string }
		Slots         []struct{ Slot string }
	}
	if err := json.Unmarshal([]byte(w.must(t, "top", "-o", "jsonl")), &object); err != nil || object.Introspection.Node != "n1" || object.Slots[0].Slot != "build" {
		t.Errorf("got %+v, %v", object, err)
	}
	if w := daemon(t, r); w.must(t, "top", "-o", "name") != "build\na\n" {
		t.Errorf("got %q", w.out.String())
	}
	w = newWorld(t)
	if code := w.run(t, "top", "--interval", "1ms"); code != exitUsage {
		t.Errorf("exit %d", code)
	}
	w = newWorld(t, "SLOTD_ADDR=unix:///nowhere")
	if code := w.run(t, "top"); code != exitNoServer {
		t.Errorf("exit %d", code)
	}
}

func TestTopIsRefreshedUntilItIsLeft(t *testing.T) {
	for name, tc := range map[string]struct {
		keys   string
		signal os.Signal
		code   int
	}{"q": {"xq", nil, 0}, "Ctrl-C": {"", syscall.SIGINT, 0}, "SIGTERM": {"", syscall.SIGTERM, 143}} {
		r, asked := busyNode(t)
		w := daemon(t, r)
		screen, shown, keys := pty(t)
		before, err := unix.IoctlGetTermios(int(screen.Fd()), unix.TCGETS)
		if err != nil {
			t.Fatal(err)
		}
		w.stdin, w.stdout, w.tty = screen, screen, isTerminal
		exit := make(chan int, 1)
		go func() { exit <- w.run(t, "top", "--interval", "100ms", "--color", "never") }()
		eventually(t, name+": it is refreshed", func() bool { return asked.Load() > 2 && strings.Contains(shown.String(), "rates") })
		if tc.signal != nil {
			w.signals <- tc.signal
		} else if _, err := keys.WriteString(tc.keys); err != nil {
			t.Error(err)
		}
		if code := <-exit; code != tc.code {
			t.Errorf("%s: exit %d, want %d; said %q", name, code, tc.code, w.talk.String())
		}
		eventually(t, name+": the terminal is as before", func() bool { return strings.HasSuffix(shown.String(), leaveScreen) })
		text := shown.String()
		for _, part := range []string{enterScreen, "10.0/s admitted", "build", "stopping", "\x1b[?25l"} {
			if !strings.Contains(text, part) {
				t.Errorf("%s: %q is not in %q", name, part, text)
			}
		}
		if strings.Contains(text, "\x1b[2J") {
			t.Errorf("%s: a task reaches the terminal's controls", name)
		}
		after, err := unix.IoctlGetTermios(int(screen.Fd()), unix.TCGETS)
		if err != nil || *after != *before {
			t.Errorf("%s: the mode of the terminal is %v, was %v; %v", name, after, before, err)
		}
	}
}

func TestTopOutlivesTheDaemon(t *testing.T) {
	r, asked := busyNode(t)
	answer := r["GET /api/v1/introspection"]
	r["GET /api/v1/introspection"] = func(w http.ResponseWriter, req *http.Request) {
		if n := asked.Load(); n == 2 || n == 3 {
			asked.Add(1)
			refuse(503, "Unavailable", "not now")(w, req)
			return
		}
		answer(w, req)
	}
	w := daemon(t, r)
	screen, shown, keys := pty(t)
	w.stdin, w.stdout, w.tty = screen, screen, isTerminal
	exit := make(chan int, 1)
	go func() { exit <- w.run(t, "top", "--interval", "100ms") }()
	eventually(t, "it goes on", func() bool { return asked.Load() > 5 })
	if _, err := keys.WriteString("q"); err != nil {
		t.Error(err)
	}
	if code := <-exit; code != 0 || !strings.Contains(shown.String(), "no answer, shown is the last one: not now") {
		t.Errorf("exit %d, shown %q", code, shown.String())
	}
}

func TestClipCountsNoColors(t *testing.T) {
	for text, want := range map[string]string{
		"abc":                    "abc",
		"abcdef":                 "abcd",
		"\x1b[31mab\x1b[0mcdef":  "\x1b[31mab\x1b[0mcd\x1b[0m",
		"\x1b[31mäöüß and more":  "\x1b[31mäöüß\x1b[0m",
		"ab\x1b[broken sequence": "ab",
	} {
		if got := clip(text, 4); got != want {
			t.Errorf("%q: got %q, want %q", text, got, want)
		}
	}
}
