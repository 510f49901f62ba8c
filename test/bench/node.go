package bench

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"sync/atomic"
	"time"
	"weak"

	"golang.org/x/sync/errgroup"

	"slotd/actors"
	"slotd/actors/catalog"
	"slotd/actors/logs"
	"slotd/actors/runner"
	"slotd/actors/store"
	"slotd/actors/store/memory"
	"slotd/actors/store/pebble"
	"slotd/gateway/ask"
	slotdv1 "slotd/messages/slotd/v1"
	soltiv1 "slotd/messages/solti/v1"
)

// answerWithin is how long an admission may take before the measurement fails.
const answerWithin = time.Minute

// node is a whole node inside this process, without the gateway: what slotd costs apart from HTTP.
type node struct {
	tree   *actors.Tree
	asking *ask.Registry
	logs   *logs.Logs
	kept   store.Store
	dir    string
}

// opening makes the store of a node in a folder that is not there yet.
type opening func(dir string) (store.Store, error)

func inMemory(string) (store.Store, error) { return memory.New(memory.Config{}), nil }

func onDisk(dir string) (store.Store, error) {
	kept, err := pebble.Open(pebble.Config{Dir: dir})
	if err != nil {
		return nil, err
	}
	return kept, nil
}

// openNode starts a node whose logs are large enough to keep every line of a measurement.
func openNode(scratch string, open opening, cfg actors.Config) (*node, error) {
	dir, err := os.MkdirTemp(scratch, "node-*")
	if err != nil {
		return nil, err
	}
	kept, err := open(filepath.Join(dir, "store"))
	if err != nil {
		return nil, errors.Join(err, os.RemoveAll(dir))
	}
	output, err := logs.Open(logs.Config{Dir: filepath.Join(dir, "logs"), TaskBytes: 4 << 30}, nil)
	if err != nil {
		return nil, errors.Join(err, kept.Close(), os.RemoveAll(dir))
	}
	n := &node{logs: output, kept: kept, dir: dir}
	cfg.Store, cfg.Logs = n.kept, n.logs
	if n.tree, err = actors.Start(cfg); err != nil {
		return nil, errors.Join(err, n.release())
	}
	n.asking = ask.New(n.tree.System().Root, n.tree.Registry())
	return n, nil
}

// close stops the node and waits until nothing refers to it any more, so that its memory does not fall into what is
// measured next. It must be called once, and the node's tree is gone afterwards.
func (n *node) close() error {
	system := weak.Make(n.tree.System())
	ctx, cancel := context.WithTimeout(context.Background(), answerWithin)
	err := n.tree.Drain(ctx, 0)
	cancel()
	n.tree.Stop()
	err = errors.Join(err, n.release())
	n.tree, n.asking, n.logs, n.kept = nil, nil, nil, nil
	return errors.Join(err, collected(system))
}

// collected returns an error if the object is still referred to after a time in which any timer of it has fired.
func collected[T any](object weak.Pointer[T]) error {
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for deadline := time.Now().Add(answerWithin); object.Value() != nil; <-tick.C {
		if time.Now().After(deadline) {
			return errors.New("a node that was stopped is still referred to")
		}
		runtime.GC()
	}
	return nil
}

func (n *node) release() error {
	return errors.Join(n.logs.Shutdown(), n.kept.Close(), os.RemoveAll(n.dir))
}

// submit asks for admission, as the gateway does, and returns the task's id.
func (n *node) submit(ctx context.Context, spec *soltiv1.CreateSpec) (string, error) {
	return n.asking.Submit(ctx, spec, nil)
}

// submitAll submits one spec after the other, askers of them at the same time, and returns the ids in no order.
func (n *node) submitAll(ctx context.Context, count int, spec func(i int) *soltiv1.CreateSpec) ([]string, error) {
	ids := make([]string, count)
	var next atomic.Int64
	group, ctx := errgroup.WithContext(ctx)
	for range askers {
		group.Go(func() error {
			for ctx.Err() == nil {
				i := int(next.Add(1)) - 1
				if i >= count {
					return nil
				}
				id, err := n.submit(ctx, spec(i))
				if err != nil {
					return fmt.Errorf("submit task %d: %w", i, err)
				}
				ids[i] = id
			}
			return ctx.Err()
		})
	}
	return ids, group.Wait()
}

// succeeded waits until every task is terminal, and returns an error for one that did not succeed.
func (n *node) succeeded(ctx context.Context, ids []string) error {
	for _, id := range ids {
		task, ok := n.tree.Catalog().Wait(ctx, id, catalog.WantTerminal)
		if err := ctx.Err(); err != nil {
			return err
		}
		if phase := task.GetStatus().GetPhase(); !ok || phase != soltiv1.TaskStatus_TASK_STATUS_SUCCEEDED {
			return fmt.Errorf("task %s: %s %s", id, phase, task.GetStatus().GetError())
		}
	}
	return nil
}

// deleteAll purges the tasks and returns once none of them is left.
func (n *node) deleteAll(ids []string) error {
	var group errgroup.Group
	group.SetLimit(askers)
	for _, id := range ids {
		group.Go(func() error {
			answer, err := n.tree.System().Root.RequestFuture(n.tree.Registry(), &slotdv1.Delete{TaskId: id}, answerWithin).Result()
			if err != nil {
				return err
			}
			if _, ok := answer.(*slotdv1.TaskEnded); !ok {
				return fmt.Errorf("delete %s: got %v", id, answer)
			}
			return nil
		})
	}
	return group.Wait()
}

// idle runs attempts that have no process: they end at once, or, when they hold, when they are told to.
type idle struct{ hold bool }

func (idle) Info() runner.Info {
	return runner.Info{Name: "idle", Kind: "subprocess", Labels: map[string]string{"runner": "idle"}, Tree: "none"}
}

func (r idle) Start(context.Context, runner.Attempt) (runner.Process, error) {
	a := &attempt{told: make(chan struct{}, 1)}
	if !r.hold {
		a.Kill()
	}
	return a, nil
}

type attempt struct{ told chan struct{} }

func (a *attempt) Wait() runner.Exit { <-a.told; return runner.Exit{} }
func (a *attempt) Stop()             { a.Kill() }
func (a *attempt) Kill() {
	select {
	case a.told <- struct{}{}:
	default:
	}
}
