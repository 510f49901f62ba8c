package logs

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/hashicorp/go-hclog"
)

// full lets every write fail like that of a full disk, after some bytes, until it is told otherwise.
type full struct {
	healthy atomic.Bool
	taken   atomic.Int64 // bytes of each write
	asked   atomic.Int64
}

func (f *full) write(file *os.File, p []byte) (int, error) {
	f.asked.Add(1)
	if f.healthy.Load() {
		return file.Write(p)
	}
	n, err := file.Write(p[:min(f.taken.Load(), int64(len(p)))])
	return n, errors.Join(err, syscall.ENOSPC)
}

// fill makes the disk full.
func (h *house) fill() *full {
	f := new(full)
	h.logs.write = f.write
	return f
}

// crash ends this life of the daemon without a word, and begins the next.
func (h *house) crash() {
	h.t.Helper()
	h.logs.trim.end()
	h.logs.mend.end()
	clear(h.writers)
	h.open()
}

// listen returns what the logs report.
func (h *house) listen() *strings.Builder {
	var text strings.Builder
	h.logs.logger = hclog.New(&hclog.LoggerOptions{Output: &text, Level: hclog.Info})
	return &text
}

// The folder of the task cannot be made because a file stands there: the disk refuses until it is gone.
func TestWhatTheDiskRefusesIsWrittenLater(t *testing.T) {
	h := newHouse(t)
	log := h.listen()
	block := filepath.Join(h.config.Dir, taskID)
	writeFile(t, block, nil)
	c := h.cursor(query(live))
	h.begin(1)
	want(t, c, "start 1")
	for i := range 5 {
		h.print(1, stdout, "line"+strconv.Itoa(i))
	}
	want(t, c, "line0, line1, line2, line3, line4")
	const all = "start 1, line0, line1, line2, line3, line4"
	events := h.read(query())
	if got := short(events); got != all {
		t.Errorf("those who come now get %q", got)
	}
	if got := short(h.read(query(tail(2)))); got != "start 1, line3, line4" {
		t.Errorf("tail: %q", got)
	}
	h.mend()
	if got := h.logs.Stats(); got.Failing != 1 || got.Problem == nil || got.Backlog == 0 || got.Bytes != 0 || got.Lost != 0 {
		t.Errorf("%+v", got)
	}
	if err := os.Remove(block); err != nil {
		t.Fatal(err)
	}
	h.print(1, stdout, "line5") // healed, but not tried before its time
	if files := segmentFiles(t, h); len(files) != 0 {
		t.Errorf("files %q", files)
	}
	h.mend()
	h.print(1, stdout, "line6")
	want(t, c, "line5, line6")
	if got := h.logs.Stats(); got.Failing != 0 || got.Problem != nil || got.Backlog != 0 || got.Bytes != fileSizes(t, h) || got.Segments != 1 {
		t.Errorf("%+v", got)
	}
	h.end(1, 0)
	h.close()
	want(t, c, "finish 1")
	c.Close()
	for range 2 {
		again := h.read(query())
		if got := short(again); got != all+", line5, line6, finish 1" {
			t.Errorf("later: %q", got)
		}
		if diff := cmp.Diff(rawFrames(events), rawFrames(again[:len(events)])); diff != "" {
			t.Errorf("not the same events:\n%s", diff)
		}
		h.restart()
	}
	if got := strings.Count(log.String(), "cannot write logs"); got != 1 || !strings.Contains(log.String(), "can be written again") {
		t.Errorf("reported:\n%s", log.String())
	}
}

