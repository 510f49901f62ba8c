package slot

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	slotdv1 "slotd/messages/slotd/v1"
	soltiv1 "slotd/messages/solti/v1"
)

// world is everything around a slot: the store with the commits in flight, the holder's actor, the clients.
type world struct {
	t    *testing.T
	name string
	rand *rand.Rand
	core Slot
	seen map[string]int

	trace   []step // the last ones
	flights []*flight
	strict  bool // a failure fails all that was handed to the store before it was heard of
	durable map[string]place
	ends    map[string]int  // durable ends of a task
	deleted map[string]bool // durably
	refused map[string]bool

	minted   int
	queued   []string // admitted to the queue and still in it
	live     string   // the task whose actor may have an attempt
	told     bool     // to stop
	waiting  map[Caller]string
	last     Caller
	accepted []string
	drained  bool
	keeps    bool // the store outlives the daemon: a drain leaves for the next life what it can
	parked   bool // the live holder waits for the next life
}

type step struct {
	ev      Event
	effects []Effect
}

// place is what the store knows of a task that is not terminal.
type place struct {
	role slotdv1.Role
}

// flight is one step's commit.
type flight struct {
	records []Record
	later   []Effect
	state   string // held, sent, durable, failed
}

func (f *flight) admits() (string, bool) {
	if len(f.records) > 0 && f.records[0].Change == Admit {
		return f.records[0].Task, true
	}
	return "", false
}

func newWorld(t *testing.T, seed, n uint64) *world {
	return &world{
		t: t, name: fmt.Sprintf("seed %d walk %d", seed, n), rand: rand.New(rand.NewPCG(seed, n)), core: New(walkLimit),
		durable: map[string]place{}, ends: map[string]int{}, deleted: map[string]bool{}, refused: map[string]bool{},
		waiting: map[Caller]string{}, keeps: n%2 == 0,
	}
}

func (w *world) fatalf(format string, args ...any) {
	w.t.Helper()
	for _, s := range w.trace {
		w.t.Logf("%T%+v -> %+v", s.ev, s.ev, s.effects)
	}
	w.t.Fatalf(w.name+": "+format, args...)
}

func (w *world) move() {
	switch n := w.rand.IntN(100); {
	case n < 30:
		w.submit()
	case n < 55:
		w.store(w.rand.IntN(6) == 0)
	case n < 58:
		w.retry()
	case n < 70:
		w.finish()
	case n < 73:
		w.step(Finished{w.anybodyElse()})
	case n < 83:
		purge := w.rand.IntN(3) == 0
		w.saw(map[bool]string{false: "cancel", true: "purge"}[purge])
		w.step(Cancel{Caller: w.caller("cancel"), Task: w.someTask(), Purge: purge})
	case n < 85:
		w.saw("clear")
		w.step(Clear{Caller: w.caller("clear"), Holder: w.rand.IntN(2) == 0})
	case n < 87:
		w.die()
	case n < 88:
		w.step(Died{"nobody"})
	case n < 89 && w.rand.IntN(4) == 0:
		w.saw("drain")
		w.drained = true
		w.step(Drain{Grace: time.Second, Keep: w.keeps})
	case n < 92:
		w.park()
	case n == 99 && w.rand.IntN(4) == 0:
		w.crash()
	}
}

// anybodyElse is a task whose end is no news: only the holder's own word may free the slot.
func (w *world) anybodyElse() string {
	if task := w.someTask(); w.core.holder == nil || w.core.holder.task != task {
		return task
	}
	return "nobody"
}

func (w *world) saw(what string) { w.seen[what]++ }

func (w *world) caller(what string) Caller {
	if w.rand.IntN(8) == 0 {
		return 0
	}
	w.last++
	w.waiting[w.last] = what
	return w.last
}

// someTask is any task that was ever minted, or a fresh name.
func (w *world) someTask() string {
	back := w.rand.IntN(8)
	return id(max(0, w.minted-back))
}

func id(n int) string { return fmt.Sprintf("t%05d", n) }

// submit is refused without asking the core while a failed commit is in the way, as the shell does.
func (w *world) submit() {
	if slices.ContainsFunc(w.flights, func(f *flight) bool { return f.state == "failed" }) {
		return
	}
	w.minted++
	w.last++
	w.waiting[w.last] = "submit"
	w.step(Submitted{Caller: w.last, Task: id(w.minted), Admission: soltiv1.AdmissionStrategy(1 + w.rand.IntN(3))})
}

