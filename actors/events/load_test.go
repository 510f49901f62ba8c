package events_test

import (
	"errors"
	"fmt"
	"io"
	"runtime"
	"strings"
	"sync"
	"testing"

	"slotd/actors/catalog"
	"slotd/actors/events"
	"slotd/actors/store"
	"slotd/messages"
	slotdv1 "slotd/messages/slotd/v1"
	soltiv1 "slotd/messages/solti/v1"
)

// Readers on goroutines of their own see consecutive numbers, with gaps that account for what is missing, and find in
// the catalog what they were told.
func TestReadersBesideThePublisher(t *testing.T) {
	w := newWorld(t, events.NewSmall(256, 1<<20, 64))
	var readers sync.WaitGroup
	for range 4 {
		c := w.open(messages.EventQuery{})
		readers.Go(func() {
			next := uint64(1)
			for {
				batch, err := c.Next(t.Context())
				if errors.Is(err, io.EOF) {
					break
				}
				if err != nil {
					t.Error(err)
					return
				}
				for _, e := range batch {
					if gap := e.GetGap(); gap != nil {
						next += gap.GetSkipped()
						if e.GetId() != w.hub.ID(next-1) {
							t.Errorf("after a gap: got %s, want %s", e.GetId(), w.hub.ID(next-1))
						}
						continue
					}
					if e.GetId() != w.hub.ID(next) {
						t.Errorf("got %s, want %s", e.GetId(), w.hub.ID(next))
						return
					}
					next++
					if told := e.GetTask(); told != nil {
						task, ok := w.catalog.Task(told.GetTaskId())
						if ok == told.GetDeleted() && ok || ok && task.GetMetadata().GetResourceVersion() < told.GetResourceVersion() {
							t.Errorf("told of %v, the catalog has %v", told, task)
						}
					}
				}
			}
			if want := w.hub.Stats().Published + 1; next != want {
				t.Errorf("the reader ends before %d, want %d", next, want)
			}
		})
	}
	for n := range 3000 {
		id := numbered(n)
		w.admit(id, fmt.Sprintf("s%d", n%7), holder, nil)
		w.change(id, begins)
		w.apply(&store.Batch{Tasks: []*slotdv1.TaskRecord{w.next(id, ends)}, Deletes: []string{id}})
	}
	w.hub.Close()
	readers.Wait()
}

// However long the labels are, and however much readers look at, memory is bounded by what is counted.
func TestMemoryIsBounded(t *testing.T) {
	heap := func() int {
		runtime.GC()
		runtime.GC() // what the first one found
		var m runtime.MemStats
		runtime.ReadMemStats(&m)
		return int(m.HeapAlloc)
	}
	for name, tt := range map[string]struct {
		labels, length int
		kept           int // at least
	}{
		"no labels":   {0, 0, events.KeepEvents},
		"a few":       {3, 20, events.KeepEvents},
		"huge labels": {200, 60, 1000},
	} {
		t.Run(name, func(t *testing.T) {
			before := heap()
			w := newWorld(t, events.New())
			c := w.open(messages.EventQuery{})
			read := 0
			for n := range events.KeepEvents / 2 {
				id := numbered(n)
				var labels map[string]string
				if tt.labels > 0 {
					labels = make(map[string]string, tt.labels)
				}
				for i := range tt.labels {
					labels[fmt.Sprintf("key-%d", i)] = strings.Repeat("v", tt.length)
				}
				w.apply(&store.Batch{
					Tasks: []*slotdv1.TaskRecord{newTask(id, "s", slotdv1.Role_ROLE_NONE)},
					Specs: []*slotdv1.SpecRecord{{TaskId: id, Spec: &soltiv1.CreateSpec{Labels: labels}}},
				})
				w.hub.Publish(w.catalog.Apply(&store.Batch{Deletes: []string{id}}))
				if n%50 == 49 { // 200 events
					batch, err := c.Next(t.Context())
					if err != nil {
						t.Fatal(err)
					}
					read += len(batch)
				}
			}
			w.catalog = nil
			stats := w.hub.Stats()
			used := heap() - before
			t.Logf("%d events are kept, counted as %d MB, take %d MB", stats.Kept, stats.Bytes>>20, used>>20)
			if stats.Kept < tt.kept || stats.Kept > events.KeepEvents+events.ChunkEvents {
				t.Errorf("%d events are kept, want %d and not many more", stats.Kept, tt.kept)
			}
			if stats.Bytes > events.KeepBytes+events.KeepBytes/32 {
				t.Errorf("counted as %d bytes, want %d and not many more", stats.Bytes, events.KeepBytes)
			}
			if used > stats.Bytes+8<<20 {
				t.Errorf("%d bytes are in use, and only %d are counted", used, stats.Bytes)
			}
			if last := stats.Published - uint64(read); last > 256 {
				t.Errorf("%d events have not been read", last)
			}
			runtime.KeepAlive(w)
		})
	}
}

// BenchmarkPublish publishes what a task that ends at once has: three commits, with four changes of the task and of its
// slot in all; time per event.
func BenchmarkPublish(b *testing.B) {
	for _, readers := range []int{0, 1, 10, 100} {
		for _, query := range []struct {
			name  string
			query messages.EventQuery
		}{{"all", messages.EventQuery{}}, {"one-task", messages.EventQuery{Task: "tsk_unknown"}}} {
			if readers == 0 && query.query.Task != "" {
				continue
			}
			b.Run(fmt.Sprintf("%d-readers-of-%s", readers, query.name), func(b *testing.B) {
				w := newWorld(b, events.New())
				var reading sync.WaitGroup
				for range readers {
					c := w.open(query.query)
					reading.Go(func() {
						for {
							if _, err := c.Next(b.Context()); err != nil {
								return
							}
						}
					})
				}
				changes := changesOf(b)
				b.ReportAllocs()
				b.ResetTimer()
				n := 0
				for n < b.N {
					for _, c := range changes {
						w.hub.Publish(c)
						n += len(c.Tasks) + len(c.Slots)
					}
				}
				b.StopTimer()
				w.hub.Close()
				reading.Wait()
			})
		}
	}
}

// changesOf is what the commits of one task change.
func changesOf(b *testing.B) []catalog.Changes {
	b.Helper()
	w := newWorld(b, events.New())
	id := "tsk_01JBENCH000000000000000000"
	var all []catalog.Changes
	apply := func(batch *store.Batch) {
		c := w.catalog.Apply(batch)
		all = append(all, catalog.Changes{
			Tasks: append([]catalog.TaskChange(nil), c.Tasks...), Slots: append([]catalog.SlotChange(nil), c.Slots...),
		})
	}
	apply(&store.Batch{
		Tasks: []*slotdv1.TaskRecord{newTask(id, "bench", holder)},
		Specs: []*slotdv1.SpecRecord{{TaskId: id, Spec: &soltiv1.CreateSpec{Labels: map[string]string{"app": "web", "tier": "a"}}}},
	})
	apply(&store.Batch{Tasks: []*slotdv1.TaskRecord{w.next(id, begins)}})
	apply(&store.Batch{Tasks: []*slotdv1.TaskRecord{w.next(id, ends)}})
	return all
}
