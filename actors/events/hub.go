// Package events is the hub of transitions: it numbers what becomes of tasks and slots, keeps the newest of it in
// memory, and hands it to any number of readers.
//
// It decides nothing. The ledger of package actors publishes what the catalog has taken over, the gateway reads.
//
// Ordering: events have the order of the commits, and within a commit that of [catalog.Changes]. They are published
// after the catalog has applied the batch, never before, and that makes the two of them fit together:
//   - Who reads an event finds it, or what came later, in the catalog: a task whose terminal event was seen is terminal,
//     or gone.
//   - Who opens a cursor, or asks for [Hub.Last], and then reads the catalog misses nothing: what the catalog did not
//     show yet is published later. Some of what it showed may come once more; the resource version tells.
//
// What recovery finds is not published: it is no transition.
//
// Concurrency: Publish is called by one goroutine at a time and never waits for a reader: readers have no buffer, only
// a place. Who waits costs nothing until something comes, and however many wait, they are woken at most once in
// [gather]. Everything else is safe from any goroutine.
//
// Memory: the newest 65 536 events are kept, fewer when they come to more than 64 MiB, and up to 511 more, because they
// are forgotten in chunks. A reader that is slower than that gets a gap, which tells how many it has missed, and goes on.
//
// Numbers begin with 1 in each life of the daemon, and ids name that life: those of another one are told apart.
package events

import (
	"cmp"
	"math/rand/v2"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"slotd/actors/catalog"
)

// How much is kept.
const (
	keepEvents  = 65_536
	keepBytes   = 64 << 20 // with what readers make of them
	chunkEvents = 512
	chunkBytes  = keepBytes / 64 // a chunk this large is closed early
)

// gather is how soon after one another readers are woken: at 20 000 tasks a second, to wake some readers for each event
// would cost more than all else that is done for it.
const gather = time.Millisecond

// Hub keeps events. Make one with New.
type Hub struct {
	epoch  uint64 // told from every other life by chance
	keep   limits
	now    func() time.Time
	active atomic.Int64 // open cursors

	tail *chunk // what is written to, by whoever publishes; readers look at what is counted in next

	mu     sync.Mutex // guards the rest
	chunks []*chunk   // oldest first, never empty
	next   uint64     // number of the next event
	bytes  int
	wake   chan struct{} // closed with the next event; nil while nobody waits
	woken  time.Time     // when readers were woken last
	armed  bool          // the timer will wake them
	timer  *time.Timer
	closed bool
}

type limits struct{ events, bytes, chunkEvents, chunkBytes int }

// chunk is room for some events one after the other. It is filled once, and forgotten as a whole. All but events belongs
// to whoever publishes; of events readers look at what is counted in Hub.next, and never changes again.
type chunk struct {
	first  uint64 // number of its first event
	events []event
	used   int
	bytes  int
}

// New returns an empty hub. Close it.
func New() *Hub {
	return newHub(limits{keepEvents, keepBytes, chunkEvents, chunkBytes})
}

func newHub(keep limits) *Hub {
	h := &Hub{epoch: rand.Uint64(), keep: keep, now: time.Now, next: 1}
	h.tail = h.chunkAt(h.next)
	h.chunks = []*chunk{h.tail}
	h.timer = time.AfterFunc(time.Hour, h.tick)
	h.timer.Stop()
	return h
}