// step lets the core decide and hands its records to the store.
func (w *world) step(ev Event) {
	effects := w.core.Step(ev)
	w.trace = append(w.trace[max(0, len(w.trace)-60):], step{ev, effects})
	f := &flight{state: "sent"}
	for _, eff := range effects {
		switch eff := eff.(type) {
		case Record:
			f.records = append(f.records, eff)
			f.later = append(f.later, eff)
			w.decided(eff)
		case Spawn, Release, Answer, Count:
			f.later = append(f.later, eff)
		case Stop:
			if w.core.holder == nil || eff.Task != w.core.holder.task {
				w.fatalf("%v tells %s to stop, which does not hold the slot", ev, eff.Task)
			}
			if !eff.Keep {
				w.parked = false // it wakes up for its end
			}
			w.told = w.told || eff.Task == w.live
		case Recall:
			if eff.Task != w.live {
				w.fatalf("%v recalls %s, which has no attempt", ev, eff.Task)
			}
		}
	}
	switch {
	case len(f.records) > 0:
		if w.blocked() {
			f.state = "held"
		}
		w.flights = append(w.flights, f)
	case len(w.flights) > 0:
		last := w.flights[len(w.flights)-1]
		last.later = append(last.later, f.later...)
	default:
		w.perform(f.later)
	}
}

func (w *world) blocked() bool {
	return slices.ContainsFunc(w.flights, func(f *flight) bool { return f.state == "failed" || f.state == "held" })
}

// decided keeps the model's queue: first in, first out.
func (w *world) decided(eff Record) {
	i := slices.Index(w.queued, eff.Task)
	switch {
	case eff.Change == Admit && eff.Role == slotdv1.Role_ROLE_QUEUED:
		w.queued = append(w.queued, eff.Task)
	case eff.Change == Promote && w.drained && w.keeps:
		w.fatalf("%s is promoted while the daemon stops", eff.Task)
	case eff.Change == Promote && i > 0:
		w.fatalf("%s overtakes %v", eff.Task, w.queued[:i])
	case i >= 0 && (eff.Change == Promote || eff.Change == End):
		w.queued = slices.Delete(w.queued, i, i+1)
	}
}

// store settles the oldest commit it was handed.
func (w *world) store(fail bool) {
	i := slices.IndexFunc(w.flights, func(f *flight) bool { return f.state == "sent" })
	if i < 0 {
		w.strict = false
		w.resume()
		return
	}
	f := w.flights[i]
	fail = fail || w.strict
	w.strict = fail
	task, admission := f.admits()
	switch {
	case !fail:
		w.apply(f.records)
		f.state = "durable"
		w.release()
	case admission:
		w.flights = slices.Delete(w.flights, i, i+1)
		w.refuse(task, f)
		w.release()
	default:
		f.state = "failed"
	}
	w.resume()
}

// resume sends what was held back, once nothing failed is left.
func (w *world) resume() {
	if slices.ContainsFunc(w.flights, func(f *flight) bool { return f.state == "failed" }) {
		return
	}
	for _, f := range w.flights {
		if f.state == "held" {
			f.state = "sent"
		}
	}
}

// retry writes what has failed and all behind it, as one commit.
func (w *world) retry() {
	i := slices.IndexFunc(w.flights, func(f *flight) bool { return f.state == "failed" })
	if i < 0 || slices.ContainsFunc(w.flights, func(f *flight) bool { return f.state == "sent" }) {
		return
	}
	w.saw("retried")
	for _, f := range w.flights[i:] {
		if f.state != "durable" {
			w.apply(f.records)
			f.state = "durable"
		}
	}
	w.release()
}

func (w *world) refuse(task string, f *flight) {
	w.saw("refused")
	w.refused[task] = true
	w.queued = slices.DeleteFunc(w.queued, func(q string) bool { return q == task })
	for _, eff := range f.later {
		if a, ok := eff.(Answer); ok {
			w.answered(Answer{Caller: a.Caller, Reply: Unavailable})
		}
	}
	if w.core.holder != nil && w.core.holder.task == task {
		w.saw("refused holder")
		if w.core.holder.replaced != nil {
			w.saw("restored")
		}
	}
	for e := w.core.replacement; e != nil; e = e.replaced {
		if e.task == task && e != w.core.replacement {
			w.saw("refused in chain")
		}
	}
	w.step(Refused{task})
}

func (w *world) release() {
	for len(w.flights) > 0 && w.flights[0].state == "durable" {
		later := w.flights[0].later
		w.flights = w.flights[1:]
		w.perform(later)
	}
}

