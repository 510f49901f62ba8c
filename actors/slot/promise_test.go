package slot

import "slices"

// check holds after every step.
func (w *world) check() {
	if n := w.core.queue.size; n > walkLimit || n != len(w.core.queued) {
		w.fatalf("%d tasks are queued, %d by name, %d may be", n, len(w.core.queued), walkLimit)
	}
	if (w.core.holder == nil) != (w.core.Phase() == Idle) {
		w.fatalf("%v with holder %v", w.core.Phase(), w.core.holder)
	}
	kept := w.drained && w.keeps
	if w.core.holder == nil && (w.core.replacement != nil || w.core.queue.size > 0) && !kept {
		w.fatalf("idle, and somebody waits")
	}
	if _, resting := w.core.Rest(); resting && (!kept || w.live != "" && !w.parked) {
		w.fatalf("rests while %q runs", w.live)
	}
	if w.live != "" && (w.core.holder == nil || w.core.holder.task != w.live) {
		w.fatalf("%s lives and does not hold the slot", w.live)
	}
	for task := range w.refused {
		if w.core.holder != nil && w.core.holder.task == task {
			w.fatalf("%s was refused and holds the slot", task)
		}
		for e := range w.core.waiting {
			if e.task == task {
				w.fatalf("%s was refused and waits", task)
			}
		}
	}
}

// settle leaves the world in peace: the store writes, holders end. Then nothing may be left.
func (w *world) settle() {
	for range 10_000 {
		switch {
		case slices.ContainsFunc(w.flights, func(f *flight) bool { return f.state == "sent" }):
			w.store(false)
		case len(w.flights) > 0:
			w.retry()
		case w.drained && w.keeps && (w.parked || w.live == ""):
			w.bequeath()
		case w.live != "":
			w.told = true
			w.finish()
		default:
			w.rest()
			return
		}
		w.check()
	}
	w.fatalf("never comes to rest: %v", w.core.Phase())
}

// bequeath ends a life that keeps its tasks, and begins the next: what it does not know is lost.
func (w *world) bequeath() {
	if _, resting := w.core.Rest(); !resting {
		w.fatalf("does not rest: %v, holder %+v", w.core.Phase(), w.core.holder)
	}
	if len(w.waiting) > 0 {
		w.fatalf("callers without an answer at the end of a life: %v", w.waiting)
	}
	left := len(w.durable)
	if w.crash(); left != len(w.durable) {
		w.fatalf("%d tasks are left of %d", len(w.durable), left)
	}
}

func (w *world) rest() {
	if w.core.Phase() != Idle || len(w.durable) > 0 {
		w.fatalf("at rest %v, and the store knows %v", w.core.Phase(), w.durable)
	}
	if len(w.waiting) > 0 {
		w.fatalf("callers without an answer: %v", w.waiting)
	}
	if len(w.core.limbo) > 0 || len(w.core.queued) > 0 || w.core.queue.entries != nil {
		w.fatalf("memory of nobody: limbo %v, queued %v", w.core.limbo, w.core.queued)
	}
	for _, task := range w.accepted {
		if w.ends[task] != 1 {
			w.fatalf("%s was accepted and has %d ends", task, w.ends[task])
		}
	}
	for task := range w.refused {
		if w.ends[task] != 0 {
			w.fatalf("%s was refused and has an end", task)
		}
	}
}

func (w *world) answered(a Answer) {
	if a.Caller == 0 {
		return
	}
	what, open := w.waiting[a.Caller]
	if !open {
		w.fatalf("caller %d is answered twice, at last with %v", a.Caller, a.Reply)
	}
	delete(w.waiting, a.Caller)
	w.saw(a.Reply.String())
	switch a.Reply {
	case Accepted:
		_, active := w.durable[a.Task]
		if what != "submit" || w.refused[a.Task] || (!active && w.ends[a.Task] == 0) {
			w.fatalf("%s is accepted, and the store does not know it", a.Task)
		}
		w.accepted = append(w.accepted, a.Task)
	case Gone:
		if _, active := w.durable[a.Task]; active {
			w.fatalf("%s is called gone, and the store knows it as %v", a.Task, w.durable[a.Task].role)
		}
	case Cleared:
		for _, task := range a.Tasks {
			if _, active := w.durable[task]; active {
				w.fatalf("%s is called cleared, and the store knows it as %v", task, w.durable[task].role)
			}
		}
	case Unavailable, Busy, Full, Draining:
	default:
		w.fatalf("caller %d is answered %v", a.Caller, a.Reply)
	}
}
