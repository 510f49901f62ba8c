package logs

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/hashicorp/go-hclog"

	slotdv1 "slotd/messages/slotd/v1"
)

func TestFilesThatVanishAreAGap(t *testing.T) {
	h := newHouse(t, func(c *Config) { c.SegmentBytes = 1 })
	h.begin(1)
	h.print(1, stdout, "a", "b", "c", "d")
	c := h.cursor(query(follow))
	files := segmentFiles(t, h)
	if err := errors.Join(os.Remove(files[1]), os.Remove(files[2])); err != nil {
		t.Fatal(err)
	}
	want(t, c, "start 1, a, lagged 2, d")
	if got := short(h.read(query(tail(2)))); got != "start 1, a, lagged 2, d" {
		t.Errorf("tail: %q", got)
	}
	if err := os.RemoveAll(filepath.Dir(files[0])); err != nil {
		t.Fatal(err)
	}
	h.print(1, stdout, "e") // to a file that has no name any more, or to a new one
	want(t, c, "e")
	h.print(1, stdout, "f")
	h.end(1, 0)
	h.close()
	want(t, c, "f, finish 1")
}

func TestRemoveWhileItIsReadAndWritten(t *testing.T) {
	h := newHouse(t)
	h.begin(1)
	h.print(1, stdout, "a")
	reading, waiting := h.cursor(query(follow)), h.cursor(query(live))
	want(t, waiting, "start 1")
	failed := make(chan error, 1)
	go func() {
		_, err := waiting.Next(deadline(t))
		failed <- err
	}()
	h.logs.Remove(taskID)
	if err := <-failed; !errors.Is(err, io.EOF) {
		t.Fatal(err)
	}
	if got := drain(t, reading); len(got) != 0 {
		t.Errorf("after the end: %v", got)
	}
	h.print(1, stdout, "late")
	h.hangUp()
	reading.Close()
	waiting.Close()
	if entries, err := os.ReadDir(h.config.Dir); err != nil || len(entries) != 0 {
		t.Errorf("left %v, %v", entries, err)
	}
	if got := h.logs.Stats(); got != (Stats{}) {
		t.Errorf("left %+v", got)
	}
	h.logs.Remove(taskID)
	h.logs.Remove("tsk_unknown")
	h.logs.Close("tsk_unknown")
}

// Whoever is far behind when a log is removed is at its end: nothing is told of lines that went with their task.
func TestRemovalLeavesNoGap(t *testing.T) {
	h := newHouse(t, func(c *Config) { c.RingBytes, c.SegmentBytes = 4096, 256 })
	h.begin(1)
	near, behind := h.cursor(query(live)), h.cursor(query(follow))
	want(t, near, "start 1")
	for i := range 60 {
		line := fmt.Sprintf("line %d of many", i)
		h.print(1, stdout, line)
		want(t, near, line)
	}
	h.logs.mu.Lock()
	kept := len(h.logs.hubs[taskID].ring.blocks)
	h.logs.mu.Unlock()
	if kept == 0 {
		t.Fatal("memory keeps nothing, so nobody is near")
	}
	h.logs.Remove(taskID)
	for _, e := range drain(t, behind) {
		if e.Event == "lagged" {
			t.Errorf("it is told %v", e)
		}
	}
}

func TestSeveralAreRemovedInTheBackground(t *testing.T) {
	h := newHouse(t)
	var all []string
	for i := range 5 {
		id := fmt.Sprintf("tsk_%026d", i)
		all = append(all, id)
		w := h.logs.Writer(id, 1, stdout)
		if _, err := io.WriteString(w, "hello\n"); err != nil {
			t.Fatal(err)
		}
		if err := w.Close(); err != nil {
			t.Fatal(err)
		}
	}
	h.logs.Remove(append(all, "tsk_unknown")...)
	h.logs.trim.group.Wait()
	if entries, err := os.ReadDir(h.config.Dir); err != nil || len(entries) != 0 {
		t.Errorf("left %v, %v", entries, err)
	}
	if got := h.logs.Stats(); got != (Stats{}) {
		t.Errorf("left %+v", got)
	}
}

