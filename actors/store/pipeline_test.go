package store_test

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"google.golang.org/protobuf/proto"

	"slotd/actors/store"
	slotdv1 "slotd/messages/slotd/v1"
	soltiv1 "slotd/messages/solti/v1"
)

var errDisk = errors.New("no space left on device")

// disk is a store that moves only when told to: submit queues, step applies or fails the oldest batch.
type disk struct {
	queue   []pending
	mailbox []store.Committed
	applied []*store.Batch
	failing bool // until the queue is empty
	strict  bool // keeps the promise that a failure is not overtaken
}

type pending struct {
	batch *store.Batch
	done  func(error)
}

func (d *disk) commit(b *store.Batch, done func(error)) { d.queue = append(d.queue, pending{b, done}) }

func (d *disk) tell(c store.Committed) { d.mailbox = append(d.mailbox, c) }

func (d *disk) step(fail bool) {
	p := d.queue[0]
	d.queue = d.queue[1:]
	if fail || d.failing {
		d.failing = d.strict && len(d.queue) > 0
		p.done(errDisk)
		return
	}
	d.applied = append(d.applied, p.batch)
	p.done(nil)
}

// next returns the oldest word of the store, applying a batch first when there is none.
func (d *disk) next(fail bool) store.Committed {
	if len(d.mailbox) == 0 {
		d.step(fail)
	}
	c := d.mailbox[0]
	d.mailbox = d.mailbox[1:]
	return c
}

func newPipeline() (*store.Pipeline[string], *disk) {
	d := &disk{strict: true}
	return store.NewPipeline[string](d.commit, d.tell), d
}

func taskBatch(id string, version uint64) *store.Batch {
	return &store.Batch{Tasks: []*slotdv1.TaskRecord{{Id: id, ResourceVersion: version}}}
}

func settle(t *testing.T, p *store.Pipeline[string], c store.Committed, want ...string) {
	t.Helper()
	ready, failed := p.Settle(c)
	if failed != nil {
		t.Fatalf("Settle(%d) failed %v, want it durable", c.Seq, failed)
	}
	if !slices.Equal(ready, want) {
		t.Fatalf("Settle(%d) = %q, want %q", c.Seq, ready, want)
	}
}

func settleFailed(t *testing.T, p *store.Pipeline[string], c store.Committed) *store.Batch {
	t.Helper()
	ready, failed := p.Settle(c)
	if len(ready) != 0 || failed == nil {
		t.Fatalf("Settle(%d) = %q, %v, want a failed batch and no effects", c.Seq, ready, failed)
	}
	return failed
}

func TestEffectsWaitForTheirBatch(t *testing.T) {
	p, d := newPipeline()
	p.Commit(taskBatch("a", 1), []string{"start a"})
	p.Commit(taskBatch("b", 1), []string{"answer b"})
	settle(t, p, d.next(false), "start a")
	if p.Idle() {
		t.Error("Idle() with a batch in flight")
	}
	settle(t, p, d.next(false), "answer b")
	if !p.Idle() {
		t.Error("not Idle() after the last batch")
	}
}

func TestEffectsWithoutABatchWaitForWhatIsInFlight(t *testing.T) {
	p, d := newPipeline()
	if now := p.After([]string{"refuse"}); !slices.Equal(now, []string{"refuse"}) {
		t.Errorf("After with nothing in flight = %q, want it at once", now)
	}
	p.Commit(taskBatch("a", 1), nil)
	p.Commit(taskBatch("b", 1), []string{"start b"})
	if now := p.After([]string{"refuse: b holds"}); now != nil {
		t.Errorf("After with b in flight = %q, want nothing yet", now)
	}
	settle(t, p, d.next(false))
	settle(t, p, d.next(false), "start b", "refuse: b holds")
}

func TestAfterDoesNotWriteIntoTheCallersSlice(t *testing.T) {
	p, _ := newPipeline()
	effects := []string{"one", "two"}
	p.Commit(taskBatch("a", 1), effects[:1])
	p.After([]string{"three"})
	if effects[1] != "two" {
		t.Errorf("effects = %q, want the second untouched", effects)
	}
}

