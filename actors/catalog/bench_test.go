package catalog_test

import (
	"fmt"
	"math/rand/v2"
	"runtime"
	"testing"
	"time"

	"github.com/HdrHistogram/hdrhistogram-go"

	"slotd/actors/catalog"
	"slotd/actors/store"
	"slotd/messages"
	slotdv1 "slotd/messages/slotd/v1"
	soltiv1 "slotd/messages/solti/v1"
)

// sizes are those that the time of a page must not depend on.
var sizes = []int{10_000, 1_000_000}

const benchSlots = 100

// benchID has the length of a real id.
func benchID(n int) string { return fmt.Sprintf("tsk_01JBENCH0000000000%08d", n) }

func benchSlot(n int) string { return fmt.Sprintf("slot-%03d", n%benchSlots) }

var benchSpec = &soltiv1.CreateSpec{Slot: "bench", Labels: map[string]string{"team": "core"}}

// populate applies n tasks one by one: a tenth waits in its slot's queue, the others have come to one of five ends.
func populate(n int) *catalog.Catalog {
	c := catalog.New(noRuns)
	for i := range n {
		rec := &slotdv1.TaskRecord{
			Id: benchID(i), Slot: benchSlot(i), CreatedAt: int64(i), UpdatedAt: int64(i), ResourceVersion: 1,
			Role: slotdv1.Role_ROLE_NONE, Phase: slotdv1.Phase_PHASE_FINISHED, Status: soltiv1.TaskStatus(3 + i/benchSlots%5),
		}
		if i%10 == 0 {
			rec.Role, rec.Phase, rec.Status = slotdv1.Role_ROLE_QUEUED, slotdv1.Phase_PHASE_READY, soltiv1.TaskStatus_TASK_STATUS_PENDING
		}
		c.Apply(&store.Batch{Tasks: []*slotdv1.TaskRecord{rec}, Specs: []*slotdv1.SpecRecord{{TaskId: rec.Id, Spec: benchSpec}}})
	}
	return c
}

// BenchmarkPage takes pages of 100 at random offsets; p99/p50 in microseconds are what a reader sees.
func BenchmarkPage(b *testing.B) {
	for _, n := range sizes {
		c := populate(n)
		runtime.GC()
		for _, bench := range []struct {
			name  string
			total int
			query func(r *rand.Rand) messages.Query
		}{
			{"all", n, func(*rand.Rand) messages.Query { return messages.Query{} }},
			{"slot", n / benchSlots, func(r *rand.Rand) messages.Query { return messages.Query{Slot: benchSlot(r.IntN(benchSlots))} }},
			{"status", n * 9 / 50, func(r *rand.Rand) messages.Query {
				return messages.Query{Status: soltiv1.TaskStatus(3 + r.IntN(5))}
			}},
			{"queued", n / 10, func(*rand.Rand) messages.Query {
				return messages.Query{Status: soltiv1.TaskStatus_TASK_STATUS_PENDING}
			}},
			{"newest", 1, func(*rand.Rand) messages.Query { return messages.Query{Newest: true} }},
			{"prefix", 1, func(r *rand.Rand) messages.Query { return messages.Query{IDPrefix: benchID(r.IntN(n))[:28]} }},
		} {
			b.Run(fmt.Sprintf("%s/%d", bench.name, n), func(b *testing.B) {
				r := rand.New(rand.NewPCG(1, 2))
				times := hdrhistogram.New(1, time.Second.Nanoseconds(), 3)
				for b.Loop() {
					q := bench.query(r)
					q.Limit, q.Offset = 100, r.IntN(max(1, bench.total-100))
					begun := time.Now()
					c.Tasks(q)
					if err := times.RecordValue(time.Since(begun).Nanoseconds()); err != nil {
						b.Fatal(err)
					}
				}
				b.ReportMetric(float64(times.ValueAtQuantile(50))/1000, "p50-µs")
				b.ReportMetric(float64(times.ValueAtQuantile(99))/1000, "p99-µs")
			})
		}
	}
}

func BenchmarkTask(b *testing.B) {
	for _, n := range sizes {
		c := populate(n)
		for name, step := range map[string]int{"ended": 1, "queued": 10} {
			b.Run(fmt.Sprintf("%s/%d", name, n), func(b *testing.B) {
				r := rand.New(rand.NewPCG(1, 2))
				for b.Loop() {
					if _, ok := c.Task(benchID(r.IntN(n/step) * step)); !ok {
						b.Fatal("a task is not known")
					}
				}
			})
		}
	}
}