func TestOpenFilesAreBounded(t *testing.T) {
	h := newHouse(t, func(c *Config) { c.OpenFiles = 8 })
	fds := func() int {
		entries, err := os.ReadDir("/proc/self/fd")
		if err != nil {
			t.Fatal(err)
		}
		return len(entries)
	}
	before := fds()
	writers := map[string]*Writer{}
	for i := range 50 {
		id := fmt.Sprintf("tsk_%026d", i)
		h.logs.Record(&slotdv1.RunRecord{TaskId: id, Attempt: 1, StartedAt: 1})
		writers[id] = h.logs.Writer(id, 1, stdout)
	}
	for n := range 3 {
		for id, w := range writers {
			if _, err := fmt.Fprintf(w, "%s %d\n", id, n); err != nil {
				t.Fatal(err)
			}
		}
	}
	if got := fds() - before; got > 8 {
		t.Errorf("%d files are open", got)
	}
	for id, w := range writers {
		if err := w.Close(); err != nil {
			t.Error(err)
		}
		h.logs.Close(id)
		c, err := h.logs.Open(t.Context(), id, query(), &fakeTask{
			terminal: true, runs: []*slotdv1.RunRecord{{TaskId: id, Attempt: 1, StartedAt: 1, FinishedAt: 2}},
		})
		if err != nil {
			t.Fatal(err)
		}
		expected := fmt.Sprintf("start 1, %s 0, %s 1, %s 2, finish 1", id, id, id)
		if got := short(drain(t, c)); got != expected {
			t.Errorf("got %q", got)
		}
		c.Close()
	}
	if got := fds() - before; got != 0 {
		t.Errorf("%d files are left open", got)
	}
	if got := h.logs.Stats(); got.Hubs != 0 || got.Segments != 50 {
		t.Errorf("left %+v", got)
	}
}

// The oldest terminal tasks give way first, then the oldest segments of those that run.
func TestAllLogsTogetherAreBounded(t *testing.T) {
	h := newHouse(t, func(c *Config) { c.TotalBytes, c.TaskBytes, c.SegmentBytes = 1<<20, 1<<20, 64<<10 })
	tasks := map[string]*fakeTask{}
	write := func(id string, size int) {
		w := h.logs.Writer(id, 1, stdout)
		for range size / 10_000 {
			if _, err := io.WriteString(w, strings.Repeat("x", 9_999)+"\n"); err != nil {
				t.Fatal(err)
			}
		}
		if err := w.Close(); err != nil {
			t.Fatal(err)
		}
	}
	var names []string
	for i := range 5 {
		id := fmt.Sprintf("tsk_%026d", i)
		names = append(names, id)
		run := &slotdv1.RunRecord{TaskId: id, Attempt: 1, StartedAt: 1}
		tasks[id] = &fakeTask{runs: []*slotdv1.RunRecord{run}}
		h.logs.Record(run)
		write(id, 200_000)
		if i == 1 || i == 3 {
			ended := &slotdv1.RunRecord{TaskId: id, Attempt: 1, StartedAt: 1, FinishedAt: 2}
			h.logs.Record(ended)
			h.logs.Close(id)
			tasks[id].terminal, tasks[id].runs = true, []*slotdv1.RunRecord{ended}
		}
	}
	sizes := func() (all []int64) {
		for _, id := range names {
			bytes, _ := folderSize(filepath.Join(h.config.Dir, id))
			all = append(all, bytes/1000)
		}
		return all
	}
	settle := func() {
		h.logs.trim.group.Wait()
		var sum int64
		for _, n := range sizes() {
			sum += n * 1000
		}
		const apart = 64 << 10 // what was written or deleted while the disk was measured
		if got := h.logs.Stats().Bytes; got > 1<<20+apart || got < sum-apart || got > sum+apart {
			t.Errorf("the account says %d, the disk %d", got, sum)
		}
	}
	settle()
	write(names[4], 100_000)
	settle()
	if got := sizes(); got[1] != 0 || got[3] < 200 || got[0] < 200 {
		t.Fatalf("kB %v: the oldest terminal task goes first", got)
	}
	// What was dropped is told, and nothing is made up.
	read := func(id string) string {
		c, err := h.logs.Open(t.Context(), id, query(), tasks[id])
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		return short(drain(t, c))
	}
	for range 2 {
		if got := read(names[1]); got != "lagged 22" {
			t.Errorf("dropped: %.60q", got)
		}
		write(names[4], 400_000)
		settle()
	}
	if got := sizes(); got[3] != 0 || got[4] > 700 || got[0] == 0 || got[2] == 0 {
		t.Errorf("kB %v: then the biggest of those that run", got)
	}
	if got := read(names[4]); !strings.HasPrefix(got, "lagged ") {
		t.Errorf("the biggest begins with %.30q", got)
	}
}

