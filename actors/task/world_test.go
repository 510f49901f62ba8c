package task

import (
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"slotd/messages"
	slotdv1 "slotd/messages/slotd/v1"
	soltiv1 "slotd/messages/solti/v1"
)

// world is everything around a task: the store, the executor, the timer and the slot.
type world struct {
	t    *testing.T
	name string
	rand *rand.Rand
	seen map[string]int
	spec *soltiv1.CreateSpec
	core Task
	now  time.Time

	flights  []*flight
	durable  State
	runs     []Run // durable, by attempt
	attempts map[uint32]*attempt
	inbox    []Event
	past     []Event // words that may be heard again
	timer    *Arm
	stops    []Stop // what the slot has told the task, and tells it again when it is rebuilt
	keep     *Stop  // of this life: the daemon stops
	parked   bool   // the task waits for the next life
	outcome  *Finish

	restopped bool
	trace     []step
}

// step is one line of the story that a failure tells.
type step struct {
	now     time.Time
	ev      Event
	effects []Effect
}

func (s step) String() string {
	return fmt.Sprintf("%v %T%+v -> %+v", s.now.Sub(t0), s.ev, s.ev, s.effects)
}

// flight is a record on its way to the store, with what waits for it.
type flight struct {
	record Record
	later  []Effect
	failed bool
}

// attempt is the executor's side.
type attempt struct {
	phase string // queued, permitted, running, dead
	end   *slotdv1.AttemptExited
	told  bool // to stop
}

func newWorld(t *testing.T, seed, n uint64) *world {
	r := rand.New(rand.NewPCG(seed, n))
	spec := &soltiv1.CreateSpec{
		Slot: "s", TimeoutMs: 1 + r.Uint64N(2000), Restart: soltiv1.RestartStrategy(1 + r.IntN(3)),
		Backoff:     &soltiv1.BackoffStrategy{FirstMs: 1 + r.Uint64N(50), MaxMs: 200, Factor: 2, Jitter: soltiv1.JitterStrategy(1 + r.IntN(4))},
		StopGraceMs: new(r.Uint64N(3) * 500), RestartIntervalMs: new(r.Uint64N(3) * 90),
	}
	if r.IntN(2) == 0 {
		spec.MaxRetries = new(r.Uint32N(3))
	}
	return &world{
		t: t, name: fmt.Sprintf("seed %d walk %d", seed, n), rand: r, spec: spec, core: New(spec, State{}, n), now: t0,
		attempts: map[uint32]*attempt{},
	}
}

func (w *world) fatalf(format string, args ...any) {
	w.t.Helper()
	w.t.Logf("%v", w.spec)
	for _, s := range w.trace {
		w.t.Log(s)
	}
	w.t.Fatalf(w.name+": "+format, args...)
}

func (w *world) saw(what string) { w.seen[what]++ }

func (w *world) move() {
	w.now = w.now.Add(time.Duration(w.rand.IntN(60)) * time.Millisecond)
	switch n := w.rand.IntN(100); {
	case n < 25:
		w.store(w.rand.IntN(8) == 0)
	case n < 50:
		w.hear()
	case n < 62:
		w.execute()
	case n < 82:
		w.ring()
	case n < 88:
		w.again()
	case n < 90:
		w.tell()
	case n < 91:
		w.shutdown()
	case n < 94:
		w.rebuild(false)
	case n < 96:
		w.rebuild(true)
	default:
		w.now = w.now.Add(time.Duration(w.rand.IntN(1500)) * time.Millisecond)
	}
}

// step lets the core decide and performs what may be performed at once.
func (w *world) step(ev Event) {
	before := w.core.State()
	effects := w.core.Step(w.now, ev)
	w.trace = append(w.trace[max(0, len(w.trace)-60):], step{w.now, ev, effects})
	if before.Phase == Finished {
		for _, eff := range effects {
			if _, ok := eff.(Forget); !ok {
				w.fatalf("%v of a finished task leads to %T", ev, eff)
			}
		}
	}
	w.passed(before, w.core.State())
	var f *flight
	var later []Effect
	for _, eff := range effects {
		switch eff := eff.(type) {
		case Record:
			f = &flight{record: eff}
		case Start, Forget, Finish, Park:
			later = append(later, eff)
		default:
			w.perform(eff)
		}
	}
	switch {
	case f != nil:
		f.later = later
		w.flights = append(w.flights, f)
	case len(w.flights) > 0:
		last := w.flights[len(w.flights)-1]
		last.later = append(last.later, later...)
	default:
		for _, eff := range later {
			w.perform(eff)
		}
	}
}

func (w *world) perform(eff Effect) {
	switch eff := eff.(type) {
	case Acquire:
		w.attempts[eff.Attempt] = &attempt{phase: "queued"}
	case Start:
		w.start(eff.Attempt)
	case Attach:
		w.attach(eff.Attempt)
	case Term, Kill:
		w.stop(eff)
	case Arm:
		w.timer = &eff
	case Forget:
		w.forget(eff.Attempt)
	case Finish:
		w.finish(eff)
	case Park:
		w.park()
	}
}

