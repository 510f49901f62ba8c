package store

import (
	"fmt"
	"slices"
	"sync/atomic"
)

// Pipeline hands one actor's batches to the store in order, and keeps what must not happen before they are durable:
// the effects E. An actor goes on deciding while its batches are under way; Start, answers and publication wait here,
// stops and timers never come here.
//
// Order. Effects are released in the order in which they were given, each at most once, and only when their own batch
// and every batch before it is durable.
//
// Failure. A batch that fails stays in its place, and nothing behind it is released. From that moment on [Pipeline.Blocked]
// holds and further batches are held back. The owner decides about each failed batch when it hears of it:
//
//   - [Pipeline.Drop] takes it out, with its effects: an admission that is refused. The owner undoes the decision in
//     its core; batches behind the dropped one must not build on it, or be dropped as well when they fail in turn.
//   - Doing nothing keeps it: a transition, which has happened whether or not the disk likes it. The owner arms a timer
//     and calls [Pipeline.Retry].
//
// Retry folds the failed batch and all behind it into one and commits that. This is right because a record replaces
// its predecessor as a whole and resource versions only grow: the newest record of each task says all that the older
// ones said, and one atomic batch leaves no moment at which a crash would bring back a part of the past, also when a
// batch behind the failed one had been written already. Runs are folded by task and attempt, keys by slot and name.
//
// With a store that keeps the promises of [Store], what is durable is therefore always a prefix of the batches that
// were not dropped.
//
// Pipelines know nothing of one another: a record must not be written through a second one while an older version of
// it may still be retried in the first. Whoever hands a task over does so as an effect, behind its own last batch.
//
// A Pipeline is owned by one actor and not safe for concurrent use; it starts no goroutine.
type Pipeline[E any] struct {
	commit func(*Batch, func(error))
	done   func(error) // the flow's, for every batch
	flow   *flow
	sent   uint64 // batches handed to the store
	heard  uint64 // of these, settled

	// flight[:head] is released and empty. Then come settled entries that wait behind a failed one (the first of them
	// has failed), up to next; then those the store has, up to held; then those held back.
	flight           []entry[E]
	head, next, held int
	failures         int  // failed entries in flight
	again            bool // Retry was called and has not been acted upon
}

type entry[E any] struct {
	seq    uint64 // 0 while held back
	batch  *Batch
	then   []E
	failed bool
}

// Committed tells the owner that the store is through with one of its batches. It belongs into [Pipeline.Settle].
type Committed struct {
	Seq uint64 // 1, 2, 3… in the order in which the pipeline's batches reached the store
	Err error  // nil: durable

	flow *flow
}

// flow is the part of a pipeline that the store's goroutine touches.
type flow struct {
	seq     atomic.Uint64
	blocked atomic.Bool
	tell    func(Committed)
}

func (f *flow) done(err error) {
	if err != nil {
		f.blocked.Store(true)
	}
	f.tell(Committed{Seq: f.seq.Add(1), Err: err, flow: f})
}

// NewPipeline returns a pipeline that commits with commit, whose promises are those of [Store]. tell posts to the
// owner's mailbox; it is called from the store's goroutine, in order, and must not block.
func NewPipeline[E any](commit func(*Batch, func(error)), tell func(Committed)) *Pipeline[E] {
	f := &flow{tell: tell}
	return &Pipeline[E]{commit: commit, done: f.done, flow: f}
}

// Commit hands a batch to the store; then is released when it is durable. The pipeline keeps both.
func (p *Pipeline[E]) Commit(b *Batch, then []E) {
	p.flight = append(p.flight, entry[E]{batch: b, then: slices.Clip(then)})
	if !p.Blocked() {
		p.send()
	}
}

// After releases effects that have no batch of their own, but may tell of what the batches in flight say: at once when
// there are none, else together with the last of them.
func (p *Pipeline[E]) After(then []E) (now []E) {
	if p.Idle() {
		return then
	}
	last := &p.flight[len(p.flight)-1]
	last.then = append(last.then, then...)
	return nil
}