func TestSweepAccountsForEarlierLivesAndDeletesOrphans(t *testing.T) {
	h := newHouse(t)
	names := []string{"tsk_00000000000000000000000010", "tsk_00000000000000000000000011", "tsk_00000000000000000000000012"}
	for _, id := range names {
		h.logs.Record(&slotdv1.RunRecord{TaskId: id, Attempt: 1, StartedAt: 1})
		w := h.logs.Writer(id, 1, stdout)
		if _, err := io.WriteString(w, "hello\n"); err != nil {
			t.Fatal(err)
		}
		if err := w.Close(); err != nil {
			t.Fatal(err)
		}
	}
	before := h.logs.Stats()
	h.restart()
	if got := h.logs.Stats(); got != (Stats{}) {
		t.Errorf("a new life begins with %+v", got)
	}
	h.logs.Sweep(func(id string) Standing {
		return map[string]Standing{names[0]: Active, names[1]: Terminal}[id]
	})
	h.logs.trim.group.Wait()
	if got := h.logs.Stats(); got.Bytes != before.Bytes/3*2 || got.Segments != 2 || got.Hubs != 0 {
		t.Errorf("account %+v, before %+v", got, before)
	}
	entries, err := os.ReadDir(h.config.Dir)
	if err != nil || len(entries) != 2 || entries[0].Name() != names[0] {
		t.Errorf("left %v, %v", entries, err)
	}
}

func TestConfig(t *testing.T) {
	for _, c := range []Config{
		{},
		{Dir: "x", TaskBytes: minTaskBytes - 1},
		{Dir: "x", TaskBytes: 1 << 20, TotalBytes: 1<<20 - 1},
		{Dir: "x", TaskBytes: 1 << 20, SegmentBytes: 1<<20 + 1},
		{Dir: "x", RingBytes: -1},
		{Dir: "x", CacheBytes: -1},
		{Dir: "x", OpenFiles: -1},
	} {
		if err := c.Validate(); err == nil {
			t.Errorf("%+v is taken", c)
		}
		if _, err := Open(c, hclog.NewNullLogger()); err == nil {
			t.Errorf("%+v is opened", c)
		}
	}
	if err := (Config{Dir: "x"}).Validate(); err != nil {
		t.Error(err)
	}
	file := filepath.Join(t.TempDir(), "file")
	writeFile(t, file, nil)
	if _, err := Open(Config{Dir: filepath.Join(file, "logs")}, hclog.NewNullLogger()); err == nil {
		t.Error("a file is taken for a folder")
	}
}

// Many readers at the same place of a file read and encode it once.
func TestStretchesAreShared(t *testing.T) {
	reads := 0
	c := newCache(10 * blockOverhead)
	s := &segment{}
	load := func(offset int64, blocks int) []*block {
		t.Helper()
		got, err := c.load(stretchKey{s, offset}, func() ([]*block, error) {
			reads++
			return slices.Repeat([]*block{{}}, blocks), nil
		})
		if err != nil {
			t.Fatal(err)
		}
		return got
	}
	if a, b := load(1, 3), load(1, 3); reads != 1 || &a[0] != &b[0] {
		t.Errorf("read %d times", reads)
	}
	load(2, 3)
	load(1, 3)
	load(3, 5) // no room for all: 2 was used last before 1
	load(1, 3)
	if reads != 3 {
		t.Errorf("read %d times, want 3", reads)
	}
	load(2, 3)
	if reads != 4 || c.used > c.limit {
		t.Errorf("read %d times, %d bytes of %d", reads, c.used, c.limit)
	}
	if _, err := c.load(stretchKey{s, 9}, func() ([]*block, error) { return nil, io.ErrUnexpectedEOF }); err == nil {
		t.Error("no error")
	}
	load(9, 1)
	s.marks = []mark{{offset: 1}, {offset: 2}, {offset: 3}, {offset: 9}}
	c.forget(s)
	if c.used != 0 || c.recent.Len() != 0 || len(c.byKey) != 0 {
		t.Errorf("left %d bytes, %d stretches", c.used, c.recent.Len())
	}
}
