package logs

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// seed is printed with a failure, so that its run can be had again.
func seed(t *testing.T) *rand.Rand {
	t.Helper()
	n := uint64(time.Now().UnixNano())
	t.Cleanup(func() {
		if t.Failed() {
			t.Logf("seed %d", n)
		}
	})
	return rand.New(rand.NewPCG(n, n))
}

// account checks what one reader gets: the numbers in the ids go up by one, or by what a lagged event says.
type account struct {
	last    uint64
	lagged  uint64
	lines   map[string]uint64 // next sequence number by attempt and stream
	started map[uint32]int
	ended   map[uint32]int
}

func newAccount() *account {
	return &account{lines: map[string]uint64{}, started: map[uint32]int{}, ended: map[uint32]int{}}
}

func (a *account) take(e event) error {
	id, err := parseID(e.ID)
	if err != nil {
		return err
	}
	n := id.number
	fail := func(why string) error { return fmt.Errorf("%s: %s after %d, %+v", why, e.ID, a.last, e) }
	switch e.Event {
	case "lagged":
		if n-a.last != e.Skipped || e.Skipped == 0 {
			return fail("lagged by the wrong count")
		}
		a.lagged += e.Skipped
		clear(a.lines)
	case "run-started":
		a.started[e.Attempt]++
		if n == a.last { // announced in the midst of an attempt
			return nil
		}
	case "run-finished":
		a.ended[e.Attempt]++
	case "chunk":
		key := fmt.Sprint(e.Attempt, e.Stream)
		if seq, ok := a.lines[key]; ok && seq != e.Seq {
			return fail("sequence numbers")
		}
		a.lines[key] = e.Seq + 1
		if want := fmt.Sprintf("%d %s %d", e.Attempt, e.Stream, e.Seq); e.Line != want && !strings.HasPrefix(e.Line, want+" ") {
			return fail("wrong line")
		}
		if a.started[e.Attempt] != 1 || a.ended[e.Attempt] != 0 {
			return fail("chunk outside of its attempt")
		}
	}
	if e.Event != "lagged" && n != a.last+1 {
		return fail("gap or repeat")
	}
	a.last = n
	return nil
}

// Writers, readers that come, go, resume and dawdle, small segments and rings, dropped segments: every reader gets every
// event once and in order, or is told exactly how many are missing.
func TestNoGapAndNoRepeatUnderConcurrency(t *testing.T) {
	for _, size := range []struct {
		name            string
		task, segment   int64
		ring, perStream int
		mayLag          bool
	}{
		{"all kept", 64 << 20, 8 << 10, 4 << 10, 3000, false},
		{"segments are dropped", minTaskBytes, 16 << 10, 4 << 10, 6000, true},
		{"nothing rotates", 64 << 20, 8 << 20, 1 << 20, 3000, false},
	} {
		t.Run(size.name, func(t *testing.T) {
			random := seed(t)
			h := newHouse(t, func(c *Config) {
				c.TaskBytes, c.SegmentBytes, c.RingBytes, c.CacheBytes = size.task, size.segment, size.ring, 64<<10
			})
			const attempts = 3
			var readers sync.WaitGroup
			var lagged atomic.Uint64
			for i := range 12 {
				random := rand.New(rand.NewPCG(random.Uint64(), uint64(i)))
				readers.Go(func() {
					n, err := readAll(t.Context(), h, random)
					if err != nil {
						t.Errorf("reader %d: %v", i, err)
					}
					lagged.Add(n)
				})
			}
			for n := range uint32(attempts) {
				h.begin(n + 1)
				var writers sync.WaitGroup
				for name, s := range map[string]kind{"stdout": kindStdout, "stderr": kindStderr} {
					random := rand.New(rand.NewPCG(random.Uint64(), 0))
					writers.Go(func() {
						w := h.logs.Writer(taskID, n+1, s.stream())
						var text strings.Builder
						for i := range size.perStream {
							fmt.Fprintf(&text, "%d %s %d %s\n", n+1, name, i, strings.Repeat("x", random.IntN(80)))
							if random.IntN(20) == 0 || i == size.perStream-1 {
								if _, err := io.WriteString(w, text.String()); err != nil {
									t.Error(err)
								}
								text.Reset()
							}
						}
						if err := w.Close(); err != nil {
							t.Error(err)
						}
					})
				}
				writers.Wait()
				h.end(n+1, 0)
			}
			h.close()
			readers.Wait()
			if n := lagged.Load(); n > 0 && !size.mayLag {
				t.Errorf("%d events were missed though all are kept", n)
			}
			if got := h.logs.Stats(); got.Hubs != 0 || got.Subscribers != 0 {
				t.Errorf("left in memory: %+v", got)
			}
			total := newAccount()
			for _, e := range h.read(query()) {
				if err := total.take(e); err != nil {
					t.Fatal(err)
				}
			}
			if want := uint64(attempts * (2*size.perStream + 2)); total.last != want {
				t.Errorf("the replay ends with event %d, want %d", total.last, want)
			}
			if !size.mayLag && total.lagged != 0 || size.mayLag && total.lagged == 0 {
				t.Errorf("the replay misses %d events", total.lagged)
			}
		})
	}
}

