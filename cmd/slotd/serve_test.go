package main

import (
	"context"
	"errors"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/hashicorp/go-hclog"

	soltiv1 "slotd/messages/solti/v1"
)

// fakeNode is a node whose attempts end when they are told to.
type fakeNode struct {
	ready   chan error
	failed  chan error
	mu      sync.Mutex
	running []*soltiv1.TaskData
	graces  []time.Duration
	idle    chan struct{} // closed when nothing runs
	lazy    bool          // only a kill ends what runs
	reloads chan error    // what each reload answers; without one, there is nothing to read
	stopped bool
}

func (n *fakeNode) Addresses() addresses { return addresses{http: "127.0.0.1:80", unix: "/s"} }

func (n *fakeNode) Ready(ctx context.Context) error {
	select {
	case err := <-n.ready:
		return err
	case <-ctx.Done():
		return ctx.Err()
	}
}

func (n *fakeNode) Reload() (bool, error) {
	select {
	case err := <-n.reloads:
		return true, err
	default:
		return false, nil
	}
}

func (n *fakeNode) Failed() <-chan error { return n.failed }

func (n *fakeNode) Running() []*soltiv1.TaskData {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.running
}

func (n *fakeNode) Drain(ctx context.Context, grace time.Duration) error {
	n.mu.Lock()
	n.graces = append(n.graces, grace)
	if !n.lazy || grace == 0 {
		n.running = nil
		close(n.idle)
	}
	n.mu.Unlock()
	select {
	case <-n.idle:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

func (n *fakeNode) Stop() error {
	n.stopped = true
	return nil
}

// serving is a world in which serve starts n.
func serving(t *testing.T, n *fakeNode) *world {
	t.Helper()
	n.ready, n.failed, n.idle = make(chan error, 1), make(chan error, 1), make(chan struct{})
	w := newWorld(t)
	w.start = func(NodeConfig, hclog.Logger) (node, error) { return n, nil }
	return w
}

func begin(t *testing.T, w *world, dir string) <-chan int {
	t.Helper()
	exit := make(chan int, 1)
	go func() { exit <- w.run(t, "serve", "--data", dir, "--shutdown-grace", "7s") }()
	return exit
}

func TestServeTellsItsAddressesOnceItIsReady(t *testing.T) {
	n := &fakeNode{}
	w := serving(t, n)
	dir := filepath.Join(t.TempDir(), "d")
	exit := begin(t, w, dir)
	eventually(t, "the data directory is made", func() bool { _, err := os.Stat(filepath.Join(dir, lockFile)); return err == nil })
	if got := w.out.String(); got != "" {
		t.Errorf("told before it was ready: %q", got)
	}
	n.ready <- nil
	want := "slotd ready http=127.0.0.1:80 unix=/s data=" + dir + "\n"
	eventually(t, "it tells that it is ready", func() bool { return w.out.String() == want })
	if info, err := os.Stat(dir); err != nil || info.Mode().Perm() != 0o700 {
		t.Errorf("got %v, %v", info.Mode(), err)
	}
	w.signals <- syscall.SIGTERM
	if code := <-exit; code != 0 || w.out.String() != want || !n.stopped {
		t.Errorf("exit %d, got %q, stopped %v", code, w.out.String(), n.stopped)
	}
}

func TestServeTellsWhatItWaitsForAndASecondSignalKills(t *testing.T) {
	n := &fakeNode{lazy: true, running: []*soltiv1.TaskData{{
		Metadata: &soltiv1.ObjectMeta{Id: idA}, Spec: &soltiv1.CreateSpec{Slot: "build"}, Status: &soltiv1.TaskStatusInfo{Attempt: 3},
	}}}
	w := serving(t, n)
	exit := begin(t, w, filepath.Join(t.TempDir(), "d"))
	n.ready <- nil
	w.signals <- syscall.SIGTERM
	told := "waiting for an attempt to end: task_id=" + idA + " slot=build attempt=3 waited=0s grace=7s"
	eventually(t, "it tells what it waits for", func() bool { return strings.Contains(w.talk.String(), told) })
	eventually(t, "it drains", func() bool { n.mu.Lock(); defer n.mu.Unlock(); return len(n.graces) == 1 })
	w.signals <- syscall.SIGTERM
	if code := <-exit; code != 0 || !n.stopped {
		t.Errorf("exit %d, said %s", code, w.talk.String())
	}
	if len(n.graces) != 2 || n.graces[0] != 7*time.Second || n.graces[1] != 0 {
		t.Errorf("got graces %v", n.graces)
	}
}

func TestAHangUpStopsNothing(t *testing.T) {
	n := &fakeNode{lazy: true, running: []*soltiv1.TaskData{{Metadata: &soltiv1.ObjectMeta{Id: idA}}}}
	w := serving(t, n)
	exit := begin(t, w, filepath.Join(t.TempDir(), "d"))
	w.signals <- syscall.SIGHUP
	n.ready <- nil
	eventually(t, "it is ready", func() bool { return w.out.String() != "" })
	eventually(t, "it tells what became of the signal", func() bool { return strings.Contains(w.talk.String(), "a hang-up stops nothing") })
	w.signals <- syscall.SIGTERM
	w.signals <- syscall.SIGHUP
	eventually(t, "the hang-up was taken", func() bool { return len(w.signals) == 0 })
	w.signals <- syscall.SIGTERM
	if code := <-exit; code != 0 {
		t.Errorf("exit %d, said %s", code, w.talk.String())
	}
	if len(w.signals) != 0 || len(n.graces) != 2 {
		t.Errorf("the hang-up killed: %d signals are left, graces %v", len(w.signals), n.graces)
	}
}

func TestServeEndsWhenItCannotServe(t *testing.T) {
	for name, breaks := range map[string]func(*fakeNode){
		"recovery": func(n *fakeNode) { n.ready <- errors.New("torn page") },
		"listener": func(n *fakeNode) { n.failed <- errors.New("http: accept failed") },
	} {
		n := &fakeNode{}
		w := serving(t, n)
		breaks(n)
		if code := <-begin(t, w, filepath.Join(t.TempDir(), "d")); code != exitError || !n.stopped {
			t.Errorf("%s: exit %d, stopped %v", name, code, n.stopped)
		}
	}
}

func TestADataDirectoryHasOneOwner(t *testing.T) {
	dir := t.TempDir()
	if err := os.Chmod(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	first, err := openDataDir(dir)
	if err != nil || !first.wide {
		t.Fatal(first, err)
	}
	if _, err := openDataDir(dir); err == nil || !strings.Contains(err.Error(), "is used by another slotd (pid ") {
		t.Errorf("got %v", err)
	}
	if err := first.close(); err != nil {
		t.Error(err)
	}
	again, err := openDataDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	if err := again.close(); err != nil {
		t.Error(err)
	}
	file := filepath.Join(dir, lockFile)
	for _, path := range []string{file, filepath.Join(file, "below")} {
		if _, err := openDataDir(path); err == nil || !strings.Contains(err.Error(), "--data tells another one") {
			t.Errorf("%s: got %v", path, err)
		}
	}
}

func TestListenersExplainWhatIsInTheWay(t *testing.T) {
	taken, err := listenTCP("--http", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := taken.Close(); err != nil {
			t.Error(err)
		}
	})
	free := "127.0.0.1:0"
	if _, err := listen(NodeConfig{HTTP: free, GRPC: taken.Addr().String()}); err == nil || !strings.Contains(err.Error(), "--grpc "+taken.Addr().String()+" is in use, perhaps by another slotd") {
		t.Errorf("got %v", err)
	}
	path := filepath.Join(t.TempDir(), "s.sock")
	l, err := listen(NodeConfig{HTTP: free, Unix: path})
	if err != nil {
		t.Fatal(err)
	}
	if got := l.addresses(); got.unix != path || strings.HasSuffix(got.http, ":0") || got.grpc != "" {
		t.Errorf("got %+v", got)
	}
	if info, err := os.Stat(path); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("got %v, %v", info, err)
	}
	if _, err := listen(NodeConfig{Unix: path}); err == nil || !strings.Contains(err.Error(), "is in use") {
		t.Errorf("got %v", err)
	}
	unix, ok := l.unix.(*net.UnixListener)
	if !ok {
		t.Fatalf("got %T", l.unix)
	}
	unix.SetUnlinkOnClose(false) // as after kill -9
	if err := l.close(); err != nil {
		t.Fatal(err)
	}
	l, err = listen(NodeConfig{Unix: path})
	if err != nil {
		t.Fatalf("a socket that a dead process left: %v", err)
	}
	if err := l.close(); err != nil {
		t.Error(err)
	}
	if err := os.WriteFile(path, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := listen(NodeConfig{Unix: path}); err == nil || !strings.Contains(err.Error(), "is not a socket") {
		t.Errorf("got %v", err)
	}
}
