package executor_test

import (
	"context"
	"errors"
	"fmt"
	"reflect"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/asynkron/protoactor-go/actor"

	"slotd/actors/executor"
	"slotd/actors/runner"
	slotdv1 "slotd/messages/slotd/v1"
	soltiv1 "slotd/messages/solti/v1"
)

func expect[T any](t *testing.T, what string, got, want T) {
	t.Helper()
	if !reflect.DeepEqual(got, want) {
		t.Errorf("%s: got %v, want %v", what, got, want)
	}
}

func TestOwnerHearsOfTheStartThenOfTheEnd(t *testing.T) {
	stages(t, 0, func(s *stage) {
		o := s.owner()
		o.start("a", 1)
		expect(t, "running", o.heard(), []string{"started a/1"})
		expect(t, "stats", s.executor.Stats(), executor.Stats{Running: 1, Started: 1})
		s.runner.process(t, "a/1").end(runner.Exit{Code: 3, OutOfMemory: true})
		synctest.Wait()
		if len(o.told) != 1 {
			t.Fatalf("got %v", o.told)
		}
		end, ok := o.told[0].(*slotdv1.AttemptExited)
		if !ok || end.GetExitCode() != 3 || !end.GetOutOfMemory() || end.GetAt() != time.Now().UnixMilli() {
			t.Errorf("got %v", o.told[0])
		}
		expect(t, "ended", o.heard(), []string{"exited a/1"})
		expect(t, "stats", s.executor.Stats(), executor.Stats{Started: 1})
	})
}

func TestWhoHearsOfTheEndFindsTheFiguresAndTheOutputDone(t *testing.T) {
	stages(t, 0, func(s *stage) {
		s.output.fail = true // a flush that fails is no reason to leave the next one out
		found := make(chan string, 1)
		o := &owner{pid: s.sys.Root.Spawn(actor.PropsFromFunc(func(c actor.Context) {
			if _, ok := c.Message().(*slotdv1.AttemptExited); ok {
				found <- fmt.Sprint(s.output.count(0), s.executor.Stats().Running)
			}
		})), stage: s}
		for i := range 200 {
			task := fmt.Sprint("t", i)
			o.start(task, 1)
			s.runner.process(t, task+"/1").end(runner.Exit{})
			expect(t, "open writers, running", <-found, "0 0")
		}
	})
}

func TestStopBeforeTheProcessIsSaidToTheProcess(t *testing.T) {
	stages(t, 0, func(s *stage) {
		s.runner.slow = make(chan struct{})
		o := s.owner()
		o.start("a", 1)
		o.stop("a", 1)
		expect(t, "a stop gives up no start", o.heard(), []string{})
		close(s.runner.slow)
		expect(t, "heard", o.heard(), []string{"started a/1", "signaled a/1"})
		expect(t, "stops", s.runner.process(t, "a/1").stops, 1)
	})
}

func TestKillGivesUpAStartUnderWay(t *testing.T) {
	stages(t, 0, func(s *stage) {
		s.runner.slow = make(chan struct{})
		o := s.owner()
		o.start("a", 1)
		o.kill("a", 1)
		expect(t, "heard", o.heard(), []string{"unavailable a/1"})
		expect(t, "starts", s.runner.starts, 0)
		expect(t, "open writers", s.output.count(0), 0)
	})
}

// deafStart is a runner that starts whatever happens to its context.
type deafStart struct{ *runners }

func (r deafStart) Start(_ context.Context, a runner.Attempt) (runner.Process, error) {
	return r.runners.Start(context.Background(), a)
}

func TestKillBeforeTheProcessIsSaidToTheProcess(t *testing.T) {
	stages(t, 0, func(s *stage) {
		s.runner.slow = make(chan struct{})
		s.runner.deaf = true
		s.use(deafStart{s.runner})
		o := s.owner()
		o.start("a", 1)
		o.stop("a", 1)
		o.kill("a", 1)
		close(s.runner.slow)
		expect(t, "heard", o.heard(), []string{"started a/1", "signaled a/1"})
		expect(t, "kills", s.runner.process(t, "a/1").kills, 1)
	})
}