// readAll reads a task from its first event to its end, leaving and resuming at random. It returns how many events it
// was told to have missed.
func readAll(ctx context.Context, h *house, random *rand.Rand) (uint64, error) {
	a := newAccount()
	q := query(follow)
	for {
		c, err := h.logs.Open(ctx, taskID, q, h.task)
		if errors.Is(err, io.EOF) {
			return a.lagged, nil
		}
		if err != nil {
			return 0, err
		}
		for range 1 + random.IntN(20) {
			b, err := c.Next(ctx)
			if errors.Is(err, io.EOF) {
				c.Close()
				for n := range uint32(3) {
					if a.lagged == 0 && (a.started[n+1] != 1 || a.ended[n+1] != 1) {
						return 0, fmt.Errorf("attempt %d began %d times and ended %d times", n+1, a.started[n+1], a.ended[n+1])
					}
				}
				return a.lagged, nil
			}
			if err != nil {
				c.Close()
				return 0, err
			}
			last := ""
			for _, e := range splitSSE(b.Data) {
				if err := a.take(e); err != nil {
					c.Close()
					return 0, err
				}
				last = e.ID
			}
			q.After = last
		}
		c.Close()
	}
}

// splitSSE is parseSSE for goroutines that are not the test's.
func splitSSE(data []byte) []event {
	var t collect
	return parseSSE(&t, data)
}

// collect turns what would fail a test into a panic, which ends it.
type collect struct{ testing.TB }

func (*collect) Helper() {}

func (*collect) Fatalf(format string, args ...any) { panic(fmt.Sprintf(format, args...)) }

// A reader that takes nothing holds nobody up, and goes on from the files afterwards.
func TestAStalledReaderHoldsNobodyUp(t *testing.T) {
	h := newHouse(t, func(c *Config) { c.RingBytes = 1 })
	h.begin(1)
	stalled, brisk := h.cursor(query(live)), h.cursor(query(live))
	want(t, stalled, "start 1")
	want(t, brisk, "start 1")
	for i := range 200 {
		line := strconv.Itoa(i)
		h.print(1, stdout, line)
		want(t, brisk, line)
	}
	h.end(1, 0)
	h.close()
	want(t, brisk, "finish 1")
	rest := drain(t, stalled)
	if len(rest) != 201 || rest[0].Line != "0" || rest[199].Line != "199" {
		t.Errorf("%d events, from %v", len(rest), rest[0])
	}
}