// Settle takes note of a Committed and returns the effects it releases, in order. When the batch has failed, it
// releases nothing and returns the batch: the owner calls Drop, or arms a timer for Retry. A Committed of another
// pipeline (of the owner's former life) changes nothing.
func (p *Pipeline[E]) Settle(c Committed) (ready []E, failed *Batch) {
	if c.flow != p.flow {
		return nil, nil
	}
	if p.heard++; c.Seq != p.heard || p.next == p.held {
		panic(fmt.Sprintf("store: batch %d settled in place of %d, %d sent", c.Seq, p.heard, p.sent))
	}
	e := &p.flight[p.next]
	p.next++
	if c.Err != nil {
		e.failed = true
		p.failures++
		return nil, e.batch
	}
	ready = p.release()
	p.resume()
	return ready, nil
}

// Drop takes the failed batch of c out. dropped is what was to follow it, effects of After included: whoever waits for
// an answer among them must be told that nothing happened. ready is what this releases.
func (p *Pipeline[E]) Drop(c Committed) (dropped, ready []E) {
	i := slices.IndexFunc(p.flight[p.head:p.next], func(e entry[E]) bool { return e.failed && e.seq == c.Seq })
	if c.flow != p.flow || i < 0 {
		return nil, nil
	}
	i += p.head
	dropped = p.flight[i].then
	p.flight = slices.Delete(p.flight, i, i+1)
	p.next--
	p.held--
	p.failures--
	ready = p.release()
	p.resume()
	return dropped, ready
}

// Retry commits again what has failed and all behind it, as one batch, once the store has answered for everything it
// still has. Without a failure it does nothing.
func (p *Pipeline[E]) Retry() {
	p.again = p.failures > 0
	p.resume()
}

// Blocked says that a batch has failed and has neither been dropped nor committed again: the store may not be
// writable, and what would be admitted now would have to wait. It may hold before the owner hears of the failure.
func (p *Pipeline[E]) Blocked() bool { return p.flow.blocked.Load() }

// Idle says that nothing is in flight or held back.
func (p *Pipeline[E]) Idle() bool { return p.head == len(p.flight) }

// send hands the oldest entry that was held back to the store.
func (p *Pipeline[E]) send() {
	p.sent++
	e := &p.flight[p.held]
	e.seq = p.sent
	p.held++
	p.commit(e.batch, p.done)
}

// release takes the durable entries off the front, up to the first that is failed or still under way.
func (p *Pipeline[E]) release() (ready []E) {
	for p.head < p.next && !p.flight[p.head].failed {
		if e := &p.flight[p.head]; ready == nil {
			ready = e.then
		} else {
			ready = append(ready, e.then...)
		}
		p.flight[p.head] = entry[E]{}
		p.head++
	}
	p.compact()
	return ready
}

// compact reuses the room of released entries, at a constant cost per entry.
func (p *Pipeline[E]) compact() {
	if p.head < len(p.flight)-p.head {
		return
	}
	n := copy(p.flight, p.flight[p.head:])
	clear(p.flight[n:])
	p.flight = p.flight[:n]
	p.next -= p.head
	p.held -= p.head
	p.head = 0
}

// resume goes on after a failure, when the store has nothing of this pipeline left: with what was held back when
// every failed batch has been dropped, else, if asked to, with one batch in place of all.
func (p *Pipeline[E]) resume() {
	if p.next < p.held || !p.Blocked() {
		return
	}
	switch {
	case p.failures == 0:
		p.again = false
		p.flow.blocked.Store(false)
		for p.held < len(p.flight) && !p.Blocked() {
			p.send()
		}
	case p.again:
		p.again, p.failures = false, 0
		folded := p.fold()
		clear(p.flight)
		p.flight = append(p.flight[:0], folded)
		p.head, p.next, p.held = 0, 0, 0
		p.flow.blocked.Store(false)
		p.send()
	}
}

// fold makes one entry of all in flight.
func (p *Pipeline[E]) fold() entry[E] {
	entries := p.flight[p.head:]
	if len(entries) == 1 {
		return entry[E]{batch: entries[0].batch, then: entries[0].then}
	}
	batches := make([]*Batch, len(entries))
	var then []E
	for i, e := range entries {
		batches[i] = e.batch
		then = append(then, e.then...)
	}
	return entry[E]{batch: fold(batches), then: then}
}
