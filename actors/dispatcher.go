package actors

import (
	"runtime"
	"sync"
	"sync/atomic"
	"time"
)

// dispatcher runs mailboxes on as many goroutines as the machine runs at a time, which take them from one queue. The
// library's own makes a goroutine for each burst of messages; to begin one, or to wake one that sleeps, costs more than
// most handlers do.
//
// Handlers do not block. Should one do so nevertheless, the mailboxes behind it wait for [stall] at most: as long as no
// turn ends and there is something to run, more goroutines come, which leave again when nothing is left.
type dispatcher struct {
	size     int64
	work     chan func() // nil = end
	workers  atomic.Int64
	turns    atomic.Uint64 // that have ended
	watching atomic.Bool
	watch    *time.Timer
	seen     uint64 // turns at the last look of the timer
	stopping atomic.Bool
	routines sync.WaitGroup
}

const (
	messagesInARow = 300 // one actor handles before it lets others run
	mostQueued     = 4096
	stall          = 10 * time.Millisecond
)

func newDispatcher() *dispatcher {
	d := &dispatcher{size: int64(runtime.GOMAXPROCS(0)), work: make(chan func(), mostQueued)}
	d.watch = time.AfterFunc(stall, d.look)
	d.watch.Stop()
	return d
}

// Schedule implements actor.Dispatcher. It never waits.
func (d *dispatcher) Schedule(mailbox func()) {
	select {
	case d.work <- mailbox:
	default:
		d.routines.Go(mailbox)
		return
	}
	if d.workers.Load() < d.size {
		d.employ(1)
	}
	if len(d.work) > 0 && !d.watching.Load() && d.watching.CompareAndSwap(false, true) {
		d.watch.Reset(stall)
	}
}

// Throughput implements actor.Dispatcher.
func (d *dispatcher) Throughput() int { return messagesInARow }

func (d *dispatcher) employ(n int64) {
	d.workers.Add(n)
	for range n {
		d.routines.Go(d.serve)
	}
}

func (d *dispatcher) serve() {
	for mailbox := d.next(); mailbox != nil; mailbox = d.next() {
		mailbox()
		d.turns.Add(1)
	}
}

// next waits for a mailbox; nil tells the goroutine to end.
func (d *dispatcher) next() func() {
	if d.workers.Load() <= d.size && !d.stopping.Load() {
		if mailbox := <-d.work; mailbox != nil {
			return mailbox
		}
	}
	d.workers.Add(-1) // first, so that whoever schedules now does not count on it
	for {
		select {
		case mailbox := <-d.work:
			if mailbox != nil {
				d.workers.Add(1)
				return mailbox
			}
		default:
			return nil
		}
	}
}

// look is the timer: while something is queued, it sees to it that turns end. One look after the other: each sets the
// timer for the next.
func (d *dispatcher) look() {
	if len(d.work) == 0 || d.stopping.Load() {
		d.watching.Store(false)
		if len(d.work) == 0 || d.stopping.Load() || !d.watching.CompareAndSwap(false, true) {
			return
		}
	}
	turns := d.turns.Load()
	if turns == d.seen {
		d.employ(min(max(1, d.workers.Load()), int64(len(d.work))))
	}
	d.seen = turns
	d.watch.Reset(stall)
}

// stop lets the goroutines end and waits for them. No mailbox may have anything left to say.
func (d *dispatcher) stop() {
	d.stopping.Store(true)
	d.watch.Stop()
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