func TestALaggardIsToldWhatItMissed(t *testing.T) {
	h := newHouse(t, func(c *Config) { c.TaskBytes, c.SegmentBytes, c.RingBytes = minTaskBytes, 64<<10, 1 })
	h.begin(1)
	c := h.cursor(query(live))
	want(t, c, "start 1")
	const lines = 60
	for i := range lines {
		h.print(1, stdout, strconv.Itoa(i)+strings.Repeat("x", 9990))
	}
	h.end(1, 0)
	h.close()
	events := drain(t, c)
	if events[0].Event != "lagged" || int(events[0].Skipped)+len(events)-1 != lines+1 || events[0].Skipped < 20 {
		t.Fatalf("%d events after %v", len(events)-1, events[0])
	}
	if !strings.HasPrefix(events[1].Line, strconv.Itoa(int(events[0].Skipped))+"x") {
		t.Errorf("goes on with %.10s after %d", events[1].Line, events[0].Skipped)
	}
	// The replay begins with the same, and the run-started that was dropped with the lines.
	replay := h.read(query())
	if got := short(replay[:2]); got != fmt.Sprintf("lagged %d, start 1", events[0].Skipped+1) {
		t.Errorf("the replay begins with %s", got)
	}
	if got := h.read(query(tail(3))); got[0].Event != "run-started" || len(got) != 5 {
		t.Errorf("the tail is %s", short(got)[:80])
	}
	if got := h.read(query(since(5000))); got[0].Event != "lagged" {
		t.Errorf("since the first line begins with %v", got[0])
	}
	if got := h.read(query(since(5001))); len(got) != 0 {
		t.Errorf("since later than all has %d events", len(got))
	}
	if got := h.read(query(attempt(2))); len(got) != 0 {
		t.Errorf("another attempt has %d events", len(got))
	}
	for _, bytes := range []int64{fileSizes(t, h), h.logs.Stats().Bytes} {
		if bytes > minTaskBytes {
			t.Errorf("%d bytes are kept", bytes)
		}
	}
}

func fileSizes(t *testing.T, h *house) (bytes int64) {
	t.Helper()
	for _, path := range segmentFiles(t, h) {
		bytes += fileSize(t, path)
	}
	return bytes
}

func TestAWaitingReaderLeavesWithItsContext(t *testing.T) {
	h := newHouse(t)
	h.begin(1)
	c := h.cursor(query(live))
	want(t, c, "start 1")
	ctx, cancel := context.WithCancel(t.Context())
	failed := make(chan error, 1)
	go func() {
		_, err := c.Next(ctx)
		failed <- err
	}()
	cancel()
	if err := <-failed; !errors.Is(err, context.Canceled) {
		t.Fatal(err)
	}
	h.print(1, stdout, "still there")
	want(t, c, "still there")
	c.Close()
	c.Close()
	if _, err := c.Next(t.Context()); !errors.Is(err, io.EOF) {
		t.Errorf("after Close: %v", err)
	}
}

func TestShutdownEndsEverything(t *testing.T) {
	h := newHouse(t)
	h.begin(1)
	h.print(1, stdout, "a")
	c := h.cursor(query(live))
	want(t, c, "start 1")
	failed := make(chan error, 1)
	go func() {
		_, err := c.Next(deadline(t))
		failed <- err
	}()
	if err := h.logs.Shutdown(); err != nil {
		t.Fatal(err)
	}
	if err := <-failed; !errors.Is(err, io.EOF) {
		t.Fatal(err)
	}
	h.print(1, stdout, "late")
	h.logs.Record(h.task.runs[0])
	w := h.logs.Writer(taskID, 1, stderr)
	if _, err := io.WriteString(w, "later\n"); err != nil {
		t.Error(err)
	}
	if err := w.Close(); err != nil {
		t.Error(err)
	}
	if _, err := h.logs.Open(t.Context(), taskID, query(), h.task); !errors.Is(err, io.EOF) {
		t.Errorf("open: %v", err)
	}
	h.restart()
	if got := short(h.read(query())); got != "start 1, a, start 1" && got != "start 1, a" {
		t.Errorf("kept %q", got)
	}
}
