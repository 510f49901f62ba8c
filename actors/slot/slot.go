// Package slot decides who may run in one slot: a lane with one holder, at most one pending replacement and a bounded
// FIFO queue.
//
// The decisions live in [Slot.Step], which knows no clock, goroutine or I/O; actor.go translates messages into events
// and performs the effects. A slot knows nothing of attempts, restarts or time-outs: the holder's task actor does, and
// says only "finished".
//
// Obligations of whoever performs the effects: the Records of one step are one commit; Spawn, Release, Answer and Count
// wait for it and for all commits before it; Stop and Recall do not, and a Stop may come before the Spawn. A commit that
// admits a replacement comes back as Kept, in the order of the commits; one that admits a task and fails comes back as
// Refused, at once, and from then on records of that task are left out of whatever is committed. Every other commit is
// repeated until it holds.
//
// Invariants: 1 (one holder), 2 (freed only by Finished, which comes after the reap), 3 (answers wait for what they
// say), 4 (every accepted task ends exactly once).
package slot

import (
	"fmt"
	"slices"
	"time"

	"slotd/messages"
	slotdv1 "slotd/messages/slotd/v1"
	soltiv1 "slotd/messages/solti/v1"
)

// Phase is where a slot stands.
type Phase uint8

// A slot is idle, has a holder, or has a holder that was told to end.
const (
	Idle Phase = iota
	Occupied
	Retiring
)

func (p Phase) String() string { return [...]string{"Idle", "Occupied", "Retiring"}[p] }

// edges is the whole diagram; become panics on anything else. Occupied → Occupied is the hand-over to the next holder.
var edges = map[Phase][]Phase{
	Idle:     {Occupied},
	Occupied: {Occupied, Retiring, Idle},
	Retiring: {Occupied, Idle},
}

// Caller names whoever waits for an answer; the shell makes the numbers. 0 = nobody.
type Caller uint64

// What happened.
//
//nolint:revive // the comment is the group's
type (
	Event   interface{ event() }
	Resumed struct { // the actor (re)started, with whatever the store knew
		Holder, Replacement string
		Queue               []string // next first
	}
	Submitted struct {
		Caller    Caller
		Task      string
		Admission soltiv1.AdmissionStrategy
	}
	Kept     struct{ Task string } // its admission is durable
	Refused  struct{ Task string } // the commit of its admission failed
	Finished struct{ Task string } // the holder's tree is dead and reaped, its outcome is known
	Cancel   struct {
		Caller Caller
		Task   string
		Purge  bool           // forget it once it has ended
		Grace  *time.Duration // replaces the spec's when shorter
	}
	Clear struct { // cancel what waits
		Caller Caller
		Holder bool // and the holder
	}
	Drain struct { // the daemon stops: admit nothing, end what is here
		Grace time.Duration
		Keep  bool // end only what runs: the next life goes on with the rest
	}
	Parked struct{ Task string } // the holder waits for the next life
	Died   struct{ Task string } // the holder's actor ended without an outcome
)

// What must be done, in order.
//
//nolint:revive // the comment is the group's
type (
	Effect interface{ effect() }
	// Record is one task's change of place.
	Record struct {
		Task   string
		Change Change
		Role   slotdv1.Role    // Admit
		Reason messages.Reason // End
	}
	Spawn  struct{ Task string } // make the holder's actor
	Recall struct{ Task string } // make it again, from the store
	Stop   struct {              // tell the holder to end
		Task  string
		Cause messages.Reason
		Grace *time.Duration
		Keep  bool // only its attempt
	}
	Release struct{ Task string } // the holder's actor may go
	Answer  struct {
		Caller   Caller
		Reply    Reply
		Task     string            // Accepted, Gone: its id; Busy: the holder's
		Tasks    []string          // Cleared
		Decision messages.Decision // what became of a submission
	}
	Count struct{ Decision messages.Decision } // of a task that has had its answer
)

// Change is what a Record changes.
type Change uint8

// A task is admitted with a role, promoted to holder, restored to replacement, ended before it ever started, finished
// (its actor supplied the record), or deleted with all that belongs to it.
const (
	Admit Change = iota
	Promote
	End
	Finish
	Delete
)

func (c Change) String() string {
	return [...]string{"admit", "promote", "end", "finish", "delete"}[c]
}

// Reply is the answer to a caller.
type Reply uint8

// The replies. Gone means: the task has ended, and the record is kept or purged as asked.
const (
	Accepted Reply = iota
	Busy
	Full
	Reused // the idempotency key stands for another spec
	Draining
	Unavailable
	Gone
	Cleared
)

func (r Reply) String() string {
	return [...]string{"accepted", "busy", "full", "reused", "draining", "unavailable", "gone", "cleared"}[r]
}

