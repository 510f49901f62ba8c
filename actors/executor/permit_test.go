package executor_test

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"testing"
	"testing/synctest"

	"slotd/actors/executor"
	"slotd/actors/runner"
)

// grants takes the permits that the owner has been given, in order, and starts their attempts.
func (o *owner) grants(t *testing.T) (tasks []string) {
	t.Helper()
	for _, said := range o.heard() {
		var task string
		if _, err := fmt.Sscanf(said, "granted %s", &task); err == nil {
			tasks = append(tasks, task[:len(task)-len("/1")])
		}
	}
	for _, task := range tasks {
		o.start(task, 1)
	}
	return tasks
}

func TestNoMoreThanMaxRunningAndFirstComeFirstServed(t *testing.T) {
	stages(t, 3, func(s *stage) {
		o := s.owner()
		var want, order, running []string
		for i := range 40 {
			want = append(want, fmt.Sprint("t", i))
			o.acquire(want[i])
		}
		expect(t, "waiting", s.executor.Stats().Waiting, int64(37))
		random := rand.New(rand.NewPCG(1, 2))
		for len(order) < len(want) || len(running) > 0 {
			started := o.grants(t)
			order, running = append(order, started...), append(running, started...)
			i := random.IntN(len(running))
			task := running[i]
			running = append(running[:i], running[i+1:]...)
			s.runner.process(t, task+"/1").end(runner.Exit{})
			synctest.Wait()
			if random.IntN(2) == 0 { // the permit comes back with the end, not with the forgetting
				o.forget(task)
			}
		}
		expect(t, "order", order, want)
		expect(t, "most at once", s.runner.most, 3)
		expect(t, "stats", s.executor.Stats(), executor.Stats{Started: 40})
	})
}

func TestForgettingBeforeTheStartGivesThePermitBack(t *testing.T) {
	stages(t, 1, func(s *stage) {
		o := s.owner()
		for _, task := range []string{"a", "b", "c"} {
			o.acquire(task)
		}
		expect(t, "first", o.heard(), []string{"granted a/1"})
		o.forget("b") // it only waits
		expect(t, "waiting", s.executor.Stats().Waiting, int64(1))
		o.forget("a") // it has a permit
		expect(t, "next", o.heard(), []string{"granted c/1"})
		o.forget("a") // said twice: gives nothing back twice
		o.acquire("d")
		expect(t, "no second permit", o.heard(), []string{})
		expect(t, "waiting", s.executor.Stats().Waiting, int64(1))
	})
}

func TestFailedStartGivesThePermitBack(t *testing.T) {
	stages(t, 1, func(s *stage) {
		s.runner.refuse = errors.New("too many files")
		o := s.owner()
		o.acquire("a")
		o.acquire("b")
		o.start("a", 1)
		expect(t, "heard", o.heard(), []string{"granted a/1", "granted b/1", "unavailable a/1"})
	})
}

func TestKilledStartGivesThePermitBack(t *testing.T) {
	stages(t, 1, func(s *stage) {
		s.runner.slow = make(chan struct{})
		o := s.owner()
		o.acquire("a")
		o.acquire("b")
		o.start("a", 1)
		o.kill("a", 1)
		expect(t, "heard", o.heard(), []string{"granted a/1", "granted b/1", "unavailable a/1"})
	})
}

// An owner's actor that failed may have had no time to give its permit back, and its successor asks again.
func TestAskingAgainForAPermitTakesNoSecondOne(t *testing.T) {
	stages(t, 1, func(s *stage) {
		old, heir, other := s.owner(), s.owner(), s.owner()
		old.acquire("a")
		heir.acquire("a")
		expect(t, "heir", heir.heard(), []string{"granted a/1"})
		other.acquire("b")
		old.acquire("c")
		heir.acquire("c")
		expect(t, "waiting", s.executor.Stats().Waiting, int64(2))
		heir.forget("a")
		expect(t, "other", other.heard(), []string{"granted b/1"})
		other.forget("b")
		expect(t, "old", old.heard(), []string{"granted a/1"})
		expect(t, "heir", heir.heard(), []string{"granted c/1"})
		heir.forget("c")
		other.acquire("d")
		expect(t, "nothing leaked", other.heard(), []string{"granted d/1"})
	})
}

func TestAskingOverAndOverLeaksNoPermit(t *testing.T) {
	stages(t, 2, func(s *stage) {
		o := s.owner()
		for range 5 {
			o.acquire("a")
		}
		o.heard()
		o.acquire("b")
		expect(t, "b has the second permit", o.heard(), []string{"granted b/1"})
		o.acquire("c")
		o.forget("a")
		expect(t, "c has the first", o.heard(), []string{"granted c/1"})
	})
}

func TestGivingUpOnesPlaceLosesIt(t *testing.T) {
	stages(t, 1, func(s *stage) {
		o := s.owner()
		for _, task := range []string{"a", "b", "c"} {
			o.acquire(task)
		}
		o.forget("b")
		o.acquire("b") // now behind c
		expect(t, "waiting", s.executor.Stats().Waiting, int64(2))
		o.forget("a")
		expect(t, "first c", o.heard(), []string{"granted a/1", "granted c/1"})
		o.forget("c")
		expect(t, "then b", o.heard(), []string{"granted b/1"})
		o.forget("b")
		o.acquire("d")
		expect(t, "and none is leaked", o.heard(), []string{"granted d/1"})
		expect(t, "waiting", s.executor.Stats().Waiting, int64(0))
	})
}