// park: the slot may let the daemon end now, so all that the next life has to know is durable.
func (w *world) park() {
	w.saw("parked")
	if w.parked = true; w.keep == nil {
		w.fatalf("parked by nobody")
	}
	s, waits := w.core.State(), w.durable.Phase == Ready || w.durable.Phase == Waiting
	if s.Phase != Finished && (!waits || w.durable.Attempt != s.Attempt) {
		w.fatalf("parked as %v(%d), and the store knows %v(%d)", s.Phase, s.Attempt, w.durable.Phase, w.durable.Attempt)
	}
	for n, a := range w.attempts {
		if a.phase == "running" {
			w.fatalf("parked while attempt %d runs", n)
		}
	}
}

// start is withheld, as in the shell, when the attempt was told to end before its record was durable.
func (w *world) start(n uint32) {
	if w.core.State().Phase != Running {
		w.saw("start withheld")
		w.step(Exited{n, nil})
		return
	}
	if w.keep != nil {
		w.fatalf("attempt %d is started while the daemon stops", n)
	}
	for other, a := range w.attempts {
		if a.phase == "running" {
			w.fatalf("attempt %d is started while %d runs", n, other)
		}
	}
	if len(w.runs) != int(n) || w.durable.Attempt != n || w.durable.Phase != Running {
		w.fatalf("attempt %d is started, and the store knows %v(%d) with %d runs", n, w.durable.Phase, w.durable.Attempt, len(w.runs))
	}
	if a := w.attempts[n]; a == nil || a.phase != "permitted" {
		w.fatalf("attempt %d is started without a permit: %+v", n, a)
	}
	w.attempts[n].phase = "running"
	w.say(Started{n, w.now})
}

func (w *world) attach(n uint32) {
	a := w.attempts[n]
	switch {
	case a == nil || a.phase == "queued" || a.phase == "permitted":
		w.saw("lost")
		w.say(Exited{n, &slotdv1.AttemptExited{Kind: slotdv1.ExitKind_EXIT_KIND_LOST}})
	case a.phase == "running":
		w.say(Started{n, w.now})
	default:
		w.say(Exited{n, a.end})
	}
}

func (w *world) stop(eff Effect) {
	n := w.core.State().Attempt
	if w.core.State().Phase != Stopping || (eff != Effect(Term{n}) && eff != Effect(Kill{n})) {
		w.fatalf("%T%v in %v of attempt %d", eff, eff, w.core.State().Phase, n)
	}
	if _, kill := eff.(Kill); kill {
		w.saw("killed")
		if w.now.Before(w.core.stopBy) {
			w.fatalf("killed %v before the end of its grace", w.core.stopBy.Sub(w.now))
		}
	}
	if a := w.attempts[n]; a != nil {
		a.told = true
	}
}

func (w *world) forget(n uint32) {
	a := w.attempts[n]
	if a == nil {
		return
	}
	if a.phase == "running" {
		w.fatalf("attempt %d is forgotten while it runs", n)
	}
	if a.phase == "dead" && (len(w.runs) < int(n) || w.runs[n-1].Finished.IsZero()) {
		w.fatalf("attempt %d is forgotten before its end is durable", n)
	}
	if s := w.core.State(); a.phase == "permitted" && s.Attempt == n && s.Phase == Running {
		w.fatalf("attempt %d loses its permit before it starts", n)
	}
	delete(w.attempts, n)
}

// finish hands the outcome to the slot, which makes it durable and lets the task's last attempt be forgotten.
func (w *world) finish(f Finish) {
	if w.outcome != nil {
		w.fatalf("a second outcome %v after %v", f.State.Shown, w.outcome.State.Shown)
	}
	if len(w.flights) > 0 && w.flights[0].record.State.Phase != Finished {
		w.fatalf("finished before its earlier records are durable")
	}
	for n, a := range w.attempts {
		if a.phase == "running" {
			w.fatalf("finished while attempt %d runs", n)
		}
	}
	w.outcome = &f
	if f.Run != nil {
		w.ran(*f.Run)
		w.forget(f.Run.Attempt)
	}
	w.saw(string(f.State.Shown.Reason))
	w.judge(f.State)
}

// store settles the oldest record; what fails is written again, and nothing behind it is released before.
func (w *world) store(fail bool) {
	if len(w.flights) == 0 {
		return
	}
	f := w.flights[0]
	if fail {
		f.failed = true
		return
	}
	if f.failed {
		w.saw("retried")
	}
	w.flights = w.flights[1:]
	w.apply(f.record)
	for _, eff := range f.later {
		w.perform(eff)
	}
}

func (w *world) apply(r Record) {
	w.durable = r.State
	if r.Run != nil {
		w.ran(*r.Run)
	}
}

// say puts a word on its way to the task.
func (w *world) say(ev Event) {
	w.inbox = append(w.inbox, ev)
	w.past = append(w.past, ev)
}

