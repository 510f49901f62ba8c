package verify_test

import (
	"errors"
	"fmt"
	"path/filepath"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"

	"slotd/actors/store"
	"slotd/actors/store/pebble"
	"slotd/actors/store/pebble/verify"
	slotdv1 "slotd/messages/slotd/v1"
	soltiv1 "slotd/messages/solti/v1"
)

// BenchmarkCheck verifies a store of 100 000 terminal tasks, each with its spec and one run.
func BenchmarkCheck(b *testing.B) {
	const tasks = 100_000
	dir := filepath.Join(b.TempDir(), "store")
	s, err := pebble.Open(pebble.Config{Dir: dir})
	if err != nil {
		b.Fatal(err)
	}
	failed := make(chan error, tasks)
	for n := range tasks {
		id := fmt.Sprintf("tsk_01KJVKTD2TXZ7S4BCW%08d", n)
		s.Commit(&store.Batch{
			Tasks: []*slotdv1.TaskRecord{{Id: id, Slot: "a-slot", CreatedAt: 1700000000000, UpdatedAt: 1700000000001, ResourceVersion: 5, Attempt: 1, Reason: "Completed"}},
			Specs: []*slotdv1.SpecRecord{{TaskId: id, Spec: &soltiv1.CreateSpec{Slot: "a-slot", TimeoutMs: 1000, Labels: map[string]string{"app": fmt.Sprint(n)}}}},
			Runs:  []*slotdv1.RunRecord{{TaskId: id, Attempt: 1, StartedAt: 1700000000000, FinishedAt: 1700000000001, Reason: "Completed"}},
		}, func(err error) { failed <- err })
	}
	var all []error
	for range tasks {
		all = append(all, <-failed)
	}
	if err := errors.Join(append(all, s.Close())...); err != nil {
		b.Fatal(err)
	}
	var report *verify.Report
	for b.Loop() {
		if report, err = verify.Check(vfs.Default, dir); err != nil {
			b.Fatal(err)
		}
	}
	b.SetBytes(report.Bytes())
	b.ReportMetric(float64(report.Entries), "entries")
}