// A full disk takes part of a frame. The part is cut off again, and the rest of the file stays good.
func TestAPartOfAFrameIsCutOff(t *testing.T) {
	h := newHouse(t)
	h.begin(1)
	h.print(1, stdout, "a")
	path := segmentFiles(t, h)[0]
	size := fileSize(t, path)
	disk := h.fill()
	disk.taken.Store(30)
	h.print(1, stdout, "b")
	h.mend()
	h.print(1, stdout, "c")
	if got := fileSize(t, path); got != size {
		t.Errorf("%d bytes, want %d", got, size)
	}
	for _, file := range segmentFiles(t, h)[1:] {
		if fileSize(t, file) != 0 {
			t.Errorf("part of a segment is left in %s", file)
		}
	}
	disk.healthy.Store(true)
	h.mend()
	h.print(1, stdout, "d")
	for range 2 {
		if got := short(h.read(query())); got != "start 1, a, b, c, d" {
			t.Errorf("got %q", got)
		}
		h.restart()
	}
}

// Also where not even that is possible.
func TestAPartOfAFrameThatCannotBeCutOff(t *testing.T) {
	h := newHouse(t)
	h.begin(1)
	h.print(1, stdout, "a")
	for _, part := range []int{1, 30, headerSize, headerSize + 1} {
		h.logs.write = func(f *os.File, p []byte) (int, error) {
			if _, err := f.Write(p[:part]); err != nil {
				t.Fatal(err)
			}
			return 0, syscall.EIO
		}
		h.print(1, stdout, "b"+strconv.Itoa(part))
		h.logs.write = (*os.File).Write
		h.mend()
	}
	h.restart()
	if got := short(h.read(query())); got != "start 1, a, b1, b30, b60, b61" {
		t.Errorf("got %q", got)
	}
}

// The task is over before the disk is better.
func TestATaskEndsWhileTheDiskRefuses(t *testing.T) {
	h := newHouse(t)
	disk := h.fill()
	h.begin(1)
	h.print(1, stdout, "a")
	h.end(1, 3)
	h.close()
	const all = "start 1, a, finish 1"
	if got := short(h.read(query())); got != all {
		t.Errorf("from memory: %q", got)
	}
	disk.healthy.Store(true)
	h.mend()
	if got := h.logs.Stats(); got.Hubs != 0 || got.Failing != 0 || got.Bytes != fileSizes(t, h) {
		t.Errorf("left %+v", got)
	}
	asked := h.task.asked
	h.task.runs = nil // the log alone knows
	for range 2 {
		if got := short(h.read(query())); got != all {
			t.Errorf("later: %q, having asked %d times", got, h.task.asked-asked)
		}
		h.restart()
	}
}

// What goes beyond the memory is told, with the count, wherever it is in the log.
func TestWhatMemoryHasNoRoomForIsCounted(t *testing.T) {
	for _, end := range []string{"healed", "healed, printed", "ended, healed", "crashed", "shut down", "stays"} {
		t.Run(end, func(t *testing.T) {
			h := newHouse(t, func(c *Config) { c.BacklogBytes = 20_000 })
			log := h.listen()
			h.begin(1)
			h.print(1, stdout, "first")
			disk := h.fill()
			c := h.cursor(query(follow))
			want(t, c, "start 1, first")
			const lines = 100
			for i := range lines {
				line := strconv.Itoa(i)
				h.print(1, stdout, line)
				want(t, c, line) // followers see everything
			}
			c.Close()
			h.print(1, stdout, strings.Repeat("too long ", 3000)) // nobody follows: there is no room for it
			lost := h.logs.Stats().Lost
			if lost < 50 || lost > lines || h.logs.Stats().Backlog > 20_000 {
				t.Fatalf("lost %d, %+v", lost, h.logs.Stats())
			}
			heal := func() {
				disk.healthy.Store(true)
				h.mend()
			}
			expected := []string{"finish 1"}
			switch end {
			case "healed":
				heal()
				h.crash()
			case "healed, printed":
				heal()
				h.print(1, stdout, "last")
				expected = []string{"last", "finish 1"}
			case "ended, healed":
			case "crashed":
				h.mend()
				h.crash()
			case "shut down":
				h.shutdown()
				if !strings.Contains(log.String(), fmt.Sprintf("could not be written: lines=%d ", lines+1)) {
					t.Errorf("reported:\n%s", log.String())
				}
				h.open()
			}
			h.end(1, 0)
			h.close()
			if end == "ended, healed" {
				heal()
			}
			replays := 2
			if end == "stays" {
				replays = 1
			}
			for range replays {
				a, got := newAccount(), h.read(query())
				for _, e := range got {
					if e.Event == "chunk" { // the account expects other lines
						e.Event = "line"
					}
					if err := a.take(e); err != nil {
						t.Fatal(err)
					}
				}
				kept := len(got) - 2 - len(expected)
				for i, e := range got[len(got)-len(expected):] {
					if e.String() != expected[i] {
						t.Fatalf("ends with %v", got[len(got)-len(expected):])
					}
				}
				chunks := uint64(0)
				for _, e := range got {
					if e.Event == "chunk" && e.Line != "last" && e.Line != "first" {
						chunks++
					}
				}
				if a.lagged+chunks != lines+1 || a.lagged == 0 || kept < 1 {
					t.Fatalf("%d lagged and %d lines are not %d: %s", a.lagged, chunks, lines+1, short(got))
				}
				h.restart()
			}
		})
	}
}