func (w *world) hear() {
	if len(w.inbox) == 0 {
		return
	}
	ev := w.inbox[0]
	w.inbox = w.inbox[1:]
	w.step(ev)
}

// again repeats a word that was said before. An end is true for ever; a permit or a start is repeated as late as its
// attempt allows.
func (w *world) again() {
	if len(w.past) == 0 {
		return
	}
	switch ev := w.past[w.rand.IntN(len(w.past))].(type) {
	case Exited:
		if ev.Attempt == w.core.State().Attempt && w.attempts[ev.Attempt] != nil && w.attempts[ev.Attempt].phase == "running" {
			return // a rebooted machine has lost it, the present one has not
		}
		w.saw("stale")
		w.step(ev)
	case Granted:
		if a := w.attempts[ev.Attempt]; a != nil && a.phase != "queued" {
			w.saw("twice")
			w.step(ev)
		}
	default:
		w.saw("stale")
		w.step(ev)
	}
}

// execute lets the executor do one thing: grant a permit, or see an attempt end.
func (w *world) execute() {
	for _, n := range slices.Sorted(maps.Keys(w.attempts)) { // in order, so that a seed repeats the walk
		a := w.attempts[n]
		switch a.phase {
		case "queued":
			a.phase = "permitted"
			w.say(Granted{n})
		case "running":
			if a.told || w.rand.IntN(2) == 0 {
				a.phase, a.end = "dead", w.exit(a)
				w.say(Exited{n, a.end})
			}
		}
	}
}

func (w *world) exit(a *attempt) *slotdv1.AttemptExited {
	if a.told {
		return &slotdv1.AttemptExited{Kind: slotdv1.ExitKind_EXIT_KIND_SIGNALED, Signal: 15}
	}
	switch w.rand.IntN(12) {
	case 0:
		return &slotdv1.AttemptExited{Kind: slotdv1.ExitKind_EXIT_KIND_SPAWN_FAILED, ExitCode: 127}
	case 1:
		return &slotdv1.AttemptExited{Kind: slotdv1.ExitKind_EXIT_KIND_UNAVAILABLE}
	case 2:
		return &slotdv1.AttemptExited{Kind: slotdv1.ExitKind_EXIT_KIND_SIGNALED, Signal: 9, OutOfMemory: true}
	case 3, 4, 5, 6:
		return &slotdv1.AttemptExited{Kind: slotdv1.ExitKind_EXIT_KIND_EXITED}
	default:
		return &slotdv1.AttemptExited{Kind: slotdv1.ExitKind_EXIT_KIND_EXITED, ExitCode: 1}
	}
}

// ring fires the timer when it is due.
func (w *world) ring() {
	if w.timer == nil || w.now.Before(w.timer.At) {
		return
	}
	ev := Elapsed{w.timer.Attempt, w.timer.Timer}
	w.timer = nil
	w.past = append(w.past, ev)
	w.step(ev)
}

func (w *world) tell() {
	if w.rand.IntN(4) > 0 {
		return
	}
	causes := []messages.Reason{messages.ReasonCanceled, messages.ReasonReplaced, messages.ReasonShutdown}
	stop := Stop{Cause: causes[w.rand.IntN(len(causes))]}
	if w.rand.IntN(2) == 0 {
		grace := time.Duration(w.rand.IntN(4)) * 200 * time.Millisecond
		stop.Grace = &grace
		w.saw("hastened")
	}
	w.stopped(stop)
}

// shutdown may be repeated with less grace.
func (w *world) shutdown() {
	if w.keep == nil && w.rand.IntN(3) > 0 {
		return
	}
	grace := time.Duration(w.rand.IntN(3)) * 300 * time.Millisecond
	w.keep = &Stop{Cause: messages.ReasonShutdown, Grace: &grace, Keep: true}
	w.step(*w.keep)
}

func (w *world) stopped(stop Stop) {
	if w.core.State().Phase != Finished { // what comes after the decision changes nothing
		w.stops = append(w.stops, stop)
	}
	w.step(stop)
}

// rebuild makes the core again from the store, which may have written what it was handed. A reboot takes the executor
// along.
func (w *world) rebuild(reboot bool) {
	if s := w.core.State(); !reboot && (s.Phase == Ready || s.Phase == Finished && len(w.flights) > 0) {
		w.forget(s.Attempt + 1) // the old actor's last words
	}
	for _, f := range w.flights {
		if f.failed || w.rand.IntN(2) == 0 {
			break
		}
		w.apply(f.record)
	}
	w.flights, w.inbox, w.timer = nil, nil, nil
	if reboot {
		w.saw("rebooted")
		clear(w.attempts)
		w.keep = nil
	}
	w.parked = false
	w.saw("rebuilt")
	w.core = New(w.spec, w.durable, w.rand.Uint64())
	w.step(Resumed{})
	for _, stop := range w.stops {
		w.restopped = true
		w.step(stop)
	}
	if w.keep != nil {
		w.step(*w.keep)
	}
}
