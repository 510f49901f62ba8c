package faults

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"regexp"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"slotd/gateway/client"
)

// patience is how long anything that must happen may take on a loaded machine.
const patience = 60 * time.Second

// life is one process of the daemon.
type life struct {
	number  int
	plan    plan
	unwell  atomic.Bool // it has been told to stop, or its machine fails: it may answer that it is unavailable
	process *os.Process
	socket  string
	client  *client.Client
	log     *text            // what it wrote to stderr
	ready   chan struct{}    // closed when it has said that it is
	over    chan struct{}    // closed when it has ended
	ctx     context.Context  //nolint:containedctx // what is bound to a life ends with it
	state   *os.ProcessState // when it is over
}

var readyLine = regexp.MustCompile(`^slotd ready http=(\S+) grpc=(\S+) unix=(\S+) data=(\S+)\n$`)

// begin starts the binary; it does not wait for it. What it is told on its socket goes to no other process: numbers of
// ports come again, paths do not.
func begin(binary, socket string, p plan, args, env []string) (*life, error) {
	c, err := client.New(client.Config{Addr: "unix://" + socket})
	if err != nil {
		return nil, err
	}
	ctx, end := context.WithCancel(context.Background())
	l := &life{plan: p, socket: socket, client: c, log: new(text), ready: make(chan struct{}), over: make(chan struct{}), ctx: ctx}
	cmd := exec.CommandContext(context.WithoutCancel(ctx), binary, append([]string{"serve", "--http=127.0.0.1:0", "--grpc=127.0.0.1:0", "--unix", socket}, args...)...)
	cmd.Env = append(os.Environ(), append([]string{
		"GORACE=atexit_sleep_ms=0 log_path=" + raceLog,
		"SLOTD_FAILPOINTS=" + strings.Join(p.points, ","),
	}, env...)...)
	cmd.Stderr = l.log
	stdout, err := cmd.StdoutPipe()
	if err == nil {
		err = cmd.Start()
	}
	if err != nil {
		end()
		return nil, err
	}
	l.process = cmd.Process
	go func() {
		defer close(l.over)
		defer end()
		r := bufio.NewReader(stdout)
		if line, err := r.ReadString('\n'); err == nil && readyLine.MatchString(line) {
			close(l.ready)
		}
		if rest, err := io.ReadAll(r); len(rest) > 0 || err != nil {
			l.log.add(fmt.Sprintf("[ERROR] more on stdout: %q, %v\n", rest, err))
		}
		// How it ended is read from its state; Wait's error says the same.
		_ = cmd.Wait()
		l.state = cmd.ProcessState
		c.Close()
	}()
	return l, nil
}

// kill ends the process with SIGKILL. One that has ended already is no error.
func (l *life) kill() error { return l.signal(syscall.SIGKILL) }

func (l *life) signal(s os.Signal) error {
	if err := l.process.Signal(s); err != nil && !errors.Is(err, os.ErrProcessDone) {
		return fmt.Errorf("signal %v to the daemon: %w", s, err)
	}
	return nil
}

// obey kills the daemon when its plan says so. It returns when it is over, or too long not ready.
func (l *life) obey() error {
	if l.plan.calm {
		return nil
	}
	if !l.plan.early {
		select {
		case <-l.ready:
		case <-l.over:
			return nil
		case <-time.After(patience):
			return errors.Join(fmt.Errorf("it is not ready after %v:\n%s", patience, tailOf(l.log.String())), l.signal(syscall.SIGABRT))
		}
	}
	timer := time.NewTimer(l.plan.after)
	defer timer.Stop()
	select {
	case <-l.over:
		return nil
	case <-timer.C:
		return l.kill()
	}
}

// wasKilled says whether SIGKILL ended it.
func (l *life) wasKilled() bool {
	status, ok := l.state.Sys().(syscall.WaitStatus)
	return ok && status.Signaled() && status.Signal() == syscall.SIGKILL
}

// await waits until the daemon is ready.
func (l *life) await(t testing.TB) {
	t.Helper()
	select {
	case <-l.ready:
	case <-l.over:
		t.Fatalf("it ended (%v) before it was ready:\n%s", l.state, tailOf(l.log.String()))
	case <-time.After(patience):
		t.Fatalf("it is not ready after %v:\n%s", patience, tailOf(l.log.String()))
	}
}

// awaitEnd waits until the daemon has ended.
func (l *life) awaitEnd(t testing.TB) {
	t.Helper()
	select {
	case <-l.over:
	case <-time.After(patience):
		if err := l.signal(syscall.SIGABRT); err != nil {
			t.Error(err)
		}
		<-l.over
		t.Fatalf("it has not ended after %v:\n%s", patience, tailOf(l.log.String()))
	}
}

// complaint returns what its log says of errors; empty when there are none, or only those that its plan asks for.
func (l *life) complaint() string {
	var found []string
	for line := range strings.Lines(l.log.String()) {
		crashed := strings.HasPrefix(line, "panic:") || strings.HasPrefix(line, "fatal error:")
		if crashed || strings.Contains(line, "[ERROR]") && !l.plan.panics() && !l.unwell.Load() {
			found = append(found, line)
		}
	}
	return strings.Join(found, "")
}

// passed are the points at which the daemon has killed itself or an actor has panicked.
var passed = regexp.MustCompile(`fail-point ([^\s":]+)`)

func (l *life) passed() []string {
	var all []string
	for _, m := range passed.FindAllStringSubmatch(l.log.String(), -1) {
		all = append(all, m[1])
	}
	return all
}

// text is what a process writes, readable while it writes.
type text struct {
	mu  sync.Mutex
	all []byte
}

func (x *text) Write(p []byte) (int, error) {
	x.add(string(p))
	return len(p), nil
}

func (x *text) add(s string) {
	x.mu.Lock()
	defer x.mu.Unlock()
	x.all = append(x.all, s...)
}

func (x *text) String() string {
	x.mu.Lock()
	defer x.mu.Unlock()
	return string(x.all)
}

// tailOf is the end of a long text.
func tailOf(s string) string {
	const most = 12 << 10
	if len(s) <= most {
		return s
	}
	return "…" + s[len(s)-most:]
}

// within says whether the condition came to hold in time.
func within(limit time.Duration, holds func() bool) bool {
	deadline := time.NewTimer(limit)
	defer deadline.Stop()
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for !holds() {
		select {
		case <-deadline.C:
			return holds()
		case <-tick.C:
		}
	}
	return true
}

// eventually fails the test when the condition does not come to hold in time.
func eventually(t testing.TB, what string, holds func() bool) {
	t.Helper()
	if !within(patience, holds) {
		t.Fatalf("after %v still not: %s", patience, what)
	}
}
