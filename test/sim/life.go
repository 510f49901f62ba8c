package sim

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing/synctest"
	"time"

	"github.com/asynkron/protoactor-go/actor"
	"github.com/hashicorp/go-hclog"

	"slotd/actors"
	"slotd/actors/actortest"
	"slotd/actors/logs"
	"slotd/actors/runner"
	"slotd/actors/slot"
	"slotd/actors/store"
	"slotd/messages"
	slotdv1 "slotd/messages/slotd/v1"
	soltiv1 "slotd/messages/solti/v1"
)

// life is one life of the node, from its start to its crash or stop.
type life struct {
	world  *world
	number int
	last   bool
	tree   *actors.Tree
	disk   *disk
	logs   *logs.Logs
	dir    string // of the logs
	faults *actortest.Faults

	gone    chan struct{} // closed by the crash, or after the stop
	crashAt string        // where the node crashes by itself
	until   atomic.Int64  // how often that place is passed before
	dead    bool          // under the world's lock
	halted  sync.Once
	calm    chan struct{} // closed when clients may go
}

// start starts the node on what earlier lives have left.
func (w *world) start(dir string, last bool) *life {
	d := w.dice
	l := &life{world: w, last: last, dir: dir, faults: new(actortest.Faults), gone: make(chan struct{}), calm: make(chan struct{})}
	var err error
	logger := hclog.New(&hclog.LoggerOptions{Level: hclog.Error, Output: complaints{l}, DisableTime: true})
	if l.logs, err = logs.Open(logs.Config{Dir: dir}, logger); err != nil {
		w.t.Fatal(err)
	}
	l.disk = newDisk(w.image, w.temper(last))
	l.disk.world = l.instant
	l.disk.wrote = func(b *store.Batch) {
		if !b.Empty() {
			w.add(wrote{b})
		}
	}
	l.disk.refused = func() { w.add(failed{"the disk"}) }
	l.disk.at = l.tryCrash
	if !last && d.one(2) {
		l.crashAt = pick(d, "disk/taken", "disk/synced", "fork/before", "fork/after", "process/dying", "process/dead")
		l.until.Store(int64(d.n(10)))
		if strings.HasPrefix(l.crashAt, "disk/") { // passed more often
			l.until.Store(int64(d.n(40)))
		}
	}
	if w.plan.panics && !last {
		l.arm(d)
	}
	w.mu.Lock()
	w.lives++
	l.number = w.lives
	w.add(began{})
	w.mu.Unlock()
	if last && d.one(4) { // even the last life may meet a broken disk at first; it is healed before all settles
		l.outage(d)
	}
	l.disk.open()
	l.tree, err = actors.StartWith(actors.Config{
		Store: l.disk, Logs: l.logs, Runners: []runner.Runner{&crew{w.machine, l}}, SlotQueue: w.plan.slotQueue,
		MaxRunning: w.plan.maxRunning, RetainTasks: w.plan.retain, IdleAfter: w.plan.idleAfter, Logger: logger,
	}, actor.WithReceiverMiddleware(l.faults.Middleware))
	if err != nil {
		w.t.Fatal(err)
	}
	l.instant(func() { w.present = l })
	return l
}

func (w *world) temper(last bool) temper {
	d := newDice(w.seed, w.dice.stream())
	t := temper{
		delay: func() time.Duration { return d.mostly(w.plan.sync) },
		keep:  func(n int) int { return d.n(n + 1) },
		load: func() error {
			if !last && d.one(30) {
				return errRead
			}
			return nil
		},
	}
	if w.plan.fail > 0 {
		t.fail = func() bool { return d.one(w.plan.fail) }
	}
	return t
}

// arm lets a few actors panic, before or after they have dealt with a message.
func (l *life) arm(d *dice) {
	for range 1 + d.n(3) {
		at := pick(d, points...)
		l.faults.Arm(at.actor, at.message, d.n(6), d.one(2))
	}
}