// Many tasks share what memory there is, and each keeps its newest lines.
func TestTheBacklogOfAllTasksIsBounded(t *testing.T) {
	const tasks, bound = 20, 200_000
	h := newHouse(t, func(c *Config) { c.BacklogBytes = bound })
	disk := h.fill()
	line := strings.Repeat("x", 1000)
	sent := 0
	for i := range 100 {
		for n := range tasks {
			w := h.logs.Writer(fmt.Sprintf("tsk_%026d", n), 1, stdout)
			if _, err := fmt.Fprintf(w, "%d %s\n", i, line); err != nil {
				t.Fatal(err)
			}
			sent++
			if err := w.Close(); err != nil {
				t.Fatal(err)
			}
		}
		if got := h.logs.Stats(); got.Backlog > bound+tasks*blockOverhead {
			t.Fatalf("%d bytes are kept of at most %d", got.Backlog, bound)
		}
	}
	if asked := disk.asked.Load(); asked != tasks {
		t.Errorf("the disk was asked %d times for %d tasks", asked, tasks)
	}
	lost := h.logs.Stats().Lost
	disk.healthy.Store(true)
	h.mend()
	if got := h.logs.Stats(); got.Backlog != 0 || got.Failing != 0 || got.Lost != lost {
		t.Errorf("left %+v", got)
	}
	lagged, kept := 0, 0
	for n := range tasks {
		c, err := h.logs.Open(t.Context(), fmt.Sprintf("tsk_%026d", n), query(), &fakeTask{})
		if err != nil {
			t.Fatal(err)
		}
		events := drain(t, c)
		c.Close()
		for _, e := range events {
			lagged += int(e.Skipped)
			if e.Event == "chunk" {
				kept++
			}
		}
		if last := events[len(events)-1]; !strings.HasPrefix(last.Line, "99 ") {
			t.Errorf("task %d ends with %.20v", n, last)
		}
	}
	if lagged != int(lost) || lagged+kept != sent || kept < 2*tasks {
		t.Errorf("sent %d, kept %d, %d lagged, %d lost", sent, kept, lagged, lost)
	}
}

// The mender does it all by itself, and asks the disk now and then, not for every line.
func TestTheMenderTriesNowAndThen(t *testing.T) {
	h := newHouse(t)
	h.logs.retryAfter = 10 * time.Millisecond
	disk := h.fill()
	began := time.Now()
	h.begin(1)
	for i := range 3000 {
		h.print(1, stdout, strconv.Itoa(i))
	}
	asked := disk.asked.Load()
	if most := 2 + int64(time.Since(began)/h.logs.retryAfter); asked > most {
		t.Errorf("the disk was asked %d times, want at most %d", asked, most)
	}
	disk.healthy.Store(true)
	h.logs.mend.group.Wait() // it ends when nothing is left to do
	h.restart()
	if got := h.read(query()); len(got) != 3001 || got[3000].Line != "2999" {
		t.Errorf("%d events", len(got))
	}
}
