package main

import (
	"fmt"
	"net/http"
	"os"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	slotdv1 "slotd/messages/slotd/v1"
	soltiv1 "slotd/messages/solti/v1"
	"slotd/test/need"
)

// pty is a terminal: what is written to screen is in shown, as a person's keys are what is written to keys.
func pty(t *testing.T) (screen *os.File, shown *locked, keys *os.File) {
	t.Helper()
	keys, err := os.OpenFile("/dev/ptmx", os.O_RDWR, 0)
	need.That(t, err == nil, "a pseudo-terminal, /dev/ptmx")
	if err := unix.IoctlSetPointerInt(int(keys.Fd()), unix.TIOCSPTLCK, 0); err != nil {
		t.Fatal(err)
	}
	number, err := unix.IoctlGetInt(int(keys.Fd()), unix.TIOCGPTN)
	if err != nil {
		t.Fatal(err)
	}
	screen, err = os.OpenFile(fmt.Sprintf("/dev/pts/%d", number), os.O_RDWR|syscall.O_NOCTTY, 0)
	if err != nil {
		t.Fatal(err)
	}
	if err := unix.IoctlSetWinsize(int(screen.Fd()), unix.TIOCSWINSZ, &unix.Winsize{Row: 10, Col: 60}); err != nil {
		t.Fatal(err)
	}
	shown = new(locked)
	over := make(chan struct{})
	go func() {
		defer close(over)
		piece := make([]byte, 4096)
		for {
			n, err := keys.Read(piece)
			_, _ = shown.Write(piece[:n]) // to memory
			if err != nil {
				return // hung up
			}
		}
	}()
	t.Cleanup(func() {
		if err := screen.Close(); err != nil {
			t.Error(err)
		}
		<-over
		if err := keys.Close(); err != nil {
			t.Error(err)
		}
	})
	return screen, shown, keys
}

// rendered is what stands on a terminal after text was written to it, line by line.
func rendered(text string) string {
	lines, column := []string{""}, 0
	for text != "" {
		last := &lines[len(lines)-1]
		switch {
		case strings.HasPrefix(text, "\x1b[K"):
			*last = (*last)[:column]
			text = text[3:]
			continue
		case text[0] == '\r':
			column = 0
		case text[0] == '\n':
			lines, column = append(lines, ""), 0
		default:
			*last = (*last)[:column] + text[:1] + (*last)[min(len(*last), column+1):]
			column++
		}
		text = text[1:]
	}
	return strings.Join(lines, "\n")
}

// slow is a daemon with a task that runs until it is let go.
func slow(t *testing.T) (r routes, letGo func()) {
	t.Helper()
	var over atomic.Bool
	released := make(chan struct{})
	r = submitted(t, nil, func(w http.ResponseWriter, req *http.Request) {
		frames(line("stdout", "begun"))(w, req)
		if err := http.NewResponseController(w).Flush(); err != nil {
			t.Error(err)
		}
		<-released
	})
	r["GET /api/v1/tasks/"+idA] = func(w http.ResponseWriter, req *http.Request) {
		if req.URL.Query().Has("wait") {
			select {
			case <-released:
			case <-req.Context().Done():
			}
		}
		status := &soltiv1.TaskStatusInfo{Phase: soltiv1.TaskStatus_TASK_STATUS_RUNNING, Attempt: 2}
		if over.Load() {
			status = succeeded()
		}
		jsonAnswer(t, &soltiv1.GetTaskStatusResponse{Task: taskIn(idA, status)})(w, req)
	}
	r["POST /api/v1/tasks/"+idA+"/cancel"] = func(w http.ResponseWriter, req *http.Request) {
		<-released
		jsonAnswer(t, &slotdv1.CancelTaskResponse{Task: taskIn(idA, canceled())})(w, req)
	}
	r["DELETE /api/v1/tasks/"+idA] = func(w http.ResponseWriter, _ *http.Request) {
		<-released
		w.WriteHeader(http.StatusNoContent)
	}
	return r, func() { over.Store(true); close(released) }
}

