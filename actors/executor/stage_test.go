package executor_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"sync"
	"testing"
	"testing/synctest"

	"github.com/asynkron/protoactor-go/actor"
	"github.com/hashicorp/go-hclog"
	"go.uber.org/goleak"

	"slotd/actors/actortest"
	"slotd/actors/executor"
	"slotd/actors/runner"
	slotdv1 "slotd/messages/slotd/v1"
	soltiv1 "slotd/messages/solti/v1"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// stage is the executor under test with a runner and an output that a test holds in its hands.
type stage struct {
	sys      *actor.ActorSystem
	executor *executor.Executor
	pid      *actor.PID
	runner   *runners
	output   *outputs
	use      func(runner.Runner) // in place of runner, before the first start
}

// choice is a runner that can be exchanged.
type choice struct{ runner.Runner }

// stages runs body in a bubble, and checks that the executor is left without an attempt.
func stages(t *testing.T, maxRunning int, body func(s *stage)) {
	t.Helper()
	actortest.Bubble(t, func(t *testing.T, sys *actor.ActorSystem) {
		s := &stage{sys: sys, runner: &runners{processes: map[string]*process{}}, output: &outputs{}}
		chosen := &choice{s.runner}
		s.use = func(r runner.Runner) { chosen.Runner = r }
		s.executor = executor.New(executor.Config{
			Node: "local", Router: runner.NewRouter(chosen), Output: s.output, MaxRunning: maxRunning,
			Logger: hclog.NewNullLogger(),
		})
		s.pid = sys.Root.SpawnPrefix(actor.PropsFromProducer(func() actor.Actor { return s.executor }, actor.WithGuardian(resume{})), "executor")
		body(s)
		sys.Root.Send(s.pid, executor.KillAll())
		synctest.Wait()
		s.executor.Wait()
		actortest.Stop(t, sys, s.pid)
		if got := s.runner.living(); got != 0 {
			t.Errorf("%d processes left", got)
		}
	})
}

// resume is the strategy that the node has for its executor.
type resume struct{}

func (resume) HandleFailure(_ *actor.ActorSystem, s actor.Supervisor, child *actor.PID, _ *actor.RestartStatistics, _, _ any) {
	s.ResumeChildren(child)
}

// owner is an actor that owns attempts, and keeps what it is told.
type owner struct {
	pid   *actor.PID
	stage *stage
	told  []any
}

func (s *stage) owner() *owner {
	o := &owner{stage: s}
	o.pid = s.sys.Root.Spawn(actor.PropsFromFunc(func(c actor.Context) {
		switch msg := c.Message().(type) {
		case *slotdv1.Granted, *slotdv1.AttemptStarted, *slotdv1.AttemptExited:
			o.told = append(o.told, msg)
		}
	}))
	return o
}

// say sends a message in the owner's name and lets everything come to rest.
func (o *owner) say(msg any) {
	o.stage.sys.Root.RequestWithCustomSender(o.stage.pid, msg, o.pid)
	synctest.Wait()
}

func (o *owner) acquire(task string) {
	o.say(&slotdv1.Acquire{TaskId: task, Attempt: 1})
}

func (o *owner) start(task string, n uint32) {
	o.say(&slotdv1.StartAttempt{TaskId: task, Attempt: n, Spec: spec()})
}

func (o *owner) attach(task string) {
	o.say(&slotdv1.AttachAttempt{TaskId: task, Attempt: 1})
}

func (o *owner) stop(task string, n uint32) { o.say(&slotdv1.StopAttempt{TaskId: task, Attempt: n}) }

func (o *owner) kill(task string, n uint32) { o.say(&slotdv1.KillAttempt{TaskId: task, Attempt: n}) }

func (o *owner) forget(task string) {
	o.say(&slotdv1.ForgetAttempt{TaskId: task, Attempt: 1})
}

