// Package actors is one node of slotd as a library: the registry with its slots and tasks, the executor, the store, the
// catalog and the logs, started and stopped in order.
//
// ARCHITECTURE.md beside this file has the maps. The package decides nothing itself; it builds, connects and stops.
package actors

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math/rand/v2"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/asynkron/protoactor-go/actor"
	"github.com/hashicorp/go-hclog"

	"slotd/actors/catalog"
	"slotd/actors/events"
	"slotd/actors/executor"
	"slotd/actors/logs"
	"slotd/actors/registry"
	"slotd/actors/runner"
	"slotd/actors/slot"
	"slotd/actors/store"
	"slotd/actors/task"
	slotdv1 "slotd/messages/slotd/v1"
	soltiv1 "slotd/messages/solti/v1"
)

// Config is a node. Zero values mean the defaults named here.
type Config struct {
	Node        string // name of the node; default "local"
	Version     string // of the program, for whoever asks about the node
	Labels      map[string]string
	Store       store.Store     // owned by the caller, who closes it after Stop
	Logs        *logs.Logs      // owned by the caller, who shuts it down after Stop
	Runners     []runner.Runner // first choice first; owned by the caller
	SlotQueue   int             // tasks that may wait in one slot; default 100
	MaxRunning  int             // attempts at a time; 0 = no limit
	MaxTasks    int             // tasks not yet terminal; default 1 000 000
	Retain      time.Duration   // how long terminal tasks are kept; default 24 h
	RetainTasks int             // how many terminal tasks are kept; default 100 000
	IdleAfter   time.Duration   // how long an idle slot stays in memory; default 1 s
	Logger      hclog.Logger    // default: none
}

// KeyTTL is how long an idempotency key is remembered.
const KeyTTL = 24 * time.Hour

func (c Config) withDefaults() Config {
	if c.Node == "" {
		c.Node = "local"
	}
	if c.SlotQueue == 0 {
		c.SlotQueue = 100
	}
	if c.MaxTasks == 0 {
		c.MaxTasks = 1_000_000
	}
	if c.Retain == 0 {
		c.Retain = 24 * time.Hour
	}
	if c.RetainTasks == 0 {
		c.RetainTasks = 100_000
	}
	if c.IdleAfter == 0 {
		c.IdleAfter = time.Second
	}
	if c.Logger == nil {
		c.Logger = hclog.NewNullLogger()
	}
	return c
}

// Validate says what is wrong with a configuration.
func (c Config) Validate() error {
	var errs []error
	if c.Store == nil {
		errs = append(errs, errors.New("a store is needed"))
	}
	if c.Logs == nil {
		errs = append(errs, errors.New("logs are needed"))
	}
	for name, n := range map[string]int{
		"slot queue": c.SlotQueue, "max running": c.MaxRunning, "max tasks": c.MaxTasks, "retain tasks": c.RetainTasks,
	} {
		if n < 0 {
			errs = append(errs, fmt.Errorf("%s must not be negative, is %d", name, n))
		}
	}
	if c.Retain < 0 || c.IdleAfter < 0 {
		errs = append(errs, errors.New("durations must not be negative"))
	}
	return errors.Join(errs...)
}

// Tree is a running node.
type Tree struct {
	cfg        Config
	system     *actor.ActorSystem
	catalog    *catalog.Catalog
	events     *events.Hub
	ledger     *ledger
	router     *runner.Router
	executor   *executor.Executor
	dispatcher *dispatcher
	began      time.Time
	life       uint32 // told from every other life of the node by chance

	registryPID, executorPID, retentionPID *actor.PID

	ctx         context.Context //nolint:containedctx // a state of the node, not of a call: ends with Stop
	cancel      context.CancelFunc
	routines    sync.WaitGroup
	ready       chan struct{} // closed when recovery is through
	recovery    error         // its failure, once ready is closed
	readied     sync.Once
	live        atomic.Int64 // slots in memory
	deadLetters atomic.Uint64
}

// Start builds the node and begins recovery; [Tree.Recovered] tells when it is through. Commands may be sent before:
// they wait.
func Start(cfg Config) (*Tree, error) { return start(cfg) }

