package actors

import (
	"runtime"
	"sync/atomic"
	"time"
)

// dispatcher runs mailboxes on as many goroutines as there are processors, which take them from one queue. The library's
// own makes a goroutine for each burst of messages; to begin one, or to wake one that sleeps, costs more than most
// handlers do.
//
// Few handlers block, and not for long: the executor's, while it tells a tree to end, and retention's, while it deletes.
// When all goroutines are with such handlers, the mailboxes behind them wait for [stall]: as long as no turn ends and
// something is queued, more goroutines come. They stay a while, so that what blocks for longer delays only once.
type dispatcher struct {
	size     atomic.Int64
	work     chan func() // nil = end
	workers  atomic.Int64
	turns    atomic.Uint64 // that have ended
	watching atomic.Bool
	watch    *time.Timer
	seen     atomic.Uint64 // turns at the last look of the timer
	calm     int           // looks since turns did not end; of the timer
	stopping atomic.Bool
	alive    atomic.Int64  // goroutines; a timer may make one when the last has ended, which a WaitGroup would not bear
	deserted chan struct{} // told when none is alive any more, while stopping
}

const (
	messagesInARow = 300 // one actor handles before the scheduler looks at other goroutines
	mostQueued     = 4096
	stall          = 10 * time.Millisecond
	calmLooks      = 100 // before some of the goroutines that are too many end
)

func newDispatcher() *dispatcher {
	d := &dispatcher{work: make(chan func(), mostQueued), deserted: make(chan struct{}, 1)}
	d.size.Store(int64(runtime.GOMAXPROCS(0)))
	d.watch = time.AfterFunc(stall, d.look)
	d.watch.Stop()
	return d
}

// Schedule implements actor.Dispatcher. It never waits.
func (d *dispatcher) Schedule(mailbox func()) {
	select {
	case d.work <- mailbox:
	default:
		d.begin(mailbox)
		return
	}
	if d.workers.Load() < d.size.Load() {
		d.employ(1)
	}
	if len(d.work) > 0 && !d.watching.Load() && d.watching.CompareAndSwap(false, true) {
		d.seen.Store(d.turns.Load())
		d.watch.Reset(stall)
	}
}

// Throughput implements actor.Dispatcher.
func (d *dispatcher) Throughput() int { return messagesInARow }

func (d *dispatcher) employ(n int64) {
	d.workers.Add(n)
	for range n {
		d.begin(d.serve)
	}
}

// begin runs f on a goroutine of its own.
func (d *dispatcher) begin(f func()) {
	d.alive.Add(1)
	go func() {
		defer d.leave()
		f()
	}()
}

func (d *dispatcher) leave() {
	if d.alive.Add(-1) == 0 && d.stopping.Load() {
		select {
		case d.deserted <- struct{}{}:
		default:
		}
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
	if !d.stopping.Load() {
		if mailbox := <-d.work; mailbox != nil {
			return mailbox
		}
	}
	d.workers.Add(-1) // first, so that whoever schedules now does not count on it
	if !d.stopping.Load() {
		return nil
	}
	for range len(d.work) { // what was scheduled late has its turn; stop goes on sending nil
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
	return nil
}

// look is the timer: it sees to it that turns end while something is queued, and that goroutines end which are too many.
// One look follows on the other: each sets the timer for the next.
func (d *dispatcher) look() {
	idle := func() bool { return len(d.work) == 0 && d.workers.Load() <= d.size.Load() || d.stopping.Load() }
	if idle() {
		d.watching.Store(false)
		if idle() || !d.watching.CompareAndSwap(false, true) {
			return
		}
	}
	d.size.Store(int64(runtime.GOMAXPROCS(0)))
	turns := d.turns.Load()
	if queued := int64(len(d.work)); queued > 0 && turns == d.seen.Load() {
		d.employ(min(max(1, d.workers.Load()), queued))
		d.calm = 0
	}
	if d.calm++; d.calm == calmLooks {
		d.calm = 0
		d.dismiss()
	}
	d.seen.Store(turns)
	d.watch.Reset(stall)
}

// dismiss ends half of the goroutines that are too many.
func (d *dispatcher) dismiss() {
	for range (d.workers.Load() - d.size.Load() + 1) / 2 {
		select {
		case d.work <- nil:
		default:
		}
	}
}

// stop lets the goroutines end and waits for them. A timer that has fired may still be about to schedule the mailbox of an
// actor that has ended: it has its turn, now or after stop has returned.
func (d *dispatcher) stop() {
	d.stopping.Store(true)
	d.watch.Stop()
	for d.alive.Load() > 0 {
		select {
		case d.work <- nil:
		case <-d.deserted:
		}
	}
}
