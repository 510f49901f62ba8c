package catalog_test

import (
	"fmt"
	"math/rand/v2"
	"runtime"
	"slices"
	"testing"

	"google.golang.org/protobuf/proto"

	"slotd/actors/catalog"
	"slotd/actors/store"
	"slotd/messages"
	slotdv1 "slotd/messages/slotd/v1"
	soltiv1 "slotd/messages/solti/v1"
)

// retained is what a store yields at recovery: n tasks in id order, every hundredth of them active in a slot of its own.
// Each is decoded from bytes, as a store on the disk does it, so nothing is shared; only the specs of those that have
// ended stay encoded.
func retained(tb testing.TB, n int) []store.Entry {
	tb.Helper()
	r := rand.New(rand.NewPCG(1, 2))
	entries := make([]store.Entry, n)
	for i := range entries {
		slot := fmt.Sprintf("build-%03d", r.IntN(200))
		rec := &slotdv1.TaskRecord{
			Id: benchID(i), Slot: slot, CreatedAt: int64(i), UpdatedAt: int64(i + r.IntN(1000)), ResourceVersion: 4,
			Attempt: 1, StartedAt: int64(i), Role: slotdv1.Role_ROLE_NONE, Phase: slotdv1.Phase_PHASE_FINISHED,
			Status: soltiv1.TaskStatus(3 + r.IntN(5)), Reason: "Completed", ExitCode: new(int32), Node: "local",
		}
		if i%100 == 0 {
			slot = fmt.Sprintf("own-%06d", i)
			rec.Slot, rec.Role, rec.Phase = slot, slotdv1.Role_ROLE_HOLDER, slotdv1.Phase_PHASE_RUNNING
			rec.Status = soltiv1.TaskStatus_TASK_STATUS_RUNNING
		}
		spec := &slotdv1.SpecRecord{TaskId: rec.Id, Spec: realistic(slot)}
		entries[i] = store.Entry{Task: decoded(tb, rec, &slotdv1.TaskRecord{})}
		if rec.Phase == slotdv1.Phase_PHASE_FINISHED {
			entries[i].Raw = encoded(tb, spec)
		} else {
			entries[i].Spec = decoded(tb, spec, &slotdv1.SpecRecord{})
		}
	}
	return entries
}

func decoded[M proto.Message](tb testing.TB, msg, into M) M {
	tb.Helper()
	if err := proto.Unmarshal(encoded(tb, msg), into); err != nil {
		tb.Fatal(err)
	}
	return into
}

func encoded(tb testing.TB, msg proto.Message) []byte {
	tb.Helper()
	data, err := proto.Marshal(msg)
	if err != nil {
		tb.Fatal(err)
	}
	return data
}

func realistic(slot string) *soltiv1.CreateSpec {
	spec := &soltiv1.CreateSpec{
		Slot: slot, TimeoutMs: 3_600_000, Labels: map[string]string{"team": "core", "app.kubernetes.io/name": "build"},
		Kind: &soltiv1.TaskKind{Kind: &soltiv1.TaskKind_Subprocess{Subprocess: &soltiv1.SubprocessTask{
			Mode: &soltiv1.SubprocessTask_Command{Command: &soltiv1.CommandMode{
				Command: "/usr/bin/make", Args: []string{"-C", "/srv/build/checkout", "all", "test"},
			}},
			Env: []*soltiv1.KeyValue{{Key: "BRANCH", Value: "main"}, {Key: "COMMIT", Value: "3c5e59a19d942bc437a70869602d76c58c94b1ff"}},
		}}},
	}
	messages.Defaults(spec)
	return spec
}

// BenchmarkFill takes what 100 000 retained tasks take at a start.
func BenchmarkFill(b *testing.B) {
	const tasks, chunk = 100_000, 1000
	entries := retained(b, tasks)
	runtime.GC()
	for b.Loop() {
		c := catalog.New(noRuns)
		for part := range slices.Chunk(entries, chunk) {
			c.Fill(part)
		}
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/tasks, "ns/task")
}

// BenchmarkFillBytes measures what all that costs in memory: records, specs and catalog.
func BenchmarkFillBytes(b *testing.B) {
	const tasks = 100_000
	var before, after runtime.MemStats
	for b.Loop() {
		measure(&before)
		c := catalog.New(noRuns)
		c.Fill(retained(b, tasks))
		measure(&after)
		runtime.KeepAlive(c)
		b.ReportMetric(float64(after.HeapAlloc-before.HeapAlloc)/tasks, "B/task")
	}
}

// BenchmarkRead reads tasks that have ended, with specs as they are in life. Who reads one first has it decoded.
func BenchmarkRead(b *testing.B) {
	const tasks = 100_000
	c := catalog.New(noRuns)
	c.Fill(retained(b, tasks))
	selector, err := messages.ParseSelector("team=nobody")
	if err != nil {
		b.Fatal(err)
	}
	b.Run("task", func(b *testing.B) {
		for i := 0; b.Loop(); i++ {
			if _, ok := c.Task(benchID(i % tasks)); !ok {
				b.Fatal("a task is not known")
			}
		}
	})
	b.Run("page of 100", func(b *testing.B) {
		for i := 0; b.Loop(); i++ {
			c.Tasks(messages.Query{Limit: 100, Offset: i * 100 % tasks})
		}
	})
	b.Run("selector over all", func(b *testing.B) {
		for b.Loop() {
			c.Tasks(messages.Query{Limit: 100, Selector: selector})
		}
	})
}