// apply makes records durable. What names a refused task says nothing.
func (w *world) apply(records []Record) {
	for _, r := range records {
		if w.refused[r.Task] {
			continue
		}
		switch r.Change {
		case Admit:
			w.durable[r.Task] = place{r.Role}
		case Promote:
			w.durable[r.Task] = place{slotdv1.Role_ROLE_HOLDER}
		case End, Finish:
			delete(w.durable, r.Task)
			if w.ends[r.Task]++; w.ends[r.Task] > 1 {
				w.fatalf("%s has ended %d times", r.Task, w.ends[r.Task])
			}
		case Delete:
			w.deleted[r.Task] = true
			if _, active := w.durable[r.Task]; active {
				w.fatalf("%s is deleted before it has ended", r.Task)
			}
		}
	}
	roles := map[slotdv1.Role]int{}
	for _, p := range w.durable {
		roles[p.role]++
	}
	if roles[slotdv1.Role_ROLE_HOLDER] > 1 || roles[slotdv1.Role_ROLE_REPLACEMENT] > 1 {
		w.fatalf("the store knows %v", w.durable)
	}
}

// perform does what had to wait for the commits.
func (w *world) perform(effects []Effect) {
	for _, eff := range effects {
		switch eff := eff.(type) {
		case Record:
			if eff.Change == Admit && eff.Role == slotdv1.Role_ROLE_REPLACEMENT {
				w.saw("kept")
				w.step(Kept{eff.Task})
			}
		case Spawn:
			w.spawn(eff.Task)
		case Release:
			if w.ends[eff.Task] != 1 {
				w.fatalf("%s is released before its end is durable", eff.Task)
			}
		case Answer:
			w.answered(eff)
		}
	}
}

func (w *world) spawn(task string) {
	if w.refused[task] {
		return
	}
	if w.live != "" {
		w.fatalf("%s is spawned while %s lives", task, w.live)
	}
	if w.ends[task] > 0 {
		w.fatalf("%s is spawned after its end", task)
	}
	if w.durable[task].role != slotdv1.Role_ROLE_HOLDER {
		w.fatalf("%s is spawned, and the store does not know it as the holder", task)
	}
	if w.drained && w.keeps && w.core.Phase() != Retiring && !w.told {
		w.saw("spawned to be kept") // its actor hears so before it begins
	}
	w.live = task
	w.told = w.core.Phase() == Retiring || w.drained
}

// park lets the holder say that it waits for the next life.
func (w *world) park() {
	if w.live == "" || !w.drained || !w.keeps || w.core.Phase() == Retiring {
		return
	}
	w.saw("parked")
	w.parked = true
	w.step(Parked{w.live})
	w.step(Parked{"nobody"})
}

// finish ends the holder's attempt, sometimes with a word too many.
func (w *world) finish() {
	if w.live == "" || w.parked || (!w.told && w.rand.IntN(3) > 0) {
		return
	}
	task := w.live
	w.live, w.told = "", false
	w.saw("finished")
	w.step(Finished{task})
	if w.rand.IntN(4) == 0 {
		w.step(Finished{task})
	}
}

func (w *world) die() {
	if w.live == "" {
		return
	}
	w.saw("died")
	w.step(Died{w.live})
}

// crash forgets all that is not durable, and begins again with what is. The store may have written some of what it was
// handed.
func (w *world) crash() {
	w.saw("crash")
	for _, f := range w.flights {
		if f.state != "sent" || w.strict || w.rand.IntN(2) == 0 {
			break
		}
		w.apply(f.records)
	}
	w.flights, w.live, w.told, w.strict, w.drained, w.parked = nil, "", false, false, false, false
	clear(w.waiting) // their answers died with the actor
	var known Resumed
	var ids []string
	for task := range w.durable {
		ids = append(ids, task)
	}
	slices.Sort(ids)
	w.queued = nil
	for _, task := range ids {
		switch w.durable[task].role {
		case slotdv1.Role_ROLE_HOLDER:
			known.Holder = task
		case slotdv1.Role_ROLE_REPLACEMENT:
			known.Replacement = task
		default:
			known.Queue = append(known.Queue, task)
			w.queued = append(w.queued, task)
		}
	}
	w.core = New(walkLimit)
	if w.keeps && w.rand.IntN(4) == 0 { // the node is told to stop before it has recovered
		w.drained = true
		w.step(Drain{Grace: time.Second, Keep: true})
		w.saw("asleep")
	}
	w.step(known)
}