// heard lists what the owner was told, one word a message, and forgets it.
func (o *owner) heard() []string {
	synctest.Wait()
	heard := []string{}
	for _, msg := range o.told {
		switch msg := msg.(type) {
		case *slotdv1.Granted:
			heard = append(heard, fmt.Sprintf("granted %s/%d", msg.GetTaskId(), msg.GetAttempt()))
		case *slotdv1.AttemptStarted:
			heard = append(heard, fmt.Sprintf("started %s/%d", msg.GetTaskId(), msg.GetAttempt()))
		case *slotdv1.AttemptExited:
			heard = append(heard, fmt.Sprintf("%s %s/%d", kinds[msg.GetKind()], msg.GetTaskId(), msg.GetAttempt()))
		}
	}
	o.told = nil
	return heard
}

var kinds = map[slotdv1.ExitKind]string{
	slotdv1.ExitKind_EXIT_KIND_EXITED: "exited", slotdv1.ExitKind_EXIT_KIND_SIGNALED: "signaled",
	slotdv1.ExitKind_EXIT_KIND_SPAWN_FAILED: "unspawned", slotdv1.ExitKind_EXIT_KIND_UNAVAILABLE: "unavailable",
	slotdv1.ExitKind_EXIT_KIND_LOST: "lost",
}

func spec() *soltiv1.CreateSpec {
	return &soltiv1.CreateSpec{
		Slot: "lane",
		Kind: &soltiv1.TaskKind{Kind: &soltiv1.TaskKind_Subprocess{Subprocess: &soltiv1.SubprocessTask{}}},
	}
}

// runners is a runner whose attempts run until they are ended.
type runners struct {
	refuse error         // what Start fails with
	slow   chan struct{} // Start waits for it, or for the end of its context
	deaf   bool          // to Stop

	mu         sync.Mutex
	processes  map[string]*process
	starts     int
	live, most int
}

func (r *runners) Info() runner.Info { return runner.Info{Name: "stage", Kind: "subprocess"} }

func (r *runners) Start(ctx context.Context, a runner.Attempt) (runner.Process, error) {
	if r.slow != nil {
		select {
		case <-r.slow:
		case <-ctx.Done():
			return nil, fmt.Errorf("given up: %w", ctx.Err())
		}
	}
	if r.refuse != nil {
		return nil, r.refuse
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	p := &process{runners: r, exit: make(chan runner.Exit, 1), out: a.Stdout}
	r.processes[fmt.Sprintf("%s/%d", a.TaskID, a.Number)] = p
	r.starts++
	r.live++
	r.most = max(r.most, r.live)
	return p, nil
}

func (r *runners) living() int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.live
}

// process gives the process of an attempt that has been started.
func (r *runners) process(t *testing.T, name string) *process {
	t.Helper()
	r.mu.Lock()
	defer r.mu.Unlock()
	p := r.processes[name]
	if p == nil {
		t.Fatalf("%s was never started", name)
	}
	return p
}

type process struct {
	runners      *runners
	exit         chan runner.Exit
	out          io.Writer
	stops, kills int
	panics       bool // in Kill, once
}

func (p *process) Wait() runner.Exit {
	exit := <-p.exit
	p.runners.mu.Lock()
	defer p.runners.mu.Unlock()
	p.runners.live--
	return exit
}

func (p *process) Stop() {
	if p.stops++; !p.runners.deaf {
		p.end(runner.Exit{Signal: 15})
	}
}

func (p *process) Kill() {
	if p.kills++; p.panics {
		p.panics = false
		panic("kill failed")
	}
	p.end(runner.Exit{Signal: 9})
}

func (p *process) end(exit runner.Exit) {
	select {
	case p.exit <- exit:
	default: // it has ended before
	}
}

// outputs counts writers that are open.
type outputs struct {
	mu   sync.Mutex
	open int
	fail bool
}

func (o *outputs) Writer(string, uint32, soltiv1.OutputStreamKind) io.WriteCloser {
	o.count(1)
	return &writer{o}
}

func (o *outputs) count(by int) int {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.open += by
	return o.open
}

type writer struct{ *outputs }

func (w *writer) Write(b []byte) (int, error) { return len(b), nil }

func (w *writer) Close() error {
	w.count(-1)
	if w.fail {
		return errors.New("disk full")
	}
	return nil
}
