package sim

import (
	"context"
	"errors"
	"fmt"
	"hash/fnv"
	"io"
	"sync"
	"time"

	"slotd/actors/runner"
	soltiv1 "slotd/messages/solti/v1"
)

var (
	errBusy    = errors.New("resource temporarily unavailable")
	errAbsent  = errors.New("no such file or directory")
	errCrashed = errors.New("the node has crashed")
)

// nonceLabel is the label that tells what a spec was made for, which decides how its attempts behave.
const nonceLabel = "nonce"

// machine is where processes run. They outlive the node.
type machine struct {
	seed  uint64
	world *world

	mu     sync.Mutex
	living map[*process]struct{}
}

// character is how one attempt behaves.
type character struct {
	spawn   time.Duration // until it runs
	never   bool          // it can never be started
	busy    bool          // it cannot be started now
	patient bool          // its start is not given up
	lasts   time.Duration // until it ends by itself
	forever bool          // it does not
	exit    runner.Exit
	deaf    bool          // to a stop
	parting time.Duration // between a stop and its end
	reaping time.Duration // between a kill and its end
	lines   int
}

// characterOf depends on the seed, the nonce and the attempt alone, whatever the task's id.
func (m *machine) characterOf(nonce string, number uint32) character {
	h := fnv.New64a()
	_, _ = io.WriteString(h, attempt{nonce, number}.String()) // never fails
	d := newDice(m.seed, h.Sum64())
	c := character{
		spawn: pick(d, 0, 0, d.upTo(5*time.Millisecond)), never: d.one(40), busy: d.one(12), patient: d.one(2),
		lasts: pick(d, 0, d.upTo(time.Millisecond), d.upTo(100*time.Millisecond), d.upTo(time.Second)), forever: d.one(6),
		exit: pick(d, runner.Exit{}, runner.Exit{}, runner.Exit{Code: 1}, runner.Exit{Code: 7}, runner.Exit{Signal: 11}),
		deaf: d.one(4), parting: pick(d, 0, d.upTo(50*time.Millisecond), d.upTo(time.Second)),
		reaping: pick(d, 0, d.upTo(20*time.Millisecond)), lines: pick(d, 0, 0, 1, d.n(6)),
	}
	c.exit.OutOfMemory = c.exit.Code == 7 && d.one(4)
	return c
}

// crew is the machine as one life of the node sees it: the runner.
type crew struct {
	*machine
	life *life
}

// Info implements runner.Runner.
func (*crew) Info() runner.Info { return runner.Info{Name: "crew", Kind: "subprocess"} }

// Start implements runner.Runner.
func (c *crew) Start(ctx context.Context, a runner.Attempt) (runner.Process, error) {
	nature := c.characterOf(a.Spec.GetLabels()[nonceLabel], a.Number)
	if nature.patient {
		ctx = context.WithoutCancel(ctx)
	}
	select {
	case <-time.After(nature.spawn):
	case <-ctx.Done():
	case <-c.life.gone:
	}
	name := attempt{a.TaskID, a.Number}
	c.life.tryCrash("fork/before")
	err := errCrashed
	p := &process{
		machine: c.machine, life: c.life, slot: a.Slot, attempt: name, character: nature,
		stdout: a.Stdout, stderr: a.Stderr,
		term: make(chan struct{}, 1), kill: make(chan struct{}, 1), dead: make(chan struct{}),
	}
	c.life.act(func(note func(fact)) {
		switch err = c.refuse(ctx, nature); {
		case err != nil:
			note(balked{a.Slot, name, nature.never})
		default:
			note(spawned{a.Slot, name, c.world.recorded(name)})
			c.mu.Lock()
			defer c.mu.Unlock()
			c.living[p] = struct{}{}
		}
	})
	if err != nil {
		return nil, err
	}
	go p.live()
	c.life.tryCrash("fork/after")
	return p, nil
}