func TestFailedAdmissionIsDropped(t *testing.T) {
	p, d := newPipeline()
	p.Commit(taskBatch("a", 1), []string{"accept a"})
	p.After([]string{"refuse b: a holds"})
	c := d.next(true)
	if failed := settleFailed(t, p, c); failed.Tasks[0].GetId() != "a" {
		t.Errorf("failed = %v, want a's batch", failed)
	}
	p.Commit(taskBatch("c", 1), []string{"accept c"})
	if len(d.queue) != 0 {
		t.Error("a batch was sent past a failed one that is undecided")
	}
	dropped, ready := p.Drop(c)
	if want := []string{"accept a", "refuse b: a holds"}; !slices.Equal(dropped, want) || ready != nil {
		t.Errorf("Drop = %q, %q, want %q and nothing ready", dropped, ready, want)
	}
	if p.Blocked() {
		t.Error("Blocked() after the only failure was dropped")
	}
	settle(t, p, d.next(false), "accept c")
}

func TestRetryCommitsEverythingFromTheFailedBatchOnAsOne(t *testing.T) {
	p, d := newPipeline()
	p.Commit(taskBatch("a", 2), []string{"free"})
	p.Commit(taskBatch("a", 3), []string{"publish"})
	settleFailed(t, p, d.next(true))
	p.Commit(taskBatch("b", 1), []string{"start b"})
	p.Retry() // the second batch is still with the store
	if len(d.queue) != 1 {
		t.Fatalf("%d batches queued, want only the second", len(d.queue))
	}
	settleFailed(t, p, d.next(false))
	p.Retry()
	if len(d.queue) != 1 {
		t.Fatalf("%d batches queued, want the folded one", len(d.queue))
	}
	want := []*slotdv1.TaskRecord{{Id: "a", ResourceVersion: 3}, {Id: "b", ResourceVersion: 1}}
	if got := d.queue[0].batch.Tasks; !equalRecords(got, want) {
		t.Errorf("folded tasks = %v, want %v", got, want)
	}
	settle(t, p, d.next(false), "free", "publish", "start b")
	if p.Blocked() || !p.Idle() {
		t.Errorf("Blocked() = %v, Idle() = %v, want an idle pipeline", p.Blocked(), p.Idle())
	}
}

func TestRetryWaitsForDropWhenLaterBatchesFail(t *testing.T) {
	p, d := newPipeline()
	p.Commit(taskBatch("a", 2), []string{"free"})
	p.Commit(taskBatch("b", 1), []string{"accept b"})
	settleFailed(t, p, d.next(true))
	p.Retry()
	c := d.next(true)
	settleFailed(t, p, c)
	if len(d.queue) != 0 {
		t.Error("the failed admission was committed again before its owner could refuse it")
	}
	if dropped, ready := p.Drop(c); !slices.Equal(dropped, []string{"accept b"}) || ready != nil {
		t.Errorf("Drop = %q, %q, want b's answer alone", dropped, ready)
	}
	settle(t, p, d.next(false), "free")
}

func TestRepeatedFailureKeepsEverything(t *testing.T) {
	p, d := newPipeline()
	p.Commit(taskBatch("a", 2), []string{"one"})
	for range 5 {
		settleFailed(t, p, d.next(true))
		p.Commit(taskBatch("a", 3), []string{"more"})
		p.Retry()
	}
	settle(t, p, d.next(false), "one", "more", "more", "more", "more", "more")
}

func TestWordsOfAnotherPipelineChangeNothing(t *testing.T) {
	old, d := newPipeline()
	old.Commit(taskBatch("a", 1), []string{"old"})
	stale := d.next(false)

	p, d := newPipeline()
	p.Commit(taskBatch("a", 1), []string{"new"})
	settle(t, p, stale)
	if dropped, ready := p.Drop(stale); dropped != nil || ready != nil {
		t.Errorf("Drop(stale) = %q, %q, want nothing", dropped, ready)
	}
	settle(t, p, d.next(false), "new")
}

func TestSettleOutOfOrderPanics(t *testing.T) {
	p, d := newPipeline()
	p.Commit(taskBatch("a", 1), nil)
	c := d.next(false)
	settle(t, p, c)
	defer func() {
		if recover() == nil {
			t.Error("the same word settled twice")
		}
	}()
	p.Settle(c)
}

func TestSteadyCommitsDoNotAllocate(t *testing.T) {
	var done func(error)
	var word store.Committed
	p := store.NewPipeline[string](func(_ *store.Batch, d func(error)) { done = d }, func(c store.Committed) { word = c })
	batch, then := taskBatch("a", 1), []string{"start"}
	got := testing.AllocsPerRun(1000, func() {
		p.Commit(batch, then)
		done(nil)
		p.Settle(word)
	})
	if got != 0 {
		t.Errorf("%v allocations per commit, want 0", got)
	}
}

