package pebble_test

import (
	"context"
	"fmt"
	"path/filepath"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	engine "github.com/cockroachdb/pebble/v2"
	"google.golang.org/protobuf/proto"

	"slotd/actors/store"
	"slotd/actors/store/pebble"
	slotdv1 "slotd/messages/slotd/v1"
	soltiv1 "slotd/messages/solti/v1"
)

// life is what one task without a retry commits: its admission with the first attempt, and its end.
func life(n int) [2]*store.Batch {
	id := fmt.Sprintf("tsk_01JD%022d", n)
	code := int32(0)
	now := time.Now().UnixMilli()
	spec := &soltiv1.CreateSpec{
		Slot: fmt.Sprintf("slot-%d", n%100), TimeoutMs: 60_000, Restart: soltiv1.RestartStrategy_RESTART_STRATEGY_NEVER,
		Admission: soltiv1.AdmissionStrategy_ADMISSION_STRATEGY_QUEUE, Labels: map[string]string{"team": "build"},
		Backoff: &soltiv1.BackoffStrategy{Jitter: soltiv1.JitterStrategy_JITTER_STRATEGY_FULL, FirstMs: 1000, MaxMs: 30_000, Factor: 2},
		Kind: &soltiv1.TaskKind{Kind: &soltiv1.TaskKind_Subprocess{Subprocess: &soltiv1.SubprocessTask{
			Mode: &soltiv1.SubprocessTask_Command{Command: &soltiv1.CommandMode{Command: "/usr/bin/make", Args: []string{"-C", "/srv/project", "all"}}},
		}}},
	}
	task := func(version uint64, phase slotdv1.Phase, status soltiv1.TaskStatus) *slotdv1.TaskRecord {
		return &slotdv1.TaskRecord{
			Id: id, Slot: spec.GetSlot(), CreatedAt: now, UpdatedAt: now, ResourceVersion: version, Role: slotdv1.Role_ROLE_HOLDER,
			Phase: phase, Attempt: 1, StartedAt: now, Status: status, Node: "node-1", ExitCode: &code,
		}
	}
	run := func(finished int64, status soltiv1.TaskStatus) *slotdv1.RunRecord {
		return &slotdv1.RunRecord{TaskId: id, Attempt: 1, Status: status, StartedAt: now, FinishedAt: finished, ExitCode: &code, Node: "node-1"}
	}
	return [2]*store.Batch{
		{
			Tasks: []*slotdv1.TaskRecord{task(1, slotdv1.Phase_PHASE_RUNNING, soltiv1.TaskStatus_TASK_STATUS_RUNNING)},
			Specs: []*slotdv1.SpecRecord{{TaskId: id, Spec: spec}},
			Runs:  []*slotdv1.RunRecord{run(0, soltiv1.TaskStatus_TASK_STATUS_RUNNING)},
		},
		{
			Tasks: []*slotdv1.TaskRecord{task(2, slotdv1.Phase_PHASE_FINISHED, soltiv1.TaskStatus_TASK_STATUS_SUCCEEDED)},
			Runs:  []*slotdv1.RunRecord{run(now, soltiv1.TaskStatus_TASK_STATUS_SUCCEEDED)},
		},
	}
}

// committers calls one n times in all, from so many goroutines that each wait for the answer.
func committers(b *testing.B, many int, one func(n int)) {
	var next atomic.Int64
	var group sync.WaitGroup
	b.ReportAllocs()
	b.ResetTimer()
	for range many {
		group.Go(func() {
			for n := next.Add(1); n <= int64(b.N); n = next.Add(1) {
				one(int(n))
			}
		})
	}
	group.Wait()
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "commits/s")
}

// BenchmarkCommit is a commit of three records: by committers that wait for each, and by one that never waits.
func BenchmarkCommit(b *testing.B) {
	batches := make([]*store.Batch, 4096)
	for n := range batches {
		batches[n] = life(n)[0]
	}
	for _, many := range []int{1, 64} {
		b.Run(fmt.Sprint(many), func(b *testing.B) {
			s := open(b, pebble.Config{})
			committers(b, many, func(n int) { commit(b, s, batches[n%len(batches)]) })
		})
	}
	b.Run("stream", func(b *testing.B) {
		s := open(b, pebble.Config{})
		var group sync.WaitGroup
		done := func(error) { group.Done() }
		b.ReportAllocs()
		group.Add(b.N)
		b.ResetTimer()
		for n := range b.N {
			s.Commit(batches[n%len(batches)], done)
		}
		group.Wait()
		b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "commits/s")
	})
}