// start takes options for all actors.
func start(cfg Config, options ...actor.PropsOption) (*Tree, error) {
	if err := cfg.Validate(); err != nil {
		return nil, fmt.Errorf("start node: %w", err)
	}
	t := &Tree{cfg: cfg.withDefaults(), began: time.Now(), life: rand.Uint32(), ready: make(chan struct{})}
	t.ctx, t.cancel = context.WithCancel(context.Background())
	logger := t.cfg.Logger
	t.system = actor.NewActorSystem(
		actor.WithLoggerFactory(func(*actor.ActorSystem) *slog.Logger {
			return slog.New(runtimeLog{logger: logger.Named("runtime")})
		}),
		actor.WithDeadLetterRequestLogging(false),
		actor.WithDeadLetterThrottleInterval(time.Millisecond), // its goroutine outlives Shutdown by as much
	)
	t.system.EventStream.Subscribe(func(event any) {
		if _, lost := event.(*actor.DeadLetterEvent); lost {
			t.deadLetters.Add(1)
		}
	})
	t.catalog = catalog.New(t.cfg.Store.Runs)
	t.events = events.New()
	t.ledger = &ledger{
		store: t.cfg.Store, logs: t.cfg.Logs, catalog: t.catalog, events: t.events, commits: catalog.NewLatency(),
	}
	t.router = runner.NewRouter(t.cfg.Runners...)
	t.executor = executor.New(executor.Config{
		Node: t.cfg.Node, Router: t.router, Output: output{t.cfg.Logs}, MaxRunning: t.cfg.MaxRunning, Logger: logger,
	})
	t.dispatcher = newDispatcher()
	options = append([]actor.PropsOption{actor.WithDispatcher(t.dispatcher)}, options...)
	top := func(strategy actor.SupervisorStrategy) []actor.PropsOption {
		return append(slices.Clone(options), actor.WithGuardian(strategy))
	}
	t.executorPID = t.system.Root.SpawnPrefix(actor.PropsFromProducer(
		func() actor.Actor { return t.trace(t.executor) }, top(resumeOnPanic)...), "executor")
	t.registryPID = t.system.Root.SpawnPrefix(registry.Props(t.registryDeps(options), top(restartOnPanic)...), "registry")
	t.retentionPID = t.system.Root.SpawnPrefix(actor.PropsFromProducer(
		func() actor.Actor { return t.trace(&retention{tree: t}) }, top(restartOnPanic)...), "retention")
	return t, nil
}

func (t *Tree) registryDeps(options []actor.PropsOption) *registry.Deps {
	return &registry.Deps{
		Recover:   t.recover,
		Residents: t.residents,
		Lookup:    t.lookup,
		Runnable: func(spec *soltiv1.CreateSpec) *slotdv1.Rejection {
			_, no := t.router.Pick(spec)
			return no
		},
		Writable: t.writable,
		Active:   t.catalog.Active,
		Bracket:  t.ledger.Bracket,
		Count:    t.catalog.Count,
		Live:     func(n int) { t.live.Store(int64(n)) },
		Ready:    t.becomeReady,
		Go:       t.goRoutine,
		Strategy: stopOnPanic,
		Wrap:     t.trace,
		MaxTasks: t.cfg.MaxTasks,
		Logger:   t.cfg.Logger,
		Slot: &slot.Deps{
			Commit:     t.ledger.Commit,
			CommitInto: t.ledger.CommitInto,
			Writable:   t.writable,
			Record:     t.record,
			Known:      t.known,
			Executor:   t.executorPID,
			Strategy:   stopOnPanic,
			Options:    options,
			Wrap:       t.trace,
			QueueLimit: t.cfg.SlotQueue,
			IdleAfter:  t.cfg.IdleAfter,
			KeyTTL:     KeyTTL,
			Logger:     t.cfg.Logger,
			Task: &task.Deps{
				Commit:   t.ledger.Commit,
				Writable: t.writable,
				Executor: t.executorPID,
				Options:  options,
				Wrap:     t.trace,
				Node:     t.cfg.Node,
				Life:     t.life,
				Permits:  t.cfg.MaxRunning > 0,
				Logger:   t.cfg.Logger,
			},
		},
	}
}

func (t *Tree) trace(a actor.Actor) actor.Actor { return &traced{Actor: a, logger: t.cfg.Logger} }

// Registry takes commands: Submit, Cancel, Delete, PurgeSlot of package slotdv1.
func (t *Tree) Registry() *actor.PID { return t.registryPID }

// System is the node's actor system.
func (t *Tree) System() *actor.ActorSystem { return t.system }

func (t *Tree) lookup(id string) (*slotdv1.TaskRecord, bool) {
	_, record, ok := t.catalog.SlotOf(id)
	return record, ok
}

func (t *Tree) known(slot, key string, now time.Time) *slotdv1.KeyRecord {
	record, _ := t.catalog.Key(slot, key, now.UnixMilli())
	return record
}

