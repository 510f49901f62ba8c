package logs

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/hashicorp/go-hclog"

	slotdv1 "slotd/messages/slotd/v1"
)

// say lets a task of that number print so many lines of 100 bytes; over ends it.
func (h *house) say(n, lines int, over bool) string {
	h.t.Helper()
	id := fmt.Sprintf("tsk_%026d", n)
	h.logs.Record(&slotdv1.RunRecord{TaskId: id, Attempt: 1, StartedAt: 1})
	w := h.logs.Writer(id, 1, stdout)
	for range lines {
		if _, err := io.WriteString(w, strings.Repeat("x", 99)+"\n"); err != nil {
			h.t.Error(err)
		}
	}
	if err := w.Close(); err != nil {
		h.t.Error(err)
	}
	if over {
		h.logs.Record(&slotdv1.RunRecord{TaskId: id, Attempt: 1, StartedAt: 1, FinishedAt: 2})
		h.logs.Close(id)
	}
	return id
}

// onDisk measures everything.
func (h *house) onDisk() (bytes, segments int64) {
	h.t.Helper()
	entries, err := os.ReadDir(h.config.Dir)
	if err != nil {
		h.t.Fatal(err)
	}
	for _, e := range entries {
		b, s := folderSize(filepath.Join(h.config.Dir, e.Name()))
		bytes, segments = bytes+b, segments+s
	}
	return bytes, segments
}

// The accounts are those of the disk when nobody is at it, whatever has happened before: crashes, a sweep beside writers,
// deletions before and after it.
func TestTheAccountsAreExact(t *testing.T) {
	h := newHouse(t, func(c *Config) { c.TaskBytes, c.SegmentBytes = minTaskBytes, 20_000 })
	exact := func(when string) {
		t.Helper()
		bytes, segments := h.onDisk()
		if got := h.logs.Stats(); got.Bytes != bytes || got.Segments != segments {
			t.Errorf("%s: %d bytes in %d segments, the disk has %d in %d", when, got.Bytes, got.Segments, bytes, segments)
		}
	}
	for n := range 20 {
		h.say(n, 200, n%2 == 0)
	}
	exact("after the first life")
	h.crash()

	// Before the sweep, some of what is not counted yet goes, and some grows over its bound.
	h.logs.Remove(fmt.Sprintf("tsk_%026d", 3))
	h.logs.Remove(fmt.Sprintf("tsk_%026d", 4), fmt.Sprintf("tsk_%026d", 5))
	h.say(7, 5000, false)
	if got := h.logs.Stats(); got.Bytes < 0 || got.Segments < 0 {
		t.Errorf("%+v", got)
	}
	var writers sync.WaitGroup
	for n := range 4 {
		writers.Go(func() {
			for i := range 20 {
				h.say(9+n, 100, false)
				if i%5 == 0 {
					h.logs.Remove(h.say(100+n, 10, true))
				}
			}
		})
	}
	h.logs.Sweep(func(id string) Standing {
		if strings.HasSuffix(id, "06") {
			return Unknown
		}
		return Active
	})
	writers.Wait()
	h.logs.trim.group.Wait()
	exact("after the sweep")
	h.restart()
	h.logs.Sweep(func(string) Standing { return Terminal })
	h.logs.trim.group.Wait()
	exact("after a restart")
	for n := range 20 {
		h.logs.Remove(fmt.Sprintf("tsk_%026d", n))
	}
	exact("after everything was removed")
	if got := h.logs.Stats(); got != (Stats{}) {
		t.Errorf("left %+v", got)
	}
}

// What no task has made is left alone, reported once, and no hindrance.
func TestStrangersAreLeftAlone(t *testing.T) {
	h := newHouse(t)
	h.say(1, 1, true)
	h.say(2, 1, true)
	h.shutdown()
	strangers := []string{"lost+found", "tsk_01", "notes", "tsk_01j00000000000000000000000"}
	for _, name := range strangers {
		dir := filepath.Join(h.config.Dir, name)
		if err := os.Mkdir(dir, 0o700); err != nil {
			t.Fatal(err)
		}
		writeFile(t, filepath.Join(dir, segmentName(1)), []byte("precious"))
	}
	file := filepath.Join(h.config.Dir, fmt.Sprintf("tsk_%026d", 3))
	writeFile(t, file, []byte("precious"))

	var log strings.Builder
	l, err := Open(h.config, hclog.New(&hclog.LoggerOptions{Output: &log}))
	if err != nil {
		t.Fatal(err)
	}
	for range 2 {
		l.Sweep(func(string) Standing { return Unknown })
		l.trim.group.Wait()
	}
	for _, name := range strangers {
		if got := readFile(t, filepath.Join(h.config.Dir, name, segmentName(1))); string(got) != "precious" {
			t.Errorf("%s was touched", name)
		}
	}
	if got := readFile(t, file); string(got) != "precious" {
		t.Error("a file was touched")
	}
	entries, err := os.ReadDir(h.config.Dir)
	if err != nil || len(entries) != len(strangers)+1 {
		t.Errorf("left %v, %v: the orphans go", entries, err)
	}
	if got := l.Stats(); got != (Stats{}) {
		t.Errorf("left %+v", got)
	}
	if got := strings.Count(log.String(), "is left alone"); got != 1 || !strings.Contains(log.String(), "number=5 ") {
		t.Errorf("reported:\n%s", log.String())
	}
	if err := l.Shutdown(); err != nil {
		t.Error(err)
	}
	h.open()
}

