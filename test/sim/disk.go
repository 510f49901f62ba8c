package sim

import (
	"context"
	"errors"
	"sync"
	"time"

	"slotd/actors/store"
	"slotd/actors/store/memory"
	slotdv1 "slotd/messages/slotd/v1"
)

var (
	errDisk = errors.New("no space left on device")
	errRead = errors.New("input/output error")
)

// image is what a disk has kept: it outlives the node. Make one with newImage.
type image struct{ *memory.Store }

func newImage(runs int) image { return image{memory.New(memory.Config{Runs: runs})} }

// put applies a batch and returns when it can be read.
func (i image) put(b *store.Batch) {
	applied := make(chan struct{})
	i.Commit(b, func(error) { close(applied) })
	<-applied
}

// temper is how a disk behaves. Its zero value is a disk that is quick and never fails.
type temper struct {
	delay func() time.Duration // of one sync
	fail  func() bool          // the next batch fails
	load  func() error         // of recovery
	keep  func(n int) int      // how many of n batches that were not acknowledged a crash leaves on the disk
}

// disk is the store of one life of the node: it keeps the promises of store.Store, with a temper. Batches that have
// gathered share one sync; then each reaches the image, or fails. A failure is not overtaken: once a batch has failed,
// so does all that comes before the disk has worked off its queue.
//
// world is asked before anything reaches the image; the disk of a crashed node is not heard any more.
type disk struct {
	image
	temper

	// world runs f at once, unless the node has crashed.
	world func(f func()) bool
	// wrote is told of every batch that has reached the image, refused of the first of several that failed.
	wrote   func(*store.Batch)
	refused func()
	// at is called where a crash is worth trying: a batch is taken up, or has reached the image unacknowledged.
	at func(point string)

	mu      sync.Mutex
	wake    sync.Cond
	queue   []commit // not yet in the image, oldest first
	broken  bool     // an outage: all fails
	failing bool     // until the queue is empty
	closed  bool     // takes no more
	dead    bool     // with its node
	ended   bool     // the routine is through
	done    chan struct{}
	commits uint64
	records uint64
}

type commit struct {
	batch *store.Batch
	done  func(error)
	late  bool // came after Close, but must be answered after what came before
}

// newDisk opens an image. Close ends its routine.
func newDisk(on image, t temper) *disk {
	d := &disk{
		image: on, temper: t, done: make(chan struct{}),
		world:   func(f func()) bool { f(); return true },
		wrote:   func(*store.Batch) {},
		refused: func() {},
		at:      func(string) {},
	}
	d.wake.L = &d.mu
	return d
}

func (d *disk) open() *disk {
	go d.serve()
	return d
}

// Commit implements store.Store.
func (d *disk) Commit(b *store.Batch, done func(error)) {
	d.mu.Lock()
	if d.ended {
		d.mu.Unlock()
		done(store.ErrClosed)
		return
	}
	d.queue = append(d.queue, commit{b, done, d.closed})
	d.mu.Unlock()
	d.wake.Signal()
}

func (d *disk) serve() {
	defer close(d.done)
	for {
		d.mu.Lock()
		for len(d.queue) == 0 && !d.closed {
			d.failing = false
			d.wake.Wait()
		}
		gathered := len(d.queue)
		if gathered == 0 {
			d.ended = true
			d.mu.Unlock()
			return
		}
		hurry := d.closed || d.dead
		d.mu.Unlock()
		if d.delay != nil && !hurry {
			time.Sleep(d.delay())
		}
		for range gathered {
			d.serveOne()
		}
	}
}

// serveOne deals with the oldest batch. It leaves the queue only when it has been dealt with, so that a crash finds it.
func (d *disk) serveOne() {
	d.at("disk/taken")
	d.mu.Lock()
	c := d.queue[0]
	was := d.failing
	if !c.late && (d.broken || d.fail != nil && !d.closed && d.fail()) {
		d.failing = true
	}
	failing, began := d.failing, d.failing && !was
	d.mu.Unlock()

	err := store.ErrClosed
	alive := d.world(func() {
		d.mu.Lock()
		defer d.mu.Unlock()
		d.queue = d.queue[1:]
		switch {
		case c.late:
		case failing:
			if err = errDisk; began {
				d.refused()
			}
		default:
			err = nil
			d.apply(c.batch)
		}
	})
	if !alive { // the crash has decided what became of it
		d.set(func() { d.queue = d.queue[1:] })
		c.done(store.ErrClosed)
		return
	}
	if err == nil {
		d.at("disk/synced")
	}
	c.done(err)
}

func (d *disk) apply(b *store.Batch) {
	d.commits++
	d.records += uint64(b.Len())
	d.put(b)
	d.wrote(b)
}

// crash is called with the world held: of what was not acknowledged a random prefix is on the disk, and the node does
// not hear of it. Whoever waits is told that the store is closed, so that the dead node can be taken down.
func (d *disk) crash() {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.dead = true
	kept := 0
	if d.keep != nil && !d.failing && !d.broken {
		kept = d.keep(len(d.queue))
	}
	for i, c := range d.queue {
		if i < kept && !c.late {
			d.apply(c.batch)
		}
	}
}

// breakDown begins an outage, heal ends it; calm lets the disk never fail again.
func (d *disk) breakDown() { d.set(func() { d.broken = true }) }
func (d *disk) heal()      { d.set(func() { d.broken = false }) }
func (d *disk) calm()      { d.set(func() { d.broken, d.fail = false, nil }) }

func (d *disk) set(f func()) {
	d.mu.Lock()
	defer d.mu.Unlock()
	f()
}

// Load implements store.Store. It is as slow as a sync, and may fail.
func (d *disk) Load(ctx context.Context, yield func(store.Entry) error) error {
	if err := d.readable(); err != nil {
		return err
	}
	if d.delay != nil {
		time.Sleep(d.delay())
	}
	if d.load != nil {
		if err := d.load(); err != nil {
			return err
		}
	}
	return d.image.Load(ctx, yield)
}

// Task implements store.Store.
func (d *disk) Task(ctx context.Context, id string) (*slotdv1.TaskRecord, error) {
	if err := d.readable(); err != nil {
		return nil, err
	}
	return d.image.Task(ctx, id)
}

// Spec implements store.Store.
func (d *disk) Spec(ctx context.Context, id string) (*slotdv1.SpecRecord, error) {
	if err := d.readable(); err != nil {
		return nil, err
	}
	return d.image.Spec(ctx, id)
}

// Runs implements store.Store.
func (d *disk) Runs(ctx context.Context, id string) ([]*slotdv1.RunRecord, error) {
	if err := d.readable(); err != nil {
		return nil, err
	}
	return d.image.Runs(ctx, id)
}

// Durable implements store.Store.
func (d *disk) Durable() bool { return true }

// Stats implements store.Store.
func (d *disk) Stats() store.Stats {
	d.mu.Lock()
	defer d.mu.Unlock()
	s := store.Stats{Kind: "sim", Writable: !d.closed && !d.broken, Commits: d.commits, Records: d.records}
	if d.broken {
		s.Problem = errDisk
	}
	return s
}

// Close implements store.Store. The image stays.
func (d *disk) Close() error {
	d.set(func() { d.closed = true })
	d.wake.Signal()
	<-d.done
	return nil
}

func (d *disk) readable() error {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.ended {
		return store.ErrClosed
	}
	return nil
}
