package main

import (
	"bytes"
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/hashicorp/go-hclog"
	"go.uber.org/goleak"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// world is the outside of one command line.
type world struct {
	*app

	out, talk locked
	signals   chan os.Signal
}

// locked is a buffer that a command writes to while a test reads it.
type locked struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *locked) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *locked) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

// clock is the time in every test.
var clock = time.Date(2026, 3, 4, 5, 6, 7, 0, time.UTC)

func newWorld(t *testing.T, env ...string) *world {
	t.Helper()
	w := &world{signals: make(chan os.Signal, 8)}
	w.app = &app{
		stdin:   strings.NewReader(""),
		stdout:  &w.out,
		stderr:  &w.talk,
		environ: append([]string{"HOME=/home/u"}, env...),
		now:     func() time.Time { return clock },
		notify: func(wanted ...os.Signal) (<-chan os.Signal, func()) {
			if wanted[0] == syscall.SIGPIPE {
				return nil, func() {}
			}
			return w.signals, func() {}
		},
		tty:  func(any) bool { return false },
		hush: 20 * time.Millisecond,
		start: func(NodeConfig, hclog.Logger) (node, error) {
			t.Error("a node was started")
			return nil, os.ErrInvalid
		},
	}
	return w
}

func (w *world) run(t *testing.T, args ...string) int {
	t.Helper()
	return w.execute(t.Context(), args)
}

// eventually waits until what holds, and fails the test when it does not in time.
func eventually(t *testing.T, what string, holds func() bool) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	for !holds() {
		select {
		case <-ctx.Done():
			t.Fatalf("never: %s", what)
		case <-tick.C:
		}
	}
}

// routes is a daemon of canned answers: "METHOD /path" → what it does.
type routes map[string]http.HandlerFunc

// daemon serves routes, and returns the world of a user who knows where.
func daemon(t *testing.T, r routes) *world {
	t.Helper()
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		answer, ok := r[req.Method+" "+req.URL.Path]
		if !ok {
			t.Errorf("unexpected request: %s %s", req.Method, req.URL)
			w.WriteHeader(http.StatusTeapot)
			return
		}
		answer(w, req)
	}))
	t.Cleanup(server.Close)
	return newWorld(t, "SLOTD_ADDR="+server.URL)
}

func jsonAnswer(t *testing.T, m proto.Message) http.HandlerFunc {
	t.Helper()
	body, err := protojson.Marshal(m)
	if err != nil {
		t.Fatal(err)
	}
	return func(w http.ResponseWriter, _ *http.Request) {
		if _, err := w.Write(body); err != nil {
			t.Error(err)
		}
	}
}

func refuse(status int, label, message string) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		w.WriteHeader(status)
		_, _ = fmt.Fprintf(w, `{"error":%q,"message":%q}`, label, message) // the client's end shows a failure
	}
}

// frames answers with a log stream: data of each event, ids e0, e1, …
func frames(events ...string) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "text/event-stream")
		for i, data := range events {
			_, _ = fmt.Fprintf(w, "id: e%d\ndata: %s\n\n", i, data) // the client's end shows a failure
		}
	}
}
