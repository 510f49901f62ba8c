package actors_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"testing"
	"time"

	"github.com/hashicorp/go-hclog"
	"go.uber.org/goleak"

	"slotd/actors"
	"slotd/actors/catalog"
	"slotd/actors/logs"
	"slotd/actors/runner"
	"slotd/actors/store/memory"
	"slotd/messages"
	slotdv1 "slotd/messages/slotd/v1"
	soltiv1 "slotd/messages/solti/v1"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// instant runs attempts that end at once with exit code 0, or, with hold, when they are told to.
type instant struct {
	hold bool
	say  string // on stdout
}

func (instant) Info() runner.Info {
	return runner.Info{Name: "instant", Kind: "subprocess", Labels: map[string]string{"runner": "instant"}, Tree: "none"}
}

func (r instant) Start(_ context.Context, a runner.Attempt) (runner.Process, error) {
	if _, err := io.WriteString(a.Stdout, r.say); err != nil {
		return nil, err
	}
	p := &process{told: make(chan struct{}, 1)}
	if !r.hold {
		p.Kill()
	}
	return p, nil
}

type process struct{ told chan struct{} }

func (p *process) Wait() runner.Exit { <-p.told; return runner.Exit{} }
func (p *process) Stop()             { p.Kill() }
func (p *process) Kill() {
	select {
	case p.told <- struct{}{}:
	default:
	}
}

func start(tb testing.TB, cfg actors.Config) *actors.Tree {
	tb.Helper()
	logs, err := logs.Open(logs.Config{Dir: tb.TempDir()}, nil)
	if err != nil {
		tb.Fatal(err)
	}
	kept := memory.New(memory.Config{})
	cfg.Store, cfg.Logs = kept, logs
	tree, err := actors.Start(cfg)
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() {
		tree.Stop()
		if err := errors.Join(logs.Shutdown(), kept.Close()); err != nil {
			tb.Error(err)
		}
	})
	return tree
}

func command(slot string, admission soltiv1.AdmissionStrategy) *soltiv1.CreateSpec {
	spec := &soltiv1.CreateSpec{
		Slot: slot, TimeoutMs: 60_000, Admission: admission,
		Kind: &soltiv1.TaskKind{Kind: &soltiv1.TaskKind_Subprocess{Subprocess: &soltiv1.SubprocessTask{
			Mode: &soltiv1.SubprocessTask_Command{Command: &soltiv1.CommandMode{Command: "true"}},
		}}},
	}
	messages.Defaults(spec)
	return spec
}

func ask(tb testing.TB, tree *actors.Tree, msg any) any {
	tb.Helper()
	answer, err := tree.System().Root.RequestFuture(tree.Registry(), msg, 10*time.Second).Result()
	if err != nil {
		tb.Fatalf("%T: %v", msg, err)
	}
	return answer
}

func submit(tb testing.TB, tree *actors.Tree, spec *soltiv1.CreateSpec) string {
	tb.Helper()
	answer := ask(tb, tree, &slotdv1.Submit{Spec: spec})
	accepted, ok := answer.(*slotdv1.Submitted)
	if !ok {
		tb.Fatalf("got %v, want Submitted", answer)
	}
	return accepted.GetTaskId()
}

func wait(tb testing.TB, tree *actors.Tree, id string, want catalog.Want) *soltiv1.TaskData {
	tb.Helper()
	ctx, cancel := context.WithTimeout(tb.Context(), 10*time.Second)
	defer cancel()
	task, ok := tree.Catalog().Wait(ctx, id, want)
	if !ok || ctx.Err() != nil {
		tb.Fatalf("task %s: got %v, %v", id, task, ctx.Err())
	}
	return task
}

