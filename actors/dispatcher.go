package actors

import (
	"runtime"
	"sync"
	"sync/atomic"
)

// dispatcher runs mailboxes on goroutines that are kept for the next one. The library's own makes a goroutine for each
// burst of messages, and growing its stack anew each time costs more than most handlers do.
//
// A mailbox never waits for another: when no kept goroutine is free, a new one is made.
type dispatcher struct {
	work     chan func()
	done     chan struct{}
	idle     atomic.Int64
	keep     int64
	routines sync.WaitGroup
}

// messagesInARow is how many messages one actor handles before others get their turn.
const messagesInARow = 300

func newDispatcher() *dispatcher {
	return &dispatcher{
		work: make(chan func()),
		done: make(chan struct{}),
		keep: int64(4 * runtime.GOMAXPROCS(0)),
	}
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
		if d.idle.Add(1) > d.keep {
			d.idle.Add(-1)
			return
		}
		select {
		case mailbox = <-d.work:
			d.idle.Add(-1)
		case <-d.done:
			return
		}
	}
}

// stop lets the kept goroutines end and waits for them. Mailboxes that still have something to say get new ones.
func (d *dispatcher) stop() {
	close(d.done)
	d.routines.Wait()
}