// BenchmarkApplyLife takes one task through admission, start and end, in a slot of its own or in a long queue, with a
// million others kept.
func BenchmarkApplyLife(b *testing.B) {
	for _, bench := range []struct {
		name string
		slot func(n int) string
	}{
		{"own slot", func(n int) string { return fmt.Sprint("own-", n) }},
		{"queue of 100000", func(int) string { return "queue" }},
	} {
		b.Run(bench.name, func(b *testing.B) {
			c := populate(1_000_000)
			next := 1_000_000
			put := func(n int, version uint64, role slotdv1.Role, phase slotdv1.Phase, status soltiv1.TaskStatus) {
				c.Apply(&store.Batch{Tasks: []*slotdv1.TaskRecord{{
					Id: benchID(n), Slot: bench.slot(n), UpdatedAt: int64(n), ResourceVersion: version, Role: role, Phase: phase, Status: status,
				}}})
			}
			for ; next < 1_100_000; next++ {
				put(next, 1, slotdv1.Role_ROLE_QUEUED, slotdv1.Phase_PHASE_READY, soltiv1.TaskStatus_TASK_STATUS_PENDING)
			}
			runtime.GC()
			b.ResetTimer()
			for i := range b.N {
				old := next - 100_000
				put(next, 1, slotdv1.Role_ROLE_QUEUED, slotdv1.Phase_PHASE_READY, soltiv1.TaskStatus_TASK_STATUS_PENDING)
				put(old, 2, slotdv1.Role_ROLE_HOLDER, slotdv1.Phase_PHASE_RUNNING, soltiv1.TaskStatus_TASK_STATUS_RUNNING)
				put(old, 3, slotdv1.Role_ROLE_NONE, slotdv1.Phase_PHASE_FINISHED, soltiv1.TaskStatus_TASK_STATUS_SUCCEEDED)
				c.Apply(&store.Batch{Deletes: []string{benchID(i)}})
				next++
			}
			b.ReportMetric(4*float64(b.N)/b.Elapsed().Seconds(), "batches/s")
		})
	}
}

// BenchmarkBytes measures what a task costs, its record included, its spec not.
func BenchmarkBytes(b *testing.B) {
	const tasks = 1_000_000
	for _, bench := range []struct {
		name  string
		tasks int
		slot  func(n int) string
		role  slotdv1.Role
		phase slotdv1.Phase
	}{
		{"ended, 100 slots", tasks, benchSlot, slotdv1.Role_ROLE_NONE, slotdv1.Phase_PHASE_FINISHED},
		{"queued in one slot", 100_000, func(int) string { return "slot" }, slotdv1.Role_ROLE_QUEUED, slotdv1.Phase_PHASE_READY},
		{"holder of its own slot", 100_000, func(n int) string { return fmt.Sprint("slot-", n) }, slotdv1.Role_ROLE_HOLDER, slotdv1.Phase_PHASE_RUNNING},
	} {
		b.Run(bench.name, func(b *testing.B) {
			for b.Loop() {
				var before, records, after runtime.MemStats
				measure(&before)
				recs := make([]*slotdv1.TaskRecord, bench.tasks)
				for i := range recs {
					recs[i] = &slotdv1.TaskRecord{
						Id: benchID(i), Slot: bench.slot(i), ResourceVersion: 1, UpdatedAt: int64(i), Role: bench.role,
						Phase: bench.phase, Status: soltiv1.TaskStatus_TASK_STATUS_SUCCEEDED,
					}
				}
				measure(&records)
				c := catalog.New(noRuns)
				for _, rec := range recs {
					c.Apply(&store.Batch{Tasks: []*slotdv1.TaskRecord{rec}, Specs: []*slotdv1.SpecRecord{{TaskId: rec.Id, Spec: benchSpec}}})
				}
				measure(&after)
				runtime.KeepAlive(recs)
				runtime.KeepAlive(c)
				n := uint64(bench.tasks)
				b.ReportMetric(float64((records.HeapAlloc-before.HeapAlloc)/n-8), "record-B/task")
				b.ReportMetric(float64((after.HeapAlloc-records.HeapAlloc)/n), "catalog-B/task")
			}
		})
	}
}

func measure(m *runtime.MemStats) {
	runtime.GC()
	runtime.GC()
	runtime.ReadMemStats(m)
}