// outcome is what batches leave when they are applied in order.
func outcome(batches []*store.Batch) map[string]string {
	left := map[string]string{}
	for _, b := range batches {
		for _, rec := range b.Tasks {
			left["task "+rec.GetId()] = fmt.Sprint(rec.GetResourceVersion())
		}
		for _, spec := range b.Specs {
			left["spec "+spec.GetTaskId()] = spec.GetSpec().GetSlot()
		}
		for _, run := range b.Runs {
			left[fmt.Sprintf("run %s %d", run.GetTaskId(), run.GetAttempt())] = run.GetReason()
		}
		for _, key := range b.Keys {
			left["key "+key.GetSlot()+" "+key.GetKey()] = fmt.Sprint(key.GetExpiresAt())
		}
		for _, id := range b.Deletes {
			for name := range left {
				if name == "task "+id || name == "spec "+id || strings.HasPrefix(name, "run "+id+" ") {
					delete(left, name)
				}
			}
		}
		for _, key := range b.Expired {
			delete(left, "key "+key.GetSlot()+" "+key.GetKey())
		}
	}
	return left
}

func equalRecords(got, want []*slotdv1.TaskRecord) bool {
	return slices.EqualFunc(got, want, func(a, b *slotdv1.TaskRecord) bool { return proto.Equal(a, b) })
}

func TestRetryLeavesWhatTheBatchesWouldHaveLeft(t *testing.T) {
	task := func(id string, version uint64) *slotdv1.TaskRecord {
		return &slotdv1.TaskRecord{Id: id, ResourceVersion: version}
	}
	spec := func(id, slot string) *slotdv1.SpecRecord {
		return &slotdv1.SpecRecord{TaskId: id, Spec: &soltiv1.CreateSpec{Slot: slot}}
	}
	run := func(id string, attempt uint32, reason string) *slotdv1.RunRecord {
		return &slotdv1.RunRecord{TaskId: id, Attempt: attempt, Reason: reason}
	}
	key := func(name string, expires int64) *slotdv1.KeyRecord {
		return &slotdv1.KeyRecord{Slot: "s", Key: name, ExpiresAt: expires}
	}
	type (
		tasks = []*slotdv1.TaskRecord
		specs = []*slotdv1.SpecRecord
		runs  = []*slotdv1.RunRecord
		keys  = []*slotdv1.KeyRecord
	)
	for name, batches := range map[string][]*store.Batch{
		"newest record of each task": {
			{Tasks: tasks{task("a", 1), task("b", 1)}},
			{Tasks: tasks{task("a", 2)}},
			{Tasks: tasks{task("b", 2), task("a", 3)}},
		},
		"newest record of each run": {
			{Runs: runs{run("a", 1, ""), run("b", 1, "")}},
			{Runs: runs{run("a", 1, "Completed"), run("a", 2, "")}},
		},
		"task put, then deleted": {
			{Tasks: tasks{task("a", 1)}, Specs: specs{spec("a", "s")}, Runs: runs{run("a", 1, "")}},
			{Deletes: []string{"a", "older"}},
			{Deletes: []string{"a"}},
		},
		"key put, then expired": {
			{Keys: keys{key("k", 1)}},
			{Expired: keys{key("k", 1)}},
		},
		"key expired, then put again": {
			{Expired: keys{key("k", 1), key("other", 1)}},
			{Keys: keys{key("k", 2)}},
		},
		"key put again and expired again": {
			{Expired: keys{key("k", 1)}},
			{Keys: keys{key("k", 2)}},
			{Expired: keys{key("k", 2)}},
		},
		"key put and expired in one batch": {
			{Keys: keys{key("k", 1)}},
			{Keys: keys{key("k", 2)}, Expired: keys{key("k", 2)}},
		},
		"barriers": {{}, {Tasks: tasks{task("a", 1)}}, {}},
	} {
		t.Run(name, func(t *testing.T) {
			p, d := newPipeline()
			var effects []string
			for i, b := range batches {
				effects = append(effects, fmt.Sprint(i))
				p.Commit(b, effects[i:])
			}
			for range batches {
				settleFailed(t, p, d.next(true))
			}
			p.Retry()
			settle(t, p, d.next(false), effects...)
			before := &store.Batch{
				Tasks: tasks{task("older", 7)},
				Keys:  keys{key("k", 0), key("other", 0)},
			}
			want := outcome(append([]*store.Batch{before}, batches...))
			got := outcome(append([]*store.Batch{before}, d.applied...))
			if diff := cmp.Diff(want, got); diff != "" {
				t.Errorf("folded batch leaves (-want +got):\n%s", diff)
			}
			if len(d.applied) != 1 {
				t.Errorf("%d batches applied, want one", len(d.applied))
			}
		})
	}
}