// points are where panics are injected: what an attempt or an answer depends on.
var points = []struct {
	actor   string
	message any
}{
	{"task.taskActor", &slotdv1.AttemptStarted{}},
	{"task.taskActor", &slotdv1.AttemptExited{}},
	{"task.taskActor", &slotdv1.StopTask{}},
	{"task.taskActor", store.Committed{}},
	{"slot.slotActor", &slotdv1.Submit{}},
	{"slot.slotActor", &slot.Bulk{}},
	{"slot.slotActor", &slotdv1.Cancel{}},
	{"slot.slotActor", &slotdv1.TaskFinished{}},
	{"slot.slotActor", store.Committed{}},
	{"registry.registry", &slotdv1.Submit{}},
	{"registry.registry", &slotdv1.SubmitTasks{}},
	{"registry.registry", &slotdv1.Decided{}},
	{"registry.registry", &slotdv1.Retire{}},
}

// instant runs f unless the node has crashed.
func (l *life) instant(f func()) bool {
	l.world.mu.Lock()
	defer l.world.mu.Unlock()
	if !l.dead {
		f()
	}
	return !l.dead
}

// act is an instant with something to write down.
func (l *life) act(f func(note func(fact))) bool { return l.instant(func() { f(l.world.add) }) }

func (l *life) note(f fact) { l.act(func(note func(fact)) { note(f) }) }

// complaints takes the node's log.
type complaints struct{ *life }

func (c complaints) Write(p []byte) (int, error) {
	c.note(complained{strings.TrimSpace(string(p))})
	return len(p), nil
}

// tryCrash is called at the places where a crash is worth trying.
func (l *life) tryCrash(point string) {
	if point == l.crashAt && l.until.Add(-1) == -1 {
		l.crash(point)
	}
}

// crash is the end of a life, in an instant.
func (l *life) crash(point string) {
	l.faults.Disarm() // an actor that fails while it stops is past all supervision
	l.act(func(note func(fact)) {
		l.disk.crash()
		note(faulted{l.faults.Hits()})
		note(crashed{point})
		l.dead = true
		l.world.present = nil
		close(l.gone)
	})
}

// outage breaks the disk and heals it some time later.
func (l *life) outage(d *dice) {
	l.note(failed{"the disk"})
	l.disk.breakDown()
	lasts := d.mostly(500 * time.Millisecond)
	go func() {
		select {
		case <-time.After(lasts):
		case <-l.gone:
		case <-l.calm:
		}
		l.disk.heal()
	}()
}

// spend lets a life pass, and returns where its logs are.
func (l *life) spend() string {
	w, d := l.world, l.world.dice
	ctx, cancel := l.context(time.Hour)
	defer cancel()
	switch err := l.tree.Recovered(ctx); {
	case err == nil:
		l.note(ready{l.sights()})
	case errors.Is(err, errRead):
		l.note(failed{"reading"})
	}
	for range 1 + d.n(3) {
		if !l.sleep(d.mostly(300 * time.Millisecond)) {
			break
		}
		if w.plan.outages && d.one(2) {
			l.outage(d)
		}
	}
	switch {
	case l.last:
		l.settle()
		return l.stop(d)
	case d.one(3):
		return l.stop(d)
	default:
		l.crash("any time")
		return l.bury()
	}
}

// context ends after a time, and with the life.
func (l *life) context(limit time.Duration) (context.Context, context.CancelFunc) {
	ctx, cancel := context.WithTimeout(context.Background(), limit)
	go func() {
		select {
		case <-l.gone:
			cancel()
		case <-ctx.Done():
		}
	}()
	return ctx, cancel
}

// sleep says whether the node still lives after a time.
func (l *life) sleep(d time.Duration) bool {
	select {
	case <-l.gone:
		return false
	case <-time.After(d):
		return true
	}
}

// bury takes down what a crash has left of a node, unheard by anyone. What it still writes to its logs is not seen by
// the next life, which begins with a copy.
func (l *life) bury() string {
	next := filepath.Join(l.world.dir, fmt.Sprint("logs-", l.number))
	if err := copyFiles(next, l.dir); err != nil {
		l.world.t.Error(err)
	}
	l.takeDown()
	return next
}

