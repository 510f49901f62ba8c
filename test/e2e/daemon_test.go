package e2e

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"
)

// launch says how to start a daemon. The zero value listens on free ports and keeps its data in a new directory.
type launch struct {
	data  string   // data directory; made and removed when empty
	args  []string // further flags of serve
	env   []string // further variables of its environment
	noisy bool     // errors in its log are what the test is about
	mask  bool     // its umask is 0
}

// daemon is one running slotd serve.
type daemon struct {
	t     testing.TB
	http  string // host:port
	grpc  string
	data  string
	node  string
	log   *text // what it wrote to stderr
	noisy bool

	process *os.Process
	client  *http.Client
	over    chan struct{} // closed when it has ended
	code    int           // then its exit code
}

var nodes atomic.Int64

// serve starts a daemon and waits until it says that it is ready. At the end of the test it is stopped by SIGTERM, unless
// it has ended before, and whatever it should not leave behind fails the test.
func serve(t testing.TB, args ...string) *daemon {
	t.Helper()
	return launch{args: args}.serve(t)
}

func (l launch) serve(t testing.TB) *daemon {
	t.Helper()
	d, ready := l.start(t)
	if !ready {
		t.Fatalf("the daemon ended with exit code %d before it was ready:\n%s", d.code, d.log)
	}
	return d
}

// readyLine is the one line a daemon writes to stdout.
var readyLine = regexp.MustCompile(`^slotd ready http=(\S+) grpc=(\S+)(?: unix=\S+)? data=(\S+)\n$`)

// start starts a daemon and returns once it is ready or has ended.
func (l launch) start(t testing.TB) (d *daemon, ready bool) {
	t.Helper()
	d = &daemon{
		t: t, data: l.data, noisy: l.noisy,
		node:   fmt.Sprintf("e2e-%d-%d", os.Getpid(), nodes.Add(1)),
		log:    new(text),
		client: &http.Client{Transport: described.Transport(t, &http.Transport{MaxIdleConnsPerHost: 64})},
		over:   make(chan struct{}),
	}
	if d.data == "" {
		d.data = filepath.Join(t.TempDir(), "data")
	}
	args := append([]string{"serve", "--http", "127.0.0.1:0", "--grpc", "127.0.0.1:0", "--data", d.data, "--node", d.node}, l.args...)
	program := slotd
	if l.mask {
		program, args = "sh", append([]string{"-c", `umask 0; exec "$0" "$@"`, slotd}, args...)
	}
	cmd := exec.CommandContext(context.WithoutCancel(t.Context()), program, args...)
	cmd.Env = append(os.Environ(), append([]string{goRace()}, l.env...)...)
	cmd.Stderr = d.log
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	d.process = cmd.Process
	first, rest := make(chan string, 1), make(chan string, 1)
	go func() {
		r := bufio.NewReader(stdout)
		line, _ := r.ReadString('\n')
		first <- line
		more, _ := io.ReadAll(r)
		rest <- string(more)
		// The exit code is read from ProcessState below; Wait's error says the same.
		_ = cmd.Wait()
		d.code = cmd.ProcessState.ExitCode()
		close(d.over)
	}()
	t.Cleanup(func() { d.close(rest) })
	select {
	case line := <-first:
		if line == "" {
			<-d.over
			return d, false
		}
		m := readyLine.FindStringSubmatch(line)
		if m == nil {
			t.Fatalf("the line on stdout is %q", line)
		}
		d.http, d.grpc = m[1], m[2]
		return d, true
	case <-time.After(patience):
		t.Fatalf("the daemon is not ready after %v:\n%s", patience, d.log)
	}
	return nil, false
}

// close ends the daemon and checks what it leaves.
func (d *daemon) close(stdout <-chan string) {
	d.client.CloseIdleConnections()
	ended := false
	select {
	case <-d.over:
		ended = true
	default:
		if code := d.stop(syscall.SIGTERM); code != 0 {
			d.t.Errorf("the daemon ended with exit code %d, want 0", code)
		}
	}
	if more := <-stdout; more != "" {
		d.t.Errorf("the daemon wrote more than one line to stdout: %q", more)
	}
	log := d.log.String()
	if strings.Contains(log, "panic") || strings.Contains(log, "[ERROR]") && !d.noisy {
		d.t.Errorf("the daemon's log has an error")
	}
	if !ended {
		if left := ofNode(d.t, d.node); len(left) > 0 {
			d.t.Errorf("the daemon has left the processes %v", left)
		}
	}
	if d.t.Failed() {
		d.t.Logf("log of %s:\n%s", d.node, tailOf(log, 8<<10))
	}
}

func itoa(n int) string { return strconv.Itoa(n) }

func tailOf(s string, most int) string {
	if len(s) <= most {
		return s
	}
	return "…" + s[len(s)-most:]
}

func (d *daemon) signal(s syscall.Signal) {
	d.t.Helper()
	if err := d.process.Signal(s); err != nil {
		d.t.Fatalf("signal the daemon: %v", err)
	}
}

// stop sends a signal and returns the exit code, -1 when the signal itself ended the daemon.
func (d *daemon) stop(s syscall.Signal) int {
	d.t.Helper()
	d.signal(s)
	return d.await()
}

// await waits for the end of the daemon and returns its exit code.
func (d *daemon) await() int {
	d.t.Helper()
	select {
	case <-d.over:
	case <-time.After(2 * patience):
		d.t.Errorf("the daemon has not ended after %v:\n%s", 2*patience, tailOf(d.log.String(), 8<<10))
		if err := d.process.Signal(syscall.SIGABRT); err != nil {
			d.t.Errorf("abort the daemon: %v", err)
		}
		<-d.over
		d.t.Logf("goroutines:\n%s", tailOf(d.log.String(), 64<<10))
	}
	return d.code
}

// in is the same daemon for a subtest.
func (d *daemon) in(t testing.TB) *daemon {
	c := *d
	c.t = t
	return &c
}

// logged waits until the daemon's log has the text.
func (d *daemon) logged(what string) {
	d.t.Helper()
	eventually(d.t, fmt.Sprintf("the log says %q:\n%s", what, d.log), func() bool { return strings.Contains(d.log.String(), what) })
}
