package actors_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math"
	"os"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/asynkron/protoactor-go/actor"

	"slotd/actors"
	"slotd/actors/actortest"
	"slotd/actors/catalog"
	"slotd/actors/logs"
	"slotd/actors/runner"
	"slotd/actors/store"
	"slotd/messages"
	slotdv1 "slotd/messages/slotd/v1"
	soltiv1 "slotd/messages/solti/v1"
)

const (
	drop  = soltiv1.AdmissionStrategy_ADMISSION_STRATEGY_DROP_IF_RUNNING
	queue = soltiv1.AdmissionStrategy_ADMISSION_STRATEGY_QUEUE
)

var exitZero runner.Exit

// node is a tree in a bubble.
type node struct {
	*actors.Tree
	t      *testing.T
	dir    string
	store  *actortest.Gate
	runner *ward
	faults *actortest.Faults
}

// bubble runs body with a node that has the one runner n.runner.
func bubble(t *testing.T, cfg actors.Config, body func(t *testing.T, n *node)) {
	t.Helper()
	bubbleOver(t, cfg, func(g *actortest.Gate) store.Store { return g }, body)
}

// bubbleOver puts something between the node and its store.
func bubbleOver(t *testing.T, cfg actors.Config, over func(*actortest.Gate) store.Store, body func(t *testing.T, n *node)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		dir := t.TempDir()
		kept, err := logs.Open(logs.Config{Dir: dir}, nil)
		if err != nil {
			t.Fatal(err)
		}
		n := &node{t: t, dir: dir, store: actortest.NewGate(), runner: newWard(), faults: new(actortest.Faults)}
		cfg.Store, cfg.Logs, cfg.Runners = over(n.store), kept, []runner.Runner{n.runner}
		n.Tree, err = actors.StartWith(cfg, actor.WithReceiverMiddleware(n.faults.Middleware, actortest.Looks))
		if err != nil {
			t.Fatal(err)
		}
		defer func() {
			n.Stop()
			if err := errors.Join(kept.Shutdown(), n.store.Close()); err != nil {
				t.Error(err)
			}
			if n.runner.living() != 0 {
				t.Error("an attempt outlived its node")
			}
			time.Sleep(time.Minute) // what the runtime leaves, and the last timers
			synctest.Wait()
		}()
		body(t, n)
	})
}

func (n *node) ask(msg any) any {
	n.t.Helper()
	return actortest.Ask(n.t, n.System(), n.Registry(), msg)
}

func (n *node) submit(slot string, admission soltiv1.AdmissionStrategy) string {
	n.t.Helper()
	return n.accepted(n.ask(&slotdv1.Submit{Spec: command(slot, admission)}))
}

func (n *node) accepted(answer any) string {
	n.t.Helper()
	accepted, ok := answer.(*slotdv1.Submitted)
	if !ok {
		n.t.Fatalf("got %v, want Submitted", answer)
	}
	return accepted.GetTaskId()
}

// wait returns the task once it has what is wanted, at most an hour later.
func (n *node) wait(id string, want catalog.Want) *soltiv1.TaskStatusInfo {
	n.t.Helper()
	ctx, cancel := context.WithTimeout(n.t.Context(), time.Hour)
	defer cancel()
	task, ok := n.Catalog().Wait(ctx, id, want)
	if !ok || ctx.Err() != nil {
		n.t.Fatalf("task %s: got %v, %v", id, task, ctx.Err())
	}
	return task.GetStatus()
}

// read reads a log, to its present end or, with follow, to its last event.
func (n *node) read(id string, follow bool) string {
	n.t.Helper()
	cursor, err := n.OpenLog(n.t.Context(), id, messages.LogQuery{Tail: math.MaxUint64, HasTail: true, Follow: follow})
	if err != nil {
		n.t.Fatal(err)
	}
	defer cursor.Close()
	var text strings.Builder
	for {
		batch, err := cursor.Next(n.t.Context())
		text.Write(batch.Data)
		if errors.Is(err, io.EOF) {
			return text.String()
		}
		if err != nil {
			n.t.Fatal(err)
		}
	}
}

// folders counts the logs that have files.
func (n *node) folders() int {
	n.t.Helper()
	entries, err := os.ReadDir(n.dir)
	if err != nil {
		n.t.Fatal(err)
	}
	return len(entries)
}

// ward is a runner that counts, and whose attempts end when they are told to, or at once.
type ward struct {
	mu      sync.Mutex
	hold    bool
	say     string         // on stdout
	starts  map[string]int // by attempt
	beds    map[string]*patient
	busy    map[string]int // live attempts by slot
	crowded string         // a slot that had two
}

func newWard() *ward {
	return &ward{starts: map[string]int{}, beds: map[string]*patient{}, busy: map[string]int{}}
}

func (w *ward) Info() runner.Info { return runner.Info{Name: "ward", Kind: "subprocess"} }

func (w *ward) Start(_ context.Context, a runner.Attempt) (runner.Process, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	name := fmt.Sprintf("%s/%d", a.TaskID, a.Number)
	if _, err := io.WriteString(a.Stdout, w.say); err != nil {
		return nil, err
	}
	p := &patient{ward: w, slot: a.Slot, exit: make(chan runner.Exit, 1)}
	w.starts[name]++
	w.beds[name] = p
	if w.busy[a.Slot]++; w.busy[a.Slot] > 1 {
		w.crowded = a.Slot
	}
	if !w.hold {
		p.end(runner.Exit{})
	}
	return p, nil
}

func (w *ward) end(id string, attempt int) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if p := w.beds[fmt.Sprintf("%s/%d", id, attempt)]; p != nil {
		p.end(runner.Exit{})
	}
}

func (w *ward) living() int {
	w.mu.Lock()
	defer w.mu.Unlock()
	live := 0
	for _, n := range w.busy {
		live += n
	}
	return live
}

// check finds what must never be.
func (w *ward) check(t *testing.T) {
	t.Helper()
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.crowded != "" {
		t.Errorf("slot %s had two attempts at a time", w.crowded)
	}
	for name, n := range w.starts {
		if n != 1 {
			t.Errorf("%s was started %d times", name, n)
		}
	}
}

type patient struct {
	ward *ward
	slot string
	exit chan runner.Exit
}

func (p *patient) Wait() runner.Exit {
	exit := <-p.exit
	p.ward.mu.Lock()
	defer p.ward.mu.Unlock()
	p.ward.busy[p.slot]--
	return exit
}

func (p *patient) Stop() { p.end(runner.Exit{Signal: 15}) }
func (p *patient) Kill() { p.end(runner.Exit{Signal: 9}) }

func (p *patient) end(exit runner.Exit) {
	select {
	case p.exit <- exit:
	default: // it has ended before
	}
}

const completed = string(messages.ReasonCompleted)
