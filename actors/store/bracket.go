package store

import (
	"sync"
	"time"
)

// Bracket makes one commit of what several actors commit, each into its own [Part]: a crash takes back all of it or
// nothing.
//
// While a part is open, and until the bracket is committed, its owner commits into the part and nowhere else, so its
// batches keep their order; other actors are not concerned. The bracket is committed when every part is closed or
// dropped. When that takes longer than its patience, because a part was lost in a way that nobody noticed, it is committed
// as it stands: what is in it must not wait for ever. What comes too late for that is committed alone.
//
// A Bracket may be used from any goroutine; it starts none.
type Bracket struct {
	commit func(*Batch, func(error))
	late   *time.Timer

	mu    sync.Mutex
	parts []*Part
	open  int // parts that are not closed, and brackets that come first
	next  []*Bracket
	over  bool
}

// Part is one actor's share of a bracket.
type Part struct {
	of     *Bracket
	held   []share // go into the one commit
	behind []share // came after Close, and are committed one by one after it
	closed bool
}

type share struct {
	batch *Batch
	done  func(error)
}

// NewBracket returns a bracket of n parts, which is committed with commit: its promises are those of [Store].
func NewBracket(n int, patience time.Duration, commit func(*Batch, func(error))) (*Bracket, []*Part) {
	b := &Bracket{commit: commit, open: n}
	for range n {
		b.parts = append(b.parts, &Part{of: b})
	}
	b.late = time.AfterFunc(patience, b.expire)
	return b, b.parts
}

// Commit takes a batch, and calls done as [Store] does. False: the bracket is over, and what comes now is committed
// without it.
func (p *Part) Commit(batch *Batch, done func(error)) bool {
	p.of.mu.Lock()
	defer p.of.mu.Unlock()
	switch {
	case p.of.over:
		return false
	case p.closed:
		p.behind = append(p.behind, share{batch, done})
	default:
		p.held = append(p.held, share{batch, done})
	}
	return true
}

// Follow makes the part's bracket wait for that of an earlier part of the same owner.
func (p *Part) Follow(earlier *Part) {
	p.of.mu.Lock()
	p.of.open++
	p.of.mu.Unlock()
	earlier.of.precede(p.of)
}

// precede lets a later bracket go on once this one is over.
func (b *Bracket) precede(later *Bracket) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.over {
		later.release()
		return
	}
	b.next = append(b.next, later)
}

func (b *Bracket) release() {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.settle()
}

// Close says that nothing more belongs into the one commit.
func (p *Part) Close() {
	p.of.mu.Lock()
	defer p.of.mu.Unlock()
	p.close()
}

// Drop takes out what was committed into the part, whose owner has died: nothing of it will happen, and nobody hears of
// it. After the bracket's commit it is too late for that.
func (p *Part) Drop() {
	p.of.mu.Lock()
	defer p.of.mu.Unlock()
	p.held, p.behind = nil, nil
	p.close()
}

func (p *Part) close() {
	if p.closed {
		return
	}
	p.closed = true
	p.of.settle()
}

// settle is one thing less to wait for. The caller holds the lock.
func (b *Bracket) settle() {
	if b.open--; b.open == 0 {
		b.finish()
	}
}

// Over says that the part's bracket is over.
func (p *Part) Over() bool { return p.of.Over() }

// Over says that the bracket has been committed or abandoned.
func (b *Bracket) Over() bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.over
}

// Abandon drops all parts. Of several brackets the later ones must be abandoned first.
func (b *Bracket) Abandon() {
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, p := range b.parts {
		p.held, p.behind = nil, nil
	}
	b.finish()
}

// expire closes what is still open. Brackets that come first are late as well, and see to themselves.
func (b *Bracket) expire() {
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, p := range b.parts {
		p.close()
	}
}

// finish commits what there is. The caller holds the lock.
func (b *Bracket) finish() {
	if b.over { // abandoned
		return
	}
	b.over = true
	b.late.Stop()
	var batches []*Batch
	var dones []func(error)
	for _, p := range b.parts {
		for _, s := range p.held {
			batches, dones = append(batches, s.batch), append(dones, s.done)
		}
	}
	if len(batches) > 0 {
		b.commit(fold(batches), func(err error) {
			for _, done := range dones {
				done(err)
			}
		})
	}
	for _, p := range b.parts {
		for _, s := range p.behind {
			b.commit(s.batch, s.done)
		}
		p.held, p.behind = nil, nil
	}
	for _, later := range b.next {
		later.release()
	}
	b.next = nil
}
