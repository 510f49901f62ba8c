package logs

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	slotdv1 "slotd/messages/slotd/v1"
	"slotd/test/need"
)

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