// Publish adds what a batch has changed. The catalog must have applied it.
func (h *Hub) Publish(c catalog.Changes) {
	if len(c.Tasks) == 0 && len(c.Slots) == 0 {
		return
	}
	var begun []*chunk
	bytes := 0
	add := func() *event {
		if h.tail.used == len(h.tail.events) || h.tail.bytes >= h.keep.chunkBytes {
			h.tail = h.chunkAt(h.tail.end())
			begun = append(begun, h.tail)
		}
		h.tail.used++
		return &h.tail.events[h.tail.used-1]
	}
	weigh := func(e *event) {
		cost := e.cost()
		h.tail.bytes += cost
		bytes += cost
	}
	for i := range c.Tasks {
		e := add()
		e.task(&c.Tasks[i])
		if e.deleted {
			e.at = h.now().UnixMilli()
		}
		weigh(e)
	}
	for i := range c.Slots {
		e := add()
		e.slot(&c.Slots[i])
		weigh(e)
	}

	h.mu.Lock()
	defer h.mu.Unlock()
	h.chunks = append(h.chunks, begun...)
	h.next = h.tail.end()
	h.bytes += bytes
	h.shed()
	h.tell()
}

func (h *Hub) chunkAt(first uint64) *chunk {
	return &chunk{first: first, events: make([]event, h.keep.chunkEvents)}
}

func (c *chunk) end() uint64 { return c.first + uint64(c.used) }

// shed forgets the oldest chunks as long as enough is left without them.
func (h *Hub) shed() {
	old := 0
	for ; old < len(h.chunks)-1; old++ {
		if h.next-h.chunks[old+1].first < uint64(h.keep.events) && h.bytes <= h.keep.bytes {
			break
		}
		h.bytes -= h.chunks[old].bytes
	}
	h.chunks = slices.Delete(h.chunks, 0, old)
}

// tell wakes those who wait: now, or when the last time is long enough ago.
func (h *Hub) tell() {
	if h.wake == nil || h.armed {
		return
	}
	now := h.now()
	if soon := gather - now.Sub(h.woken); soon > 0 && soon <= gather {
		h.armed = true
		h.timer.Reset(soon)
		return
	}
	h.rouse(now)
}

func (h *Hub) tick() {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.armed = false
	h.rouse(h.now())
}

func (h *Hub) rouse(now time.Time) {
	if h.wake != nil {
		close(h.wake)
		h.wake, h.woken = nil, now
	}
}

// view is what there is from some number on.
type view struct {
	events []event         // from that number on, those of one chunk
	oldest uint64          // number of the oldest event that is kept, when it is behind that number
	wake   <-chan struct{} // when there is nothing: closed with the next event
	closed bool            // nothing will come
}

func (h *Hub) from(number uint64) view {
	h.mu.Lock()
	defer h.mu.Unlock()
	switch oldest := h.chunks[0].first; {
	case number < oldest:
		return view{oldest: oldest}
	case number < h.next:
		i, exact := slices.BinarySearchFunc(h.chunks, number, func(c *chunk, n uint64) int { return cmp.Compare(c.first, n) })
		if !exact {
			i--
		}
		c := h.chunks[i]
		end := h.next
		if i < len(h.chunks)-1 {
			end = h.chunks[i+1].first
		}
		return view{events: c.events[number-c.first : end-c.first]}
	case h.closed:
		return view{closed: true}
	}
	if h.wake == nil {
		h.wake = make(chan struct{})
	}
	return view{wake: h.wake}
}

// Last is the id of the newest event. Who asks for it, then reads the catalog, and then opens a cursor after it misses
// nothing.
func (h *Hub) Last() string {
	h.mu.Lock()
	defer h.mu.Unlock()
	return eventID{h.epoch, h.next - 1}.String()
}

// Stats is what introspection shows.
type Stats struct {
	Subscribers int    // open cursors
	Published   uint64 // events of this life; the number of the newest
	Kept        int    // events in memory
	Bytes       int    // about what they take
}

// Stats counts.
func (h *Hub) Stats() Stats {
	h.mu.Lock()
	defer h.mu.Unlock()
	return Stats{
		Subscribers: int(h.active.Load()), Published: h.next - 1,
		Kept: int(h.next - h.chunks[0].first), Bytes: h.bytes,
	}
}

// Close ends every cursor with io.EOF once it has read what there is. Nothing may be published after it.
func (h *Hub) Close() {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.timer.Stop()
	h.closed = true
	h.rouse(h.now())
}
