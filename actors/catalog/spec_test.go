package catalog_test

import (
	"strings"
	"sync"
	"testing"

	"slotd/actors/catalog"
	"slotd/actors/store"
	"slotd/messages"
	slotdv1 "slotd/messages/slotd/v1"
	soltiv1 "slotd/messages/solti/v1"
)

// ended is a task that a store has loaded, with its spec as it was stored.
func ended(id string, raw store.RawSpec) store.Entry {
	return store.Entry{Raw: raw, Task: &slotdv1.TaskRecord{
		Id: id, Slot: "s", ResourceVersion: 1, Role: slotdv1.Role_ROLE_NONE, Phase: slotdv1.Phase_PHASE_FINISHED,
		Status: soltiv1.TaskStatus_TASK_STATUS_SUCCEEDED, Reason: "Completed",
	}}
}

func labelled(t *testing.T, text string) messages.Query {
	t.Helper()
	selector, err := messages.ParseSelector(text)
	if err != nil {
		t.Fatal(err)
	}
	return messages.Query{Selector: selector, Limit: 10}
}

func TestReadersOfAStoredSpecShareOne(t *testing.T) {
	want := &slotdv1.SpecRecord{TaskId: "tsk_1", Spec: &soltiv1.CreateSpec{Slot: "s", Labels: map[string]string{"team": "core"}}}
	for range 100 {
		c := catalog.New(noRuns)
		c.Fill([]store.Entry{ended("tsk_1", encoded(t, want))})
		query := labelled(t, "team=core")
		var readers sync.WaitGroup
		seen := make([]*soltiv1.CreateSpec, 8)
		for i := range seen {
			readers.Go(func() {
				if i%2 == 0 {
					task, _ := c.Task("tsk_1")
					seen[i] = task.GetSpec()
				} else if tasks, _ := c.Tasks(query); len(tasks) == 1 {
					seen[i] = tasks[0].GetSpec()
				}
			})
		}
		readers.Wait()
		equal(t, "spec", seen[0], want.GetSpec())
		for i := range seen {
			if seen[i] != seen[0] {
				t.Fatalf("reader %d sees %v, not the spec of the first", i, seen[i])
			}
		}
	}
}

func TestASpecThatCannotBeDecodedIsTold(t *testing.T) {
	c := catalog.New(noRuns)
	c.Fill([]store.Entry{
		ended("tsk_1", []byte("hello")),
		ended("tsk_2", encoded(t, &slotdv1.SpecRecord{TaskId: "tsk_2", Spec: &soltiv1.CreateSpec{Slot: "s"}})),
	})
	tasks, total := c.Tasks(messages.Query{Limit: 10})
	if total != 2 || len(tasks) != 2 {
		t.Fatalf("%d of %d tasks", len(tasks), total)
	}
	for range 2 { // it does not change
		task, ok := c.Task("tsk_1")
		if !ok || !strings.Contains(task.GetStatus().GetError(), "spec cannot be decoded") {
			t.Errorf("got %v, %v", task, ok)
		}
		equal(t, "spec", task.GetSpec(), &soltiv1.CreateSpec{Slot: "s"})
	}
	if tasks[1].GetStatus().Error != nil {
		t.Errorf("its neighbour: %v", tasks[1])
	}
	if tasks, _ := c.Tasks(labelled(t, "!team")); len(tasks) != 1 || tasks[0].GetMetadata().GetId() != "tsk_2" {
		t.Errorf("without the label: %v", tasks)
	}
}