func TestTaskRunsToItsEndAndFreesItsSlot(t *testing.T) {
	tree := start(t, actors.Config{Runners: []runner.Runner{instant{}}})
	for i := range 3 { // the same slot each time: a terminal task never refuses the next
		id := submit(t, tree, command("lane", soltiv1.AdmissionStrategy_ADMISSION_STRATEGY_DROP_IF_RUNNING))
		task := wait(t, tree, id, catalog.WantTerminal)
		if got := task.GetStatus(); got.GetPhase() != soltiv1.TaskStatus_TASK_STATUS_SUCCEEDED || got.GetReason() != string(messages.ReasonCompleted) {
			t.Fatalf("round %d: got %v", i, got)
		}
		runs, err := tree.Catalog().Runs(t.Context(), id)
		if err != nil || len(runs) != 1 || runs[0].GetFinishedAt() == 0 {
			t.Fatalf("round %d: runs %v, %v", i, runs, err)
		}
	}
	if got := tree.Introspect(); got.GetDeadLetters() != 0 || got.GetTasksActive() != 0 || got.GetAttemptsRunning() != 0 {
		t.Errorf("after the end: %v", got)
	}
}

func TestDrainEndsWhatRunsAndAdmitsNothing(t *testing.T) {
	tree := start(t, actors.Config{Runners: []runner.Runner{instant{hold: true}}})
	holder := submit(t, tree, command("lane", soltiv1.AdmissionStrategy_ADMISSION_STRATEGY_QUEUE))
	queued := submit(t, tree, command("lane", soltiv1.AdmissionStrategy_ADMISSION_STRATEGY_QUEUE))
	wait(t, tree, holder, catalog.WantRunning)
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	if err := tree.Drain(ctx, time.Second); err != nil {
		t.Fatal(err)
	}
	for _, id := range []string{holder, queued} {
		if got := wait(t, tree, id, catalog.WantTerminal).GetStatus(); got.GetReason() != string(messages.ReasonShutdown) {
			t.Errorf("%s: got %v", id, got)
		}
	}
	refused, ok := ask(t, tree, &slotdv1.Submit{Spec: command("other", 0)}).(*slotdv1.Rejection)
	if !ok || refused.GetLabel() != messages.LabelUnavailable {
		t.Errorf("got %v, want Unavailable", refused)
	}
}

func BenchmarkOwnSlots(b *testing.B) {
	tree := start(b, actors.Config{Runners: []runner.Runner{instant{}}, RetainTasks: 1000})
	root := tree.System().Root
	ids := make(chan string, 256)
	go func() {
		defer close(ids)
		var futures []interface{ Result() (any, error) }
		flush := func() {
			for _, f := range futures {
				answer, err := f.Result()
				if err != nil {
					b.Error(err)
					return
				}
				accepted, ok := answer.(*slotdv1.Submitted)
				if !ok {
					b.Errorf("got %v, want Submitted", answer)
					return
				}
				ids <- accepted.GetTaskId()
			}
			futures = futures[:0]
		}
		for i := range b.N {
			spec := command(fmt.Sprint("slot-", i), soltiv1.AdmissionStrategy_ADMISSION_STRATEGY_DROP_IF_RUNNING)
			futures = append(futures, root.RequestFuture(tree.Registry(), &slotdv1.Submit{Spec: spec}, time.Minute))
			if len(futures) == 128 {
				flush()
			}
		}
		flush()
	}()
	for id := range ids {
		tree.Catalog().Wait(b.Context(), id, catalog.WantTerminal)
	}
}

func TestStopTakesRunningTasksAlongWithoutAlarm(t *testing.T) {
	var said bytes.Buffer
	t.Cleanup(func() { // the last one: the node has stopped
		if said.Len() > 0 {
			t.Errorf("a stop said:\n%s", said.String())
		}
	})
	tree := start(t, actors.Config{
		Runners: []runner.Runner{instant{hold: true}},
		Logger:  hclog.New(&hclog.LoggerOptions{Output: &said, Level: hclog.Warn}),
	})
	id := submit(t, tree, command("lane", soltiv1.AdmissionStrategy_ADMISSION_STRATEGY_QUEUE))
	wait(t, tree, id, catalog.WantRunning)
}
