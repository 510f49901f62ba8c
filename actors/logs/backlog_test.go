package logs

import (
	"errors"
	"fmt"
	"math/rand/v2"
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
	"golang.org/x/sys/unix"

	slotdv1 "slotd/messages/slotd/v1"
	"slotd/test/need"
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

// Writers, followers, failures and crashes at random: who reads is told of every event, or how many are missing.
func TestTheDiskComesAndGoes(t *testing.T) {
	seeds := seed(t)
	for range 100 {
		n := seeds.Uint64()
		t.Run(strconv.FormatUint(n, 10), func(t *testing.T) {
			random := rand.New(rand.NewPCG(n, 0))
			h := newHouse(t, func(c *Config) {
				c.SegmentBytes = []int64{200, 2000, 1 << 20}[random.IntN(3)]
				c.RingBytes = []int{1, 3000, 1 << 20}[random.IntN(3)]
				c.BacklogBytes = []int{1, 5000, 1 << 20}[random.IntN(3)]
			})
			disk := h.fill()
			disk.healthy.Store(true)
			number, attempt := uint64(0), uint32(0)
			seqs := map[streamOf]int{}
			for range 60 {
				switch what := random.IntN(12); {
				case attempt == 0 || what == 0:
					if attempt > 0 {
						h.end(attempt, 1)
						number++
					}
					attempt++
					h.begin(attempt)
					number++
				case what == 1:
					disk.healthy.Store(!disk.healthy.Load())
					disk.taken.Store(random.Int64N(100))
				case what == 2:
					h.mend()
				default:
					k := kindStdout + kind(random.IntN(2))
					key := streamOf{attempt, k.stream()}
					h.print(attempt, k.stream(), fmt.Sprintf("%d %s %d %s", attempt,
						map[kind]string{kindStdout: "stdout", kindStderr: "stderr"}[k], seqs[key], strings.Repeat("x", random.IntN(300))))
					seqs[key]++
					number++
				}
				if random.IntN(10) == 0 {
					h.verify(t, number)
				}
			}
			crashed := random.IntN(3) == 0
			switch {
			case crashed:
				h.mend()
				h.crash()
			default:
				disk.healthy.Store(true)
				h.mend()
				h.verify(t, number)
				h.restart()
			}
			h.logs.write = (*os.File).Write
			h.verify(t, number)
			h.end(attempt, 0)
			h.close()
			if got := h.read(query()); got[len(got)-1].Event != "run-finished" {
				t.Errorf("ends with %v", got[len(got)-1])
			}
			if got := h.logs.Stats(); got.Bytes != fileSizes(t, h) || got.Backlog != 0 || got.Failing != 0 {
				t.Errorf("%+v, on the disk %d bytes", got, fileSizes(t, h))
			}
		})
	}
}

// verify reads all and expects events up to that number to be there, or told of.
func (h *house) verify(t *testing.T, number uint64) {
	t.Helper()
	a := newAccount()
	for _, e := range h.read(query()) {
		if err := a.take(e); err != nil {
			t.Fatal(err)
		}
	}
	if a.last != number {
		t.Fatalf("the log ends with event %d, want %d", a.last, number)
	}
}

// Two tasks fill a real file system, which is then freed.
func TestARealDiskIsFull(t *testing.T) {
	dir := tmpfs(t, "2m")
	h := newHouse(t, func(c *Config) {
		c.Dir = filepath.Join(dir, "logs")
		c.SegmentBytes, c.RingBytes = 256<<10, 600_000
	})
	ballast := filepath.Join(dir, "ballast")
	writeFile(t, ballast, make([]byte, 1600<<10))
	names := []string{fmt.Sprintf("tsk_%026d", 1), fmt.Sprintf("tsk_%026d", 2)}
	const lines = 3000
	for n, id := range names {
		h.logs.Record(&slotdv1.RunRecord{TaskId: id, Attempt: 1, StartedAt: 1})
		w := h.logs.Writer(id, 1, stdout)
		for i := range lines {
			if _, err := fmt.Fprintf(w, "%d %d %s\n", n, i, strings.Repeat("x", 250)); err != nil {
				t.Fatal(err)
			}
		}
		if err := w.Close(); err != nil {
			t.Fatal(err)
		}
		if n == 0 { // the other goes on
			h.logs.Record(&slotdv1.RunRecord{TaskId: id, Attempt: 1, StartedAt: 1, FinishedAt: 2})
			h.logs.Close(id)
		}
	}
	got := h.logs.Stats()
	if got.Failing != 2 || !errors.Is(got.Problem, syscall.ENOSPC) || got.Lost == 0 {
		t.Fatalf("the disk is not full: %+v", got)
	}
	check := func(lost int64) {
		t.Helper()
		lagged := uint64(0)
		for n, id := range names {
			c, err := h.logs.Open(t.Context(), id, query(), &fakeTask{})
			if err != nil {
				t.Fatal(err)
			}
			next := uint64(0)
			for _, e := range drain(t, c) {
				switch e.Event {
				case "lagged":
					next += e.Skipped
					lagged += e.Skipped
				case "chunk":
					if e.Seq != next || !strings.HasPrefix(e.Line, fmt.Sprintf("%d %d ", n, next)) {
						t.Fatalf("task %d: %.40v where %d is due", n, e, next)
					}
					next++
				}
			}
			c.Close()
			if next != lines {
				t.Errorf("task %d ends with line %d", n, next)
			}
		}
		if int64(lagged) != lost {
			t.Errorf("readers are told of %d lines, lost are %d", lagged, lost)
		}
	}
	check(got.Lost)
	if err := os.Remove(ballast); err != nil {
		t.Fatal(err)
	}
	h.mend()
	after := h.logs.Stats() // the accounts
	if after.Failing != 0 || after.Lost != got.Lost || after.Backlog != 0 {
		t.Errorf("still %+v", after)
	}
	check(got.Lost)
	h.restart()
	check(got.Lost)
	h.logs.Sweep(func(string) Standing { return Active })
	h.logs.trim.group.Wait()
	if swept := h.logs.Stats(); swept.Bytes != after.Bytes || swept.Segments != after.Segments {
		t.Errorf("accounts %+v, then %+v", after, swept)
	}
}

// tmpfs returns a small file system of its own.
func tmpfs(t *testing.T, size string) string {
	t.Helper()
	dir := t.TempDir()
	err := unix.Mount("tmpfs", dir, "tmpfs", 0, "size="+size)
	need.That(t, err == nil, "the right to mount a tmpfs")
	t.Cleanup(func() {
		if err := unix.Unmount(dir, unix.MNT_DETACH); err != nil {
			t.Error(err)
		}
	})
	return dir
}