// The oldest logs of terminal tasks make room also when there is none for the note of where they ended.
func TestOldLogsGoWhenTheDiskIsFull(t *testing.T) {
	h := newHouse(t, func(c *Config) { c.TotalBytes, c.TaskBytes, c.SegmentBytes = 400_000, 300_000, 300_000 })
	old := h.say(1, 1500, true)
	h.say(2, 500, false)
	disk := h.fill()
	h.logs.config.TotalBytes = 250_000
	h.logs.trimIfOver()
	h.logs.trim.group.Wait()
	bytes, segments := h.onDisk()
	if got := h.logs.Stats(); got.Bytes != bytes || got.Segments != segments || bytes > 150_000 {
		t.Errorf("%+v, the disk has %d bytes in %d segments", got, bytes, segments)
	}
	disk.healthy.Store(true)
	for range 2 {
		ended := &slotdv1.RunRecord{TaskId: old, Attempt: 1, StartedAt: 1, FinishedAt: 2}
		c, err := h.logs.Open(t.Context(), old, query(), &fakeTask{terminal: true, runs: []*slotdv1.RunRecord{ended}})
		if err != nil {
			t.Fatal(err)
		}
		// How far the attempt had come could not be noted: the runs tell it again.
		if got := short(drain(t, c)); got != "lagged 1502" && got != "lagged 1502, start 1, finish 1" {
			t.Errorf("got %.100q", got)
		}
		c.Close()
		h.restart()
	}
}

// A folder that is there and cannot be listed now has numbers in it that must not be given again.
func TestLinesWaitForTheNumbersOfEarlierLives(t *testing.T) {
	h := newHouse(t)
	h.begin(1)
	h.print(1, stdout, "a", "b")
	h.restart()
	dir := filepath.Join(h.config.Dir, taskID)
	if err := errors.Join(os.Rename(dir, dir+".away"), os.Symlink(dir, dir)); err != nil { // ELOOP
		t.Fatal(err)
	}
	h.print(1, stdout, "c", "d")
	if _, err := h.logs.Open(t.Context(), taskID, query(), h.task); !errors.Is(err, syscall.ELOOP) {
		t.Errorf("a reader gets %v", err)
	}
	if got := h.logs.Stats().Lost; got != 2 {
		t.Errorf("%d lines are lost", got)
	}
	if err := errors.Join(os.Remove(dir), os.Rename(dir+".away", dir)); err != nil {
		t.Fatal(err)
	}
	h.print(1, stdout, "e")
	h.end(1, 0)
	h.close()
	for range 2 {
		events := h.read(query())
		if got := short(events); got != "start 1, a, b, lagged 2, e, finish 1" {
			t.Errorf("got %q", got)
		}
		if e := events[4]; e.Seq != 2 {
			t.Errorf("%+v", e)
		}
		h.restart()
	}
}

// The id of a gap names its end also when a filter passes over what follows.
func TestAGapBeforeWhatIsNotWanted(t *testing.T) {
	h := newHouse(t)
	h.begin(1)
	long := strings.Repeat("x", 60_000) // a stretch each
	h.print(1, stdout, "a"+long, "b"+long, "c"+long)
	h.print(1, stderr, "d"+long, "e"+long)
	h.print(1, stdout, "f")
	path := segmentFiles(t, h)[0]
	data := readFile(t, path)
	clear(data[70_000:180_000])
	writeFile(t, path, data)
	events := h.read(query(stream(stdout)))
	var got []string
	for _, e := range events {
		got = append(got, e.String()[:min(8, len(e.String()))])
	}
	if want := "start 1 axxxxxxx lagged 2 f"; strings.Join(got, " ") != want {
		t.Fatalf("got %q, want %q", got, want)
	}
	if got := short(h.read(query(stream(stdout), after(events[2].ID)))); got != "f" {
		t.Errorf("after the gap: %q", got)
	}
}

// A folder that could not be deleted, for want of a descriptor say, is deleted as soon as it can be.
func TestFolderThatCouldNotBeDeletedIsTriedAgain(t *testing.T) {
	h := newHouse(t)
	h.begin(1)
	h.print(1, stdout, "a line")
	h.end(1, 0)
	h.close()
	h.logs.retryAfter = time.Millisecond
	var refusals atomic.Int64
	h.logs.removeAll = func(path string) error {
		if refusals.Add(1) < 4 {
			return syscall.EMFILE
		}
		return os.RemoveAll(path)
	}
	h.logs.Remove(taskID)
	ctx := deadline(t)
	for len(segmentFiles(t, h)) > 0 {
		if ctx.Err() != nil {
			t.Fatal("the folder is never deleted")
		}
		runtime.Gosched()
	}
	h.logs.mend.end()
	if got := h.logs.Stats(); refusals.Load() != 4 || got.Bytes != 0 || got.Segments != 0 {
		t.Errorf("%d attempts, %+v", refusals.Load(), got)
	}
}