func (c *crew) refuse(ctx context.Context, nature character) error {
	switch {
	case ctx.Err() != nil:
		return ctx.Err()
	case nature.never:
		return &runner.SpawnError{Code: 127, Path: "sim", Err: errAbsent}
	case nature.busy:
		return errBusy
	default:
		return nil
	}
}

// alive counts processes.
func (m *machine) alive() int {
	m.mu.Lock()
	defer m.mu.Unlock()
	return len(m.living)
}

// sweep kills what earlier lives have left, and returns when it is gone.
func (m *machine) sweep() {
	m.mu.Lock()
	var left []*process
	for p := range m.living {
		left = append(left, p)
	}
	m.mu.Unlock()
	for _, p := range left {
		signal(p.kill)
	}
	for _, p := range left {
		<-p.dead
	}
}

// process is one attempt. It is a goroutine of the machine, which needs no node.
type process struct {
	*machine
	character
	life *life // that started it
	slot string
	attempt
	stdout, stderr io.Writer

	term, kill, dead chan struct{}
	exit             runner.Exit // once dead

	pipe sync.Mutex
	cut  bool // nobody reads what it writes any more
}

func (p *process) live() {
	var own bool
	p.exit, own = p.run()
	if !own && p.reaping > 0 {
		time.Sleep(p.reaping)
	}
	p.life.tryCrash("process/dying")
	p.world.note(func(note func(fact)) {
		note(died{p.slot, p.attempt, p.exit.Code, p.exit.Signal, own})
		p.mu.Lock()
		defer p.mu.Unlock()
		delete(p.living, p)
	})
	p.life.tryCrash("process/dead")
	close(p.dead)
}

// run returns how the process ends, and whether it does so by itself.
func (p *process) run() (exit runner.Exit, own bool) {
	pause := p.lasts / time.Duration(p.lines+1)
	for n := range p.lines {
		p.print(n)
		if exit, asked := p.wait(pause); asked {
			return exit, false
		}
	}
	if exit, asked := p.wait(pause); asked {
		return exit, false
	}
	if p.forever {
		exit, _ := p.wait(1000 * time.Hour)
		return exit, false
	}
	return p.character.exit, true
}

// wait returns after a time, or with the end that was asked for.
func (p *process) wait(d time.Duration) (runner.Exit, bool) {
	timer := time.NewTimer(d)
	defer timer.Stop()
	term := p.term
	if p.deaf {
		term = nil
	}
	select {
	case <-timer.C:
		return runner.Exit{}, false
	case <-p.kill:
		return runner.Exit{Signal: 9}, true
	case <-term:
	}
	parting := time.NewTimer(p.parting)
	defer parting.Stop()
	select {
	case <-parting.C:
		return runner.Exit{Signal: 15}, true
	case <-p.kill:
		return runner.Exit{Signal: 9}, true
	}
}

// print writes a line, alternating between the streams. What goes into the pipe of a dead node is lost.
func (p *process) print(n int) {
	to, stream := p.stdout, soltiv1.OutputStreamKind_OUTPUT_STREAM_KIND_STDOUT
	if n%2 == 1 {
		to, stream = p.stderr, soltiv1.OutputStreamKind_OUTPUT_STREAM_KIND_STDERR
	}
	p.pipe.Lock()
	defer p.pipe.Unlock()
	if p.cut {
		return
	}
	if _, err := fmt.Fprintf(to, "%d\n", n/2); err == nil {
		p.life.note(printed{p.attempt, stream, n / 2})
	}
}

// Wait implements runner.Process. A dead node learns nothing.
func (p *process) Wait() runner.Exit {
	select {
	case <-p.dead:
		return p.exit
	case <-p.life.gone:
		p.pipe.Lock()
		defer p.pipe.Unlock()
		p.cut = true
		return runner.Exit{Signal: 9}
	}
}

// Stop implements runner.Process.
func (p *process) Stop() { p.life.act(func(func(fact)) { signal(p.term) }) }

// Kill implements runner.Process.
func (p *process) Kill() { p.life.act(func(func(fact)) { signal(p.kill) }) }

func signal(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}