func TestALongWaitIsToldOnATerminalAndLeavesNothingBehind(t *testing.T) {
	for _, tc := range []struct {
		args []string
		told string
		left string
	}{
		{[]string{"wait", idA}, "\rwaiting for " + idA + ", Running, attempt 2, 0s\x1b[K", "slotd: " + idA + ": Succeeded\r\n"},
		{[]string{"run", "--", "true"}, "\rrunning " + idA + ", Running, attempt 2, 0s\x1b[K", "begun\r\n"},
		{[]string{"cancel", idA}, "\rending " + idA + ", Running, attempt 2, 0s\x1b[K", idA + "\r\n"},
		{[]string{"rm", idA}, "\rending " + idA + ", Running, attempt 2, 0s\x1b[K", idA + "\r\n"},
	} {
		r, letGo := slow(t)
		w := daemon(t, r)
		screen, shown, _ := pty(t)
		if err := unix.IoctlSetWinsize(int(screen.Fd()), unix.TIOCSWINSZ, &unix.Winsize{Row: 10, Col: 120}); err != nil {
			t.Fatal(err)
		}
		w.stdout, w.stderr, w.tty = screen, screen, isTerminal
		exit := make(chan int, 1)
		go func() { exit <- w.run(t, tc.args...) }()
		eventually(t, fmt.Sprintf("%v tells what it waits for", tc.args), func() bool { return strings.Count(shown.String(), tc.told) > 1 })
		letGo()
		if code := <-exit; code != 0 {
			t.Errorf("%v: exit %d, shown %q", tc.args, code, shown.String())
		}
		want := rendered(tc.left)
		eventually(t, fmt.Sprintf("%v leaves %q: %q", tc.args, want, rendered(shown.String())), func() bool { return rendered(shown.String()) == want })
	}
}

func TestALongLineOfProgressIsCutToTheTerminal(t *testing.T) {
	r, letGo := slow(t)
	w := daemon(t, r)
	screen, shown, _ := pty(t)
	w.stderr, w.tty = screen, isTerminal
	exit := make(chan int, 1)
	go func() { exit <- w.run(t, "wait", idA) }()
	want := []rune("waiting for " + idA + ", Running, attempt 2, 0s")[:58]
	eventually(t, "the line is cut", func() bool { return strings.Contains(shown.String(), "\r"+string(want)+"…\x1b[K") })
	letGo()
	if code := <-exit; code != 0 {
		t.Errorf("exit %d", code)
	}
}

func TestProgressIsOnlyForAPersonWhoWantsIt(t *testing.T) {
	for name, change := range map[string]func(w *world) []string{
		"no terminal":     func(w *world) []string { w.tty = func(any) bool { return false }; return nil },
		"quiet":           func(*world) []string { return []string{"-q"} },
		"a dumb terminal": func(w *world) []string { w.environ = append(w.environ, "TERM=dumb"); return nil },
		"a short wait":    func(w *world) []string { w.hush = time.Hour; return nil },
	} {
		r, letGo := slow(t)
		asked := make(chan struct{}, 100)
		get := r["GET /api/v1/tasks/"+idA]
		r["GET /api/v1/tasks/"+idA] = func(w http.ResponseWriter, req *http.Request) {
			if !req.URL.Query().Has("wait") {
				t.Errorf("%s: asked how it goes", name)
			}
			asked <- struct{}{}
			get(w, req)
		}
		w := daemon(t, r)
		w.tty = func(any) bool { return true }
		args := append([]string{"wait", idA}, change(w)...)
		exit := make(chan int, 1)
		go func() { exit <- w.run(t, args...) }()
		<-asked
		time.AfterFunc(100*time.Millisecond, letGo) // five times as long as it takes on a terminal
		if code := <-exit; code != 0 || strings.ContainsAny(w.talk.String(), "\r\x1b") {
			t.Errorf("%s: exit %d, said %q", name, code, w.talk.String())
		}
	}
}

func TestALineIsNeverDrawnIntoAnother(t *testing.T) {
	var below locked
	s := &screen{terminal: &below, width: func() int { return 80 }}
	over := &overlay{s, &below}
	for _, step := range []struct {
		do   func()
		want string
	}{
		{func() { s.draw("one", 0) }, "one"},
		{func() { s.draw("2", 0) }, "2"},
		{func() { _, _ = over.Write([]byte("half a ")) }, "half a "},
		{func() { s.draw("three", 0) }, "half a "},
		{func() { _, _ = over.Write([]byte("line\n")) }, "half a line\n"},
		{func() { s.draw("early", time.Hour) }, "half a line\n"},
		{func() { s.draw("a\nb\x1b[2J", 0) }, "half a line\na b [2J"},
		{s.clear, "half a line\n"},
		{s.clear, "half a line\n"},
	} {
		step.do()
		if got := rendered(below.String()); got != step.want {
			t.Fatalf("got %q, want %q", got, step.want)
		}
	}
}