func TestStopAndKillReachTheProcessAndNoOther(t *testing.T) {
	stages(t, 0, func(s *stage) {
		s.runner.deaf = true
		o := s.owner()
		o.start("a", 1)
		o.start("a", 2)
		o.start("b", 1)
		o.stop("a", 2)
		o.stop("a", 2)
		o.kill("a", 2)
		o.kill("unknown", 1)
		o.stop("unknown", 1)
		for name, want := range map[string][2]int{"a/1": {0, 0}, "a/2": {2, 1}, "b/1": {0, 0}} {
			p := s.runner.process(t, name)
			expect(t, name, [2]int{p.stops, p.kills}, want)
		}
		expect(t, "heard", o.heard(), []string{"started a/1", "started a/2", "started b/1", "signaled a/2"})
	})
}

func TestNewOwnerAttaches(t *testing.T) {
	stages(t, 0, func(s *stage) {
		old, heir := s.owner(), s.owner()
		old.start("a", 1)
		old.heard()
		heir.attach("a")
		expect(t, "heir of a running attempt", heir.heard(), []string{"started a/1"})
		s.runner.process(t, "a/1").end(runner.Exit{})
		expect(t, "heir", heir.heard(), []string{"exited a/1"})
		old.attach("a")
		expect(t, "owner of an attempt that has ended", old.heard(), []string{"started a/1", "exited a/1"})
		old.forget("a")
		old.attach("a")
		expect(t, "owner of what has been forgotten", old.heard(), []string{"lost a/1"})
		expect(t, "heir", heir.heard(), []string{})
	})
}

func TestNewOwnerOfAStartUnderWayHearsOfItOnce(t *testing.T) {
	stages(t, 0, func(s *stage) {
		s.runner.slow = make(chan struct{})
		old, heir := s.owner(), s.owner()
		old.start("a", 1)
		heir.attach("a")
		close(s.runner.slow)
		expect(t, "heir", heir.heard(), []string{"started a/1"})
		expect(t, "old", old.heard(), []string{})
	})
}

func TestAttemptThatNeverStartedIsLost(t *testing.T) {
	stages(t, 1, func(s *stage) {
		o := s.owner()
		o.attach("a")
		expect(t, "unknown", o.heard(), []string{"lost a/1"})
		o.acquire("a")
		o.attach("a")
		expect(t, "only a permit", o.heard(), []string{"granted a/1", "lost a/1"})
		o.acquire("b")
		o.attach("b")
		expect(t, "only a place in the queue", o.heard(), []string{"lost b/1"})
		o.forget("a")
		expect(t, "the permit goes on", o.heard(), []string{"granted b/1"})
	})
}

func TestStartingAgainStartsNothing(t *testing.T) {
	stages(t, 0, func(s *stage) {
		o, heir := s.owner(), s.owner()
		o.start("a", 1)
		heir.start("a", 1)
		expect(t, "heir", heir.heard(), []string{"started a/1"})
		s.runner.process(t, "a/1").end(runner.Exit{})
		heir.heard()
		o.start("a", 1)
		expect(t, "owner", o.heard(), []string{"started a/1", "started a/1", "exited a/1"})
		expect(t, "starts", s.runner.starts, 1)
	})
}

func TestForgettingARunningAttemptChangesNothing(t *testing.T) {
	stages(t, 1, func(s *stage) {
		o := s.owner()
		o.acquire("a")
		o.start("a", 1)
		o.heard()
		o.forget("a")
		o.acquire("b")
		expect(t, "the permit is in use", o.heard(), []string{})
		s.runner.process(t, "a/1").end(runner.Exit{})
		expect(t, "the end is told", o.heard(), []string{"granted b/1", "exited a/1"})
		o.attach("a")
		expect(t, "and kept", o.heard(), []string{"started a/1", "exited a/1"})
	})
}

func TestOwnersShareNothing(t *testing.T) {
	stages(t, 0, func(s *stage) {
		a, b := s.owner(), s.owner()
		a.start("a", 1)
		b.start("b", 1)
		a.kill("a", 1)
		expect(t, "a", a.heard(), []string{"started a/1", "signaled a/1"})
		expect(t, "b", b.heard(), []string{"started b/1"})
	})
}

