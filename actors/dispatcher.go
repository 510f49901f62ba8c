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
	work     chan func()
	trim     chan struct{}
	done     chan struct{}
	idle     atomic.Int64
	shrink   *time.Timer
	routines sync.WaitGroup
}

const (
	messagesInARow = 300 // one actor handles before others get their turn
	trimEvery      = time.Second
	mostIdle       = 256 // goroutines kept in a burst
)

func newDispatcher() *dispatcher {
	d := &dispatcher{work: make(chan func()), trim: make(chan struct{}), done: make(chan struct{})}
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
	for {
		mailbox()
		if d.idle.Add(1) > mostIdle {
			d.idle.Add(-1)
			return
		}
		select {
		case mailbox = <-d.work:
			d.idle.Add(-1)
		case <-d.trim:
			d.idle.Add(-1)
			return
		case <-d.done:
			return
		}
	}
}

// release lets half of the idle goroutines end, down to a few.
func (d *dispatcher) release() {
	for range (d.idle.Load() - int64(2*runtime.GOMAXPROCS(0)) + 1) / 2 {
		select {
		case d.trim <- struct{}{}:
		default:
		}
	}
	d.shrink.Reset(trimEvery)
	select {
	case <-d.done: // stop may have been before the reset
		d.shrink.Stop()
	default:
	}
}

// stop lets the kept goroutines end and waits for them. No mailbox may have anything left to say.
func (d *dispatcher) stop() {
	close(d.done)
	d.shrink.Stop()
	d.routines.Wait()
}
