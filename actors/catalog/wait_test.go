package catalog_test

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"slotd/actors/catalog"
	"slotd/actors/store"
	slotdv1 "slotd/messages/slotd/v1"
	soltiv1 "slotd/messages/solti/v1"
)

// answer is what Wait returned, and when.
type answer struct {
	task  *soltiv1.TaskData
	ok    bool
	after time.Duration
}

func wait(ctx context.Context, c *catalog.Catalog, id string, want catalog.Want) <-chan answer {
	answers := make(chan answer, 1)
	begun := time.Now()
	go func() {
		task, ok := c.Wait(ctx, id, want)
		answers <- answer{task, ok, time.Since(begun)}
	}()
	return answers
}

func TestWaitAnswersWhenItsWishHolds(t *testing.T) {
	retrying := func(rec *slotdv1.TaskRecord) {
		rec.Phase, rec.Status = slotdv1.Phase_PHASE_WAITING, soltiv1.TaskStatus_TASK_STATUS_FAILED
	}
	for name, tt := range map[string]struct {
		want    catalog.Want
		changes []func(*slotdv1.TaskRecord) // one a second
		after   time.Duration
		phase   soltiv1.TaskStatus
	}{
		"terminal": {
			catalog.WantTerminal,
			[]func(*slotdv1.TaskRecord){running, retrying, running, succeeded},
			4 * time.Second, soltiv1.TaskStatus_TASK_STATUS_SUCCEEDED,
		},
		"running": {
			catalog.WantRunning,
			[]func(*slotdv1.TaskRecord){func(*slotdv1.TaskRecord) {}, running, succeeded},
			2 * time.Second, soltiv1.TaskStatus_TASK_STATUS_RUNNING,
		},
		"running, but it ended before": {
			catalog.WantRunning,
			[]func(*slotdv1.TaskRecord){succeeded},
			time.Second, soltiv1.TaskStatus_TASK_STATUS_SUCCEEDED,
		},
		"not yet": {
			catalog.WantTerminal,
			[]func(*slotdv1.TaskRecord){running, retrying},
			time.Minute, soltiv1.TaskStatus_TASK_STATUS_FAILED,
		},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				c := filled(admitted("tsk_1", "s", slotdv1.Role_ROLE_HOLDER))
				ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
				defer cancel()
				answers := wait(ctx, c, "tsk_1", tt.want)
				for _, change := range tt.changes {
					time.Sleep(time.Second)
					c.Apply(changed(c, "tsk_1", change))
				}
				got := <-answers
				if !got.ok || got.after != tt.after || got.task.GetStatus().GetPhase() != tt.phase {
					t.Errorf("Wait = %v, %v after %v, want %v after %v", got.task, got.ok, got.after, tt.phase, tt.after)
				}
			})
		})
	}
}

func TestWaitAnswersAtOnceWhenThereIsNothingToWaitFor(t *testing.T) {
	c := filled(admitted("tsk_1", "s", slotdv1.Role_ROLE_HOLDER), admitted("tsk_2", "t", slotdv1.Role_ROLE_HOLDER))
	c.Apply(changed(c, "tsk_2", succeeded))
	if task, ok := c.Wait(t.Context(), "tsk_3", catalog.WantTerminal); task != nil || ok {
		t.Errorf("Wait for an unknown task = %v, %v", task, ok)
	}
	for _, want := range []catalog.Want{catalog.WantRunning, catalog.WantTerminal} {
		if task, ok := c.Wait(t.Context(), "tsk_2", want); !task.GetStatus().GetTerminal() || !ok {
			t.Errorf("Wait for a terminal task = %v, %v", task, ok)
		}
	}
	over, cancel := context.WithCancel(t.Context())
	cancel()
	if task, ok := c.Wait(over, "tsk_1", catalog.WantTerminal); task.GetStatus().GetTerminal() || !ok {
		t.Errorf("Wait without time = %v, %v, want the present state", task, ok)
	}
}

func TestWaitEndsWithTheTask(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := filled(admitted("tsk_1", "s", slotdv1.Role_ROLE_HOLDER))
		first := wait(t.Context(), c, "tsk_1", catalog.WantTerminal)
		synctest.Wait()
		c.Apply(&store.Batch{Deletes: []string{"tsk_1"}})
		if got := <-first; got.ok || got.task != nil {
			t.Errorf("Wait for a deleted task = %v, %v, want gone", got.task, got.ok)
		}
	})
}

// TestWaitSeesTheEndEvenWhenTheTaskIsPurgedAtOnce: one batch after another, before the waiter runs.
func TestWaitSeesTheEndEvenWhenTheTaskIsPurgedAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := filled(admitted("tsk_1", "s", slotdv1.Role_ROLE_HOLDER))
		answers := wait(t.Context(), c, "tsk_1", catalog.WantTerminal)
		synctest.Wait()
		c.Apply(changed(c, "tsk_1", succeeded))
		c.Apply(&store.Batch{Deletes: []string{"tsk_1"}})
		if got := <-answers; !got.ok || !got.task.GetStatus().GetTerminal() {
			t.Errorf("Wait = %v, %v, want the task as it ended", got.task, got.ok)
		}
	})
}

func TestEveryWaiterIsToldOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := filled(admitted("tsk_1", "s", slotdv1.Role_ROLE_HOLDER), admitted("tsk_2", "t", slotdv1.Role_ROLE_HOLDER))
		impatient, cancel := context.WithCancel(t.Context())
		var patient, leaving []<-chan answer
		for range 10 {
			patient = append(patient, wait(t.Context(), c, "tsk_1", catalog.WantTerminal))
			leaving = append(leaving, wait(impatient, c, "tsk_1", catalog.WantTerminal))
		}
		other := wait(t.Context(), c, "tsk_2", catalog.WantTerminal)
		synctest.Wait()
		cancel()
		for _, answers := range leaving {
			if got := <-answers; !got.ok || got.task.GetStatus().GetTerminal() {
				t.Errorf("Wait = %v, %v, want the present state", got.task, got.ok)
			}
		}
		c.Apply(changed(c, "tsk_1", succeeded))
		for _, answers := range patient {
			if got := <-answers; !got.ok || !got.task.GetStatus().GetTerminal() {
				t.Errorf("Wait = %v, %v, want the end", got.task, got.ok)
			}
		}
		select {
		case got := <-other:
			t.Errorf("Wait for another task = %v, %v", got.task, got.ok)
		default:
		}
		c.Apply(changed(c, "tsk_2", succeeded))
		<-other
		if left := c.Waiting(); left != 0 {
			t.Errorf("%d tasks are still waited for", left)
		}
	})
}
