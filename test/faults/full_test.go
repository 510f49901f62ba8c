package faults

import (
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"slotd/gateway/client"
	"slotd/messages"
	"slotd/test/need"
)

// On a full disk submissions are refused with the advice to come again, readiness says why, and attempts run on and end.
// When there is room again, everything is as if nothing had been.
func TestAFullDiskRefusesAndHeals(t *testing.T) {
	t.Parallel()
	w := newWorld(t, must(t, racedSlotd), seed)
	w.history.Excuse(string(messages.ReasonRunnerUnavailable)) // a script needs a file
	mountTmpfs(t, w.data(), 48<<20)
	l := w.start(plan{calm: true})
	l.await(t)
	load := w.load(3, 1)
	w.open(l)
	running := spec("running", load.label(), w.command(role{run: 4 * time.Second, lines: 8}))
	id := w.submit(l, running)
	eventually(t, "it runs", func() bool { return w.begun(id, 1) })

	l.unwell.Store(true)
	balloon := inflate(t, w.data())
	w.history.Note("", "the disk is full")
	eventually(t, "readiness tells of the disk", func() bool {
		status, body := w.readyz(l)
		return status == http.StatusServiceUnavailable && strings.Contains(body, "no space left")
	})
	eventually(t, "a submission is refused and told when to come again", func() bool {
		var refused *client.Error
		err := w.try(l, load.label())
		return errors.As(err, &refused) && refused.Label == messages.LabelUnavailable && refused.RetryAfter > 0
	})
	eventually(t, "the attempt has run to its end", func() bool { w.read(); return w.history.EndedItself(id, 1) })
	if err := os.Remove(balloon); err != nil {
		t.Fatal(err)
	}
	w.history.Note("", "the disk has room again")
	eventually(t, "it is ready again", func() bool { status, _ := w.readyz(l); return status == http.StatusOK })
	eventually(t, "a submission is admitted", func() bool { return w.try(l, load.label()) == nil })
	if reason := w.ended(l, id).GetStatus().GetReason(); reason != "Completed" {
		t.Errorf("the attempt of that time ended %s", reason)
	}
	pass(time.Second)
	load.end()
	if w.broken() {
		return
	}
	w.signal(l, syscall.SIGKILL) // what it had kept in memory is on the disk now
	w.finish(l)
	w.settle()
}

// mountTmpfs puts a file system of that size at dir, for as long as the test runs.
func mountTmpfs(t *testing.T, dir string, size int) {
	t.Helper()
	if err := os.MkdirAll(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	err := unix.Mount("tmpfs", dir, "tmpfs", 0, "mode=0700,size="+strconv.Itoa(size))
	need.That(t, !errors.Is(err, unix.EPERM) && !errors.Is(err, unix.EACCES), "the right to mount a tmpfs")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := unix.Unmount(dir, unix.MNT_DETACH); err != nil {
			t.Error(err)
		}
	})
}

// inflate writes a file until nothing more fits into the file system.
func inflate(t *testing.T, dir string) (path string) {
	t.Helper()
	path = filepath.Join(dir, "balloon")
	file, err := os.Create(path)
	if err != nil {
		t.Fatal(err)
	}
	for size := 1 << 20; size > 0; {
		if _, err := file.Write(make([]byte, size)); err != nil {
			if !errors.Is(err, unix.ENOSPC) {
				t.Fatal(err)
			}
			size /= 2
		}
	}
	if err := file.Close(); err != nil {
		t.Fatal(err)
	}
	return path
}

// try submits a task of a slot of its own.
func (w *world) try(l *life, label string) error {
	ctx, cancel := context.WithTimeout(w.t.Context(), requestLimit)
	defer cancel()
	s := w.history.Submitting(spec("try-"+label, label, w.command(role{})), "")
	id, err := l.client.Submit(ctx, s.Spec, "")
	var refused *client.Error
	switch {
	case err == nil:
		s.Answered(id)
	case errors.As(err, &refused) && refused.Label == messages.LabelUnavailable && !strings.Contains(refused.Message, "not known"):
		s.Refused(refused.Label)
	default:
		s.Lost(err.Error())
	}
	return err
}

// readyz asks whether the daemon is ready, and why not.
func (w *world) readyz(l *life) (status int, body string) {
	w.t.Helper()
	transport := &http.Transport{DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return new(net.Dialer).DialContext(ctx, "unix", l.socket)
	}}
	defer transport.CloseIdleConnections()
	request, err := http.NewRequestWithContext(w.t.Context(), http.MethodGet, "http://localhost/readyz", http.NoBody)
	if err != nil {
		w.t.Fatal(err)
	}
	response, err := transport.RoundTrip(request)
	if err != nil {
		return 0, err.Error()
	}
	text, err := io.ReadAll(response.Body)
	if err := errors.Join(err, response.Body.Close()); err != nil {
		return 0, err.Error()
	}
	return response.StatusCode, string(text)
}