// output is the logs as the executor sees them.
type output struct{ *logs.Logs }

func (o output) Writer(task string, attempt uint32, stream soltiv1.OutputStreamKind) io.WriteCloser {
	return o.Logs.Writer(task, attempt, stream)
}

// Catalog answers reads, from any goroutine.
func (t *Tree) Catalog() *catalog.Catalog { return t.catalog }

// Events tells of transitions, to any goroutine. Its cursors end when the tree is stopped.
func (t *Tree) Events() *events.Hub { return t.events }

// Recovered returns once the node knows all that the store knew, or why it never will: context.Canceled when it was
// stopped before.
func (t *Tree) Recovered(ctx context.Context) error {
	select {
	case <-t.ready:
		return t.recovery
	case <-ctx.Done():
		return ctx.Err()
	case <-t.ctx.Done():
	}
	select {
	case <-t.ready:
		return t.recovery
	default:
		return t.ctx.Err()
	}
}

// Ready is nil when the node has recovered and can write.
func (t *Tree) Ready() error {
	select {
	case <-t.ready:
	default:
		return errors.New("recovery is under way")
	}
	if t.recovery != nil {
		return fmt.Errorf("recovery failed: %w", t.recovery)
	}
	return t.writable()
}

// slowCommit is how long a commit may take before the node calls itself not ready.
const slowCommit = 10 * time.Second

func (t *Tree) writable() error {
	switch kept := t.cfg.Store.Stats(); {
	case !kept.Writable && kept.Problem != nil:
		return fmt.Errorf("the store cannot write: %w", kept.Problem)
	case !kept.Writable:
		return errors.New("the store cannot write")
	case kept.Oldest > slowCommit:
		return fmt.Errorf("the store has not answered for %v", kept.Oldest.Round(time.Second))
	default:
		return nil
	}
}

// Drain admits nothing more and ends what runs, with no grace longer than the given one. With a store that outlives the
// process, what waits stays as it is, and what the restart policy repeats goes on in the next life; else everything
// ends. Drain returns when nothing is left to do, when nothing runs and the store cannot write, or when ctx ends. It may be called again with a shorter grace while it
// runs; 0 kills at once.
func (t *Tree) Drain(ctx context.Context, grace time.Duration) error {
	drained := make(chan struct{}, 1)
	waiter := t.system.Root.Spawn(actor.PropsFromFunc(func(c actor.Context) {
		if _, ok := c.Message().(*slotdv1.Drained); ok {
			drained <- struct{}{}
			c.Stop(c.Self())
		}
	}))
	t.system.Root.RequestWithCustomSender(t.registryPID, &slotdv1.Drain{
		GraceMs: uint64(max(0, grace.Milliseconds())), Keep: t.cfg.Store.Durable(),
	}, waiter)
	tick := time.NewTicker(unwritten)
	defer tick.Stop()
	for {
		select {
		case <-drained:
			return nil
		case <-ctx.Done():
			t.system.Root.Stop(waiter)
			return ctx.Err()
		case <-tick.C:
			if err := t.writable(); err != nil && t.executor.Stats().Running == 0 {
				t.system.Root.Stop(waiter)
				return fmt.Errorf("nothing runs any more, but its end could not be recorded: %w", err)
			}
		}
	}
}

// unwritten is how often a drain looks whether it only waits for a store that cannot write.
const unwritten = 3 * time.Second

// Stop stops the actors, kills what still runs and returns when nothing of the node is left but what its owner gave it.
// It must be called once. What is under way is cut off: call Drain first.
func (t *Tree) Stop() {
	root := t.system.Root
	t.cancel()
	for _, pid := range []*actor.PID{t.retentionPID, t.registryPID} {
		await(func() *actor.Future { return root.PoisonFuture(pid) })
	}
	await(func() *actor.Future { return root.RequestFuture(t.executorPID, executor.KillAll(), killAgain) })
	t.executor.Wait()
	await(func() *actor.Future { return root.PoisonFuture(t.executorPID) })
	t.routines.Wait()
	t.barrier()
	t.events.Close()
	t.system.Shutdown()
	t.dispatcher.stop()
}

// killAgain is how long the executor may take to tell all attempts to end, before it is asked once more.
const killAgain = 10 * time.Second

// await asks for something and waits until it is done, however long that takes: the library's futures for the end of an
// actor give up after 10 s.
func await(ask func() *actor.Future) {
	for ask().Wait() != nil {
		continue
	}
}