// entry is a task that holds the slot or waits for it.
type entry struct {
	task     string
	at       int      // index in the queue
	purge    bool     // delete it when it ends
	waiters  []Answer // given when it has ended
	replaced *entry   // the replacement that gave way to this one, until that is durable
	owed     bool     // its end went with a refused successor: whoever took that one's place writes it, once kept
	asleep   bool     // a holder for the next life to wake: it has no actor
	parked   bool     // a holder whose actor is through with this life
}

// Slot is the state machine of one slot.
type Slot struct {
	phase       Phase
	holder      *entry
	replacement *entry
	queue       queue
	queued      map[string]*entry // the members of queue
	limbo       map[string]*entry // what has given way for good, by the task whose commit has its end, until that is known
	limit       int
	draining    bool
	keep        bool // of draining: nobody is promoted in this life
}

// New makes an idle slot whose queue takes limit tasks.
func New(limit int) Slot { return Slot{limit: limit} }

// Phase returns the present phase.
func (s *Slot) Phase() Phase { return s.phase }

// Rest says that nothing is left to do before the slot leaves memory: empty when it has no task, resting when it has
// some, but none for this life.
func (s *Slot) Rest() (empty, resting bool) {
	resting = s.keep && (s.holder == nil || s.holder.parked || s.holder.asleep)
	return s.phase == Idle && s.replacement == nil && s.queue.size == 0, resting
}

// Step applies one event and says what must be done about it.
func (s *Slot) Step(ev Event) []Effect {
	switch ev := ev.(type) {
	case Resumed:
		return s.resumed(ev)
	case Submitted:
		return s.submitted(ev)
	case Kept:
		return s.kept(ev)
	case Refused:
		return s.refused(ev)
	case Finished:
		return s.finished(ev)
	case Cancel:
		return s.cancel(ev)
	case Clear:
		return s.clear(ev)
	case Drain:
		return s.drain(ev)
	case Parked:
		return s.parked(ev)
	case Died:
		return s.died(ev)
	default:
		panic(fmt.Sprintf("slot: unknown event %T", ev))
	}
}

// resumed makes first start and recovery one path: an empty slot stays idle. While the daemon stops, nobody is woken.
func (s *Slot) resumed(ev Resumed) []Effect {
	for _, task := range ev.Queue {
		s.enqueue(&entry{task: task})
	}
	if ev.Replacement != "" {
		s.replacement = &entry{task: ev.Replacement}
	}
	if ev.Holder == "" {
		return s.next()
	}
	s.holder = &entry{task: ev.Holder, asleep: s.keep}
	s.become(Occupied)
	if s.keep {
		return nil
	}
	effects := []Effect{Spawn{ev.Holder}}
	if s.replacement != nil { // the stop may have been lost with the old actor
		effects = append(effects, s.retire(messages.ReasonReplaced, nil)...)
	}
	return effects
}

// parked counts unless the holder has been told to end since it said so.
func (s *Slot) parked(ev Parked) []Effect {
	if s.holder != nil && s.holder.task == ev.Task && s.phase == Occupied {
		s.holder.parked = true
	}
	return nil
}

func (s *Slot) died(ev Died) []Effect {
	if s.holder == nil || s.holder.task != ev.Task {
		return nil
	}
	return []Effect{Recall(ev)}
}

func (s *Slot) enqueue(e *entry) {
	if s.queued == nil {
		s.queued = make(map[string]*entry)
	}
	s.queued[e.task] = e
	s.queue.push(e)
}

func (s *Slot) dequeue(task string) *entry {
	e := s.queued[task]
	s.queue.remove(e)
	delete(s.queued, task)
	return e
}

// waiting yields the replacement and the queue, in the order in which they would run.
func (s *Slot) waiting(yield func(*entry) bool) {
	if s.replacement != nil && !yield(s.replacement) {
		return
	}
	s.queue.all(yield)
}

// become is the only writer of the phase.
func (s *Slot) become(next Phase) {
	if !slices.Contains(edges[s.phase], next) {
		panic(fmt.Sprintf("slot: no edge %v -> %v", s.phase, next))
	}
	s.phase = next
}

func (Resumed) event()   {}
func (Submitted) event() {}
func (Kept) event()      {}
func (Refused) event()   {}
func (Finished) event()  {}
func (Cancel) event()    {}
func (Clear) event()     {}
func (Drain) event()     {}
func (Parked) event()    {}
func (Died) event()      {}
func (Record) effect()   {}
func (Spawn) effect()    {}
func (Recall) effect()   {}
func (Stop) effect()     {}
func (Release) effect()  {}
func (Answer) effect()   {}
func (Count) effect()    {}