// BenchmarkBareEngine is the floor of BenchmarkCommit: the same records, encoded beforehand, straight into the engine.
func BenchmarkBareEngine(b *testing.B) {
	values := make([][][2][]byte, 4096)
	for n := range values {
		all := life(n)[0]
		id := all.Tasks[0].GetId()
		for key, rec := range map[string]proto.Message{"t" + id: all.Tasks[0], "s" + id: all.Specs[0], "r" + id + "\x00\x00\x00\x00\x01": all.Runs[0]} {
			value, err := proto.Marshal(rec)
			if err != nil {
				b.Fatal(err)
			}
			values[n] = append(values[n], [2][]byte{[]byte(key), value})
		}
	}
	fill := func(b *testing.B, to *engine.Batch, n int) {
		for _, pair := range values[n%len(values)] {
			if err := to.Set(pair[0], pair[1], nil); err != nil {
				b.Fatal(err)
			}
		}
	}
	bare := func(b *testing.B) *engine.DB {
		db, err := engine.Open(filepath.Join(b.TempDir(), "store"), &engine.Options{Logger: silent{}})
		if err != nil {
			b.Fatal(err)
		}
		b.Cleanup(func() {
			if err := db.Close(); err != nil {
				b.Error(err)
			}
		})
		return db
	}
	for _, many := range []int{1, 64} {
		b.Run(fmt.Sprint(many), func(b *testing.B) {
			db := bare(b)
			committers(b, many, func(n int) {
				batch := db.NewBatch()
				fill(b, batch, n)
				if err := batch.Commit(engine.Sync); err != nil {
					b.Error(err)
				}
				if err := batch.Close(); err != nil {
					b.Error(err)
				}
			})
		})
	}
	b.Run("stream", func(b *testing.B) { // groups of 256, each durable before the next
		db := bare(b)
		b.ReportAllocs()
		b.ResetTimer()
		for n := 0; n < b.N; {
			batch := db.NewBatch()
			for end := min(n+256, b.N); n < end; n++ {
				fill(b, batch, n)
			}
			if err := batch.Commit(engine.Sync); err != nil {
				b.Fatal(err)
			}
			if err := batch.Close(); err != nil {
				b.Fatal(err)
			}
		}
		b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "commits/s")
	})
}

type silent struct{}

func (silent) Infof(string, ...any)  {}
func (silent) Errorf(string, ...any) {}

func (silent) Fatalf(format string, args ...any) { panic(fmt.Sprintf(format, args...)) }

// BenchmarkOpen is what a restart waits for: the store is verified, opened and loaded.
func BenchmarkOpen(b *testing.B) {
	for _, tasks := range []int{1_000, 100_000} {
		b.Run(fmt.Sprint(tasks), func(b *testing.B) {
			dir := filepath.Join(b.TempDir(), "store")
			s, err := pebble.Open(pebble.Config{Dir: dir})
			if err != nil {
				b.Fatal(err)
			}
			for n := range tasks {
				for _, batch := range life(n) {
					s.Commit(batch, func(err error) {
						if err != nil {
							b.Error(err)
						}
					})
				}
			}
			commit(b, s, &store.Batch{})
			if err := s.Close(); err != nil {
				b.Fatal(err)
			}
			var size int64
			var loading time.Duration
			for b.Loop() {
				s, err := pebble.Open(pebble.Config{Dir: dir})
				if err != nil {
					b.Fatal(err)
				}
				began, found := time.Now(), 0
				err = s.Load(context.Background(), func(store.Entry) error {
					found++
					return nil
				})
				if err != nil || found != tasks {
					b.Fatalf("Load finds %d tasks, %v, want %d", found, err, tasks)
				}
				loading += time.Since(began)
				size = s.Stats().Bytes
				if err := s.Close(); err != nil {
					b.Fatal(err)
				}
			}
			b.ReportMetric(float64(size)/float64(tasks), "bytes/task")
			b.ReportMetric(loading.Seconds()*1000/float64(b.N), "ms/load")
		})
	}
}
