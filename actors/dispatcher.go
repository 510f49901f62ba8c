package actors

import (
	"runtime"
	"sync"
	"sync/atomic"
	"time"
)

// dispatcher runs mailboxes on goroutines that are kept for the next one. The library's own makes a goroutine for each
// burst of messages, and growing its stack anew each time costs more than most handlers do.
//
// A mailbox never waits for another: when no kept goroutine is free, a new one is made. What a burst has made goes
// again, half of it a second.
type dispatcher struct {
	work     chan func() // nil = end
	idle     atomic.Int64
	stopping atomic.Bool
	shrink   *time.Timer
	routines sync.WaitGroup
}

const (
	messagesInARow = 300 // one actor handles before others get their turn
	trimEvery      = time.Second
	mostIdle       = 256 // goroutines kept in a burst
)

func newDispatcher() *dispatcher {
	d := &dispatcher{work: make(chan func())}
	d.shrink = time.AfterFunc(trimEvery, d.release)
	return d
}

// Schedule implements actor.Dispatcher.
func (d *dispatcher) Schedule(mailbox func()) {
	select {
	case d.work <- mailbox:
	default:
		d.routines.Go(func() { d.serve(mailbox) })
	}
}

// Throughput implements actor.Dispatcher.
func (d *dispatcher) Throughput() int { return messagesInARow }

func (d *dispatcher) serve(mailbox func()) {
	for mailbox != nil {
		mailbox()
		if d.idle.Add(1) > mostIdle || d.stopping.Load() {
			d.idle.Add(-1)
			return
		}
		mailbox = <-d.work
		d.idle.Add(-1)
	}
}

// release lets half of the idle goroutines end, down to a few.
func (d *dispatcher) release() {
	for range (d.idle.Load() - int64(2*runtime.GOMAXPROCS(0)) + 1) / 2 {
		select {
		case d.work <- nil:
		default:
		}
	}
	d.shrink.Reset(trimEvery)
	if d.stopping.Load() { // it may have stopped before the reset
		d.shrink.Stop()
	}
}

// stop lets the kept goroutines end and waits for them. No mailbox may have anything left to say.
func (d *dispatcher) stop() {
	d.stopping.Store(true)
	d.shrink.Stop()
	ended := make(chan struct{})
	go func() {
		d.routines.Wait()
		close(ended)
	}()
	for {
		select {
		case d.work <- nil:
		case <-ended:
			return
		}
	}
}
