package actors_test

import (
	"fmt"
	"runtime"
	"testing"
	"time"

	"slotd/actors"
	"slotd/actors/logs"
	"slotd/actors/runner"
	"slotd/actors/store"
	"slotd/actors/store/pebble"
	"slotd/messages"
	slotdv1 "slotd/messages/slotd/v1"
	soltiv1 "slotd/messages/solti/v1"
)

// BenchmarkRecovery starts a node over a store with 100 000 tasks, a hundredth of them active and in a slot of its own:
// it times the opening of the store, and all until the node is ready, and weighs what is in memory then.
func BenchmarkRecovery(b *testing.B) {
	const tasks = 100_000
	dir, output := b.TempDir(), b.TempDir()
	retain(b, dir, tasks)
	var opening, loading time.Duration
	var before, after runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&before)
	for b.Loop() {
		began := time.Now()
		disk, err := pebble.Open(pebble.Config{Dir: dir})
		if err != nil {
			b.Fatal(err)
		}
		opened := time.Now()
		kept, err := logs.Open(logs.Config{Dir: output}, nil)
		if err != nil {
			b.Fatal(err)
		}
		tree, err := actors.Start(actors.Config{Store: frozen{disk}, Logs: kept, Runners: []runner.Runner{instant{}}})
		if err == nil {
			err = tree.Recovered(b.Context())
		}
		if err != nil {
			b.Fatal(err)
		}
		opening, loading = opening+opened.Sub(began), loading+time.Since(opened)

		b.StopTimer()
		if got := tree.Catalog().Counts(); got.Terminal+got.Active != tasks {
			b.Fatalf("got %+v", got)
		}
		runtime.GC()
		runtime.ReadMemStats(&after)
		tree.Stop()
		if err := kept.Shutdown(); err != nil {
			b.Fatal(err)
		}
		if err := disk.Close(); err != nil {
			b.Fatal(err)
		}
		b.StartTimer()
	}
	b.ReportMetric(opening.Seconds()/float64(b.N)*1000, "open-ms")
	b.ReportMetric(loading.Seconds()/float64(b.N)*1000, "ready-ms")
	b.ReportMetric(float64(after.HeapAlloc-before.HeapAlloc)/tasks, "B/task")
}

// frozen is a store that takes nothing.
type frozen struct{ store.Store }

func (frozen) Commit(_ *store.Batch, done func(error)) { done(errDead) }

// retain fills a store as a node leaves it.
func retain(b *testing.B, dir string, tasks int) {
	b.Helper()
	disk, err := pebble.Open(pebble.Config{Dir: dir})
	if err != nil {
		b.Fatal(err)
	}
	minter := messages.NewMinter("")
	batch := new(store.Batch)
	for i := range tasks {
		at := time.Now().Add(-time.Hour).Add(time.Duration(i) * time.Millisecond)
		name := fmt.Sprintf("build-%03d", i%200)
		if i%100 == 0 {
			name = fmt.Sprintf("own-%06d", i)
		}
		spec := command(name, queue)
		spec.Labels = map[string]string{"team": "core", "app.kubernetes.io/name": "build"}
		shell := spec.GetKind().GetSubprocess()
		shell.GetCommand().Args = []string{"-C", "/srv/build/checkout", "all", "test"}
		shell.Env = []*soltiv1.KeyValue{{Key: "BRANCH", Value: "main"}, {Key: "COMMIT", Value: fmt.Sprintf("%040x", i)}}
		record := &slotdv1.TaskRecord{
			Id: minter.Mint(at, name), Slot: name, CreatedAt: at.UnixMilli(), UpdatedAt: at.UnixMilli(), ResourceVersion: 4,
			Role: slotdv1.Role_ROLE_NONE, Phase: slotdv1.Phase_PHASE_FINISHED, Attempt: 1, StartedAt: at.UnixMilli(),
			Status: soltiv1.TaskStatus_TASK_STATUS_SUCCEEDED, Reason: completed, ExitCode: new(int32), Node: "local",
		}
		run := &slotdv1.RunRecord{
			TaskId: record.Id, Attempt: 1, Status: record.Status, StartedAt: record.StartedAt, FinishedAt: record.UpdatedAt,
			Reason: record.Reason, ExitCode: record.ExitCode, Node: record.Node,
		}
		if i%100 == 0 {
			record.Role, record.Phase, record.Reason = slotdv1.Role_ROLE_HOLDER, slotdv1.Phase_PHASE_RUNNING, ""
			record.Status = soltiv1.TaskStatus_TASK_STATUS_RUNNING
			run.Status, run.Reason, run.ExitCode, run.FinishedAt = record.Status, "", nil, 0
		}
		batch.Tasks, batch.Runs = append(batch.Tasks, record), append(batch.Runs, run)
		batch.Specs = append(batch.Specs, &slotdv1.SpecRecord{TaskId: record.Id, Spec: spec})
		if i%1000 == 999 {
			disk.Commit(batch, func(err error) {
				if err != nil {
					b.Error(err)
				}
			})
			batch = new(store.Batch)
		}
	}
	if err := disk.Close(); err != nil {
		b.Fatal(err)
	}
}