// copyFiles copies a tree of files of which some may vanish meanwhile.
func copyFiles(to, from string) error {
	return filepath.WalkDir(from, func(path string, entry fs.DirEntry, err error) error {
		if errors.Is(err, fs.ErrNotExist) {
			return nil
		}
		if err != nil {
			return err
		}
		target := filepath.Join(to, strings.TrimPrefix(path, from))
		if entry.IsDir() {
			return os.MkdirAll(target, 0o700)
		}
		data, err := os.ReadFile(path)
		if errors.Is(err, fs.ErrNotExist) {
			return nil
		}
		if err != nil {
			return err
		}
		return os.WriteFile(target, data, 0o600)
	})
}

// stop ends a life as an operator does. A crash may come before it is through.
func (l *life) stop(d *dice) string {
	l.note(drained{})
	l.drain(d.upTo(2*time.Second), d.upTo(2*time.Second))
	l.halt()
	if !l.act(func(note func(fact)) {
		note(faulted{l.faults.Hits()})
		note(stopped{l.world.machine.alive()})
		l.dead = true
		l.world.present = nil
		close(l.gone)
	}) {
		return l.bury()
	}
	l.takeDown()
	return l.dir
}

// drain ends what runs, with some grace; after a while it asks again, with none.
func (l *life) drain(grace, hurry time.Duration) {
	ctx, cancel := l.context(time.Hour)
	defer cancel()
	ask := func(grace time.Duration) {
		if err := l.tree.Drain(ctx, grace); err != nil && !errors.Is(err, context.Canceled) {
			l.world.t.Errorf("drain: %v", err)
		}
	}
	var asked sync.WaitGroup
	through := make(chan struct{})
	asked.Go(func() {
		ask(grace)
		close(through)
	})
	select {
	case <-through:
	case <-time.After(hurry):
		ask(0)
	}
	asked.Wait()
}

// halt stops the tree; it must be stopped once, and may crash meanwhile.
func (l *life) halt() {
	l.faults.Disarm()
	l.halted.Do(l.tree.Stop)
}

// takeDown leaves nothing of a life in memory.
func (l *life) takeDown() {
	l.halt()
	if err := errors.Join(l.disk.Close(), l.logs.Shutdown()); err != nil {
		l.world.t.Error(err)
	}
}

// settle ends all accidents, gives everything time to end, ends what never would, and writes down what is left.
func (l *life) settle() {
	w := l.world
	w.mu.Lock()
	w.over = true
	w.mu.Unlock()
	close(l.calm)
	l.disk.calm()
	time.Sleep(5 * time.Second)
	for n := range w.plan.slots {
		c := &client{world: w, dice: w.dice}
		c.purge(l, laneName(n), true)
	}
	time.Sleep(5 * time.Second)
	synctest.Wait()
	view := l.tree.Introspect()
	tasks := l.sights()
	for _, s := range tasks {
		l.note(told{s.task, l.read(s.task)})
	}
	l.note(settled{
		running: w.machine.alive(), attempts: int(view.GetAttemptsRunning() + view.GetAttemptsWaiting()),
		active: int(view.GetTasksActive()), slots: int(view.GetSlotsLive()), tasks: tasks, folders: l.folders(),
	})
}

// sights are all tasks that the node shows.
func (l *life) sights() []sight {
	var all []sight
	tasks, _ := l.tree.Catalog().Tasks(messages.Query{Limit: 1_000_000})
	for _, t := range tasks {
		all = append(all, sightOf(t))
	}
	return all
}

func (l *life) folders() []string {
	entries, err := os.ReadDir(l.dir)
	if err != nil {
		l.world.t.Error(err)
	}
	var names []string
	for _, e := range entries {
		names = append(names, e.Name())
	}
	return names
}

// read reads all of a task's log.
func (l *life) read(task string) []*soltiv1.OutputEventProto {
	ctx := context.Background()
	cursor, err := l.tree.OpenLog(ctx, task, messages.LogQuery{Tail: messages.AllLines, HasTail: true, Encoding: messages.EncodeProto})
	if err != nil {
		l.world.t.Errorf("open the log of %s: %v", task, err)
		return nil
	}
	defer cursor.Close()
	var events []*soltiv1.OutputEventProto
	for {
		batch, err := cursor.Next(ctx)
		events = append(events, decode(l.world.t, batch.Data)...)
		if errors.Is(err, io.EOF) {
			return events
		}
		if err != nil {
			l.world.t.Errorf("read the log of %s: %v", task, err)
			return events
		}
	}
}