func TestKillAllEndsWhatRunsAndWhatIsAboutTo(t *testing.T) {
	stages(t, 3, func(s *stage) {
		o := s.owner()
		for _, task := range []string{"a", "b", "c", "d"} {
			o.acquire(task)
		}
		o.start("a", 1)
		s.runner.slow = make(chan struct{})
		o.start("b", 1)
		o.heard()
		future := s.sys.Root.RequestFuture(s.pid, executor.KillAll(), time.Hour)
		if err := future.Wait(); err != nil {
			t.Errorf("no answer to KillAll: %v", err)
		}
		s.executor.Wait()
		heard := o.heard()
		for _, want := range []string{"signaled a/1", "unavailable b/1"} {
			if !slices.Contains(heard, want) {
				t.Errorf("got %v, want %s", heard, want)
			}
		}
	})
}

func TestWhyAnAttemptDidNotStart(t *testing.T) {
	for name, c := range map[string]struct {
		err  error
		kind slotdv1.ExitKind
		code int32
	}{
		"not found":      {&runner.SpawnError{Code: 127, Path: "/nowhere", Err: errors.New("no such file")}, slotdv1.ExitKind_EXIT_KIND_SPAWN_FAILED, 127},
		"not executable": {fmt.Errorf("start: %w", &runner.SpawnError{Code: 126, Path: "/etc", Err: errors.New("denied")}), slotdv1.ExitKind_EXIT_KIND_SPAWN_FAILED, 126},
		"any bytes":      {&runner.SpawnError{Code: 127, Path: "/no\xff", Err: errors.New("no such file")}, slotdv1.ExitKind_EXIT_KIND_SPAWN_FAILED, 127},
		"for the moment": {errors.New("resource temporarily unavailable"), slotdv1.ExitKind_EXIT_KIND_UNAVAILABLE, 0},
	} {
		t.Run(name, func(t *testing.T) {
			stages(t, 0, func(s *stage) {
				s.runner.refuse = c.err
				o := s.owner()
				o.start("a", 1)
				if len(o.told) != 1 {
					t.Fatalf("got %v", o.told)
				}
				end, _ := o.told[0].(*slotdv1.AttemptExited)
				if end.GetKind() != c.kind || end.GetExitCode() != c.code || end.GetError() != strings.ToValidUTF8(c.err.Error(), "\ufffd") {
					t.Errorf("got %v", end)
				}
				expect(t, "open writers", s.output.count(0), 0)
			})
		})
	}
}

func TestSpecWithoutARunnerIsUnavailable(t *testing.T) {
	stages(t, 0, func(s *stage) {
		o := s.owner()
		wasm := &soltiv1.CreateSpec{Kind: &soltiv1.TaskKind{Kind: &soltiv1.TaskKind_Wasm{}}}
		o.say(&slotdv1.StartAttempt{TaskId: "a", Attempt: 1, Spec: wasm})
		expect(t, "heard", o.heard(), []string{"unavailable a/1"})
	})
}

func TestPanicInAHandlerKeepsTheTable(t *testing.T) {
	stages(t, 1, func(s *stage) {
		o := s.owner()
		o.acquire("a")
		o.start("a", 1)
		o.acquire("b")
		o.heard()
		s.runner.process(t, "a/1").panics = true
		o.kill("a", 1) // panics
		o.attach("a")
		expect(t, "it runs and its owner is known", o.heard(), []string{"started a/1"})
		o.kill("a", 1)
		expect(t, "it ends, and its permit goes on", o.heard(), []string{"granted b/1", "signaled a/1"})
		expect(t, "starts", s.runner.starts, 1)
	})
}

func TestWaitReturnsWhenTheLastAttemptHasEnded(t *testing.T) {
	stages(t, 0, func(s *stage) {
		o := s.owner()
		o.start("a", 1)
		o.start("b", 1)
		waited := make(chan struct{})
		go func() { s.executor.Wait(); close(waited) }()
		s.runner.process(t, "a/1").end(runner.Exit{})
		synctest.Wait()
		select {
		case <-waited:
			t.Error("b still runs")
		default:
		}
		s.runner.process(t, "b/1").end(runner.Exit{})
		<-waited
	})
}
