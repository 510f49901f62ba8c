package actors_test

import (
	"errors"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/asynkron/protoactor-go/actor"
	"github.com/hashicorp/go-hclog"

	"slotd/actors"
	"slotd/actors/actortest"
	"slotd/actors/logs"
	"slotd/actors/runner"
	"slotd/actors/store"
	"slotd/actors/store/memory"
)

// machine is what outlives a node that is killed: its disk. Each life of the node has a store, logs and a runner of its
// own over it.
type machine struct {
	t      *testing.T
	dir    string // of the logs
	disk   *memory.Store
	logger hclog.Logger
	say    string // what attempts print
	hold   bool   // attempts run until they are told to end
}

// onMachine runs body in a bubble.
func onMachine(t *testing.T, body func(t *testing.T, m *machine)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		m := &machine{t: t, dir: t.TempDir(), disk: memory.New(memory.Config{})}
		body(t, m)
		if err := m.disk.Close(); err != nil {
			t.Error(err)
		}
		time.Sleep(time.Minute) // what the runtime leaves, and the last timers
		synctest.Wait()
	})
}

// life is a node that can be killed.
type life struct {
	*node
	mortal *mortal
	logs   *logs.Logs
}

// begin starts the node again. It must be ended or killed.
func (m *machine) begin(cfg actors.Config, frozen bool) *life {
	m.t.Helper()
	kept, err := logs.Open(logs.Config{Dir: m.dir}, m.logger)
	if err != nil {
		m.t.Fatal(err)
	}
	l := &life{
		node:   &node{t: m.t, dir: m.dir, runner: newWard(), faults: new(actortest.Faults)},
		mortal: &mortal{Store: m.disk, deaf: frozen},
		logs:   kept,
	}
	l.runner.say, l.runner.hold = m.say, m.hold
	cfg.Store, cfg.Logs, cfg.Runners, cfg.Logger = l.mortal, kept, []runner.Runner{l.runner}, m.logger
	l.Tree, err = actors.StartWith(cfg, actor.WithReceiverMiddleware(l.faults.Middleware, actortest.Looks))
	if err != nil {
		m.t.Fatal(err)
	}
	return l
}

// kill ends the life: nothing of what it does from now on reaches the disk.
func (l *life) kill() {
	l.t.Helper()
	l.mortal.die()
	l.Stop()
	if err := l.logs.Shutdown(); err != nil {
		l.t.Error(err)
	}
}

// mortal is a store as a life sees it.
type mortal struct {
	store.Store

	mu     sync.Mutex
	mute   bool // what is committed is durable, and nobody is told
	deaf   bool // nothing is committed, and nobody is told
	dead   bool
	untold []func(error)
}

var errDead = errors.New("the node is dead")

func (m *mortal) Commit(b *store.Batch, done func(error)) {
	if !m.take(b, done) {
		done(errDead)
	}
}

func (m *mortal) take(b *store.Batch, done func(error)) bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	switch {
	case m.dead:
		return false
	case m.deaf:
		m.untold = append(m.untold, done)
	case m.mute:
		m.Store.Commit(b, func(error) {})
		m.untold = append(m.untold, done)
	default:
		m.Store.Commit(b, done)
	}
	return true
}

// fallSilent lets commits become durable without a word from now on.
func (m *mortal) fallSilent() {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.mute = true
}

func (m *mortal) die() {
	m.mu.Lock()
	m.dead = true
	untold := m.untold
	m.untold = nil
	m.mu.Unlock()
	for _, done := range untold {
		done(errDead)
	}
}
