package sim

import (
	"cmp"
	"maps"
	"slices"

	slotdv1 "slotd/messages/slotd/v1"
	soltiv1 "slotd/messages/solti/v1"
)

// never is the place of what has not happened.
const never = -1

// book is a history, read once: who asked for what, and the story of each task.
type book struct {
	history
	requests []*request
	tasks    []*story // in id order
	byID     map[string]*story
	lives    map[int]*span
	settled  *settled
}

// span is one life of the node.
type span struct {
	began, ready, drained, ended int // places in the history
	crashed                      bool
	panics                       int
	failed                       bool // the disk did, now and then
}

// request is what a client asked for.
type request struct {
	asked
	at, answered int
	life         int
	answer       answered
}

func (r *request) granted() bool { return r.answered != never && r.answer.label == "" }

// unknown: it was never answered, so it may have been granted or not.
func (r *request) unknown() bool { return r.answered == never }

// refused: it is certain that nothing was done.
func (r *request) refused() bool { return r.answered != never && r.answer.label != "" }

// story is one task, as the disk and the machine have it.
type story struct {
	id, slot string
	spec     *soltiv1.CreateSpec
	records  []version
	runs     []*chapter // by attempt, each that the disk has heard of
	spawned  []event[spawned]
	balked   []event[balked]
	died     []event[died]
	printed  map[stream]int // lines
	seen     []event[sight]
	log      []*soltiv1.OutputEventProto
	told     bool
	deleted  int // place
}

type event[T any] struct {
	at   int
	life int
	what T
}

type version struct {
	at   int
	life int
	*slotdv1.TaskRecord
}

// chapter is one attempt in the store.
type chapter struct {
	number          uint32
	begun, finished int // places
	life            int // in which it began
	ended           int // the life in which its end was written
	last            *slotdv1.RunRecord
	ends            int // different ends that were written
}

type stream struct {
	attempt uint32
	kind    soltiv1.OutputStreamKind
}

func (s *story) nonce() string { return s.spec.GetLabels()[nonceLabel] }

// end is the record that makes the task terminal, or nil.
func (s *story) end() *version {
	for i := range s.records {
		if s.records[i].GetPhase() == slotdv1.Phase_PHASE_FINISHED {
			return &s.records[i]
		}
	}
	return nil
}

// endAt is where the task is terminal or gone, or the end of the history.
func (s *story) endAt(h history) int {
	at := len(h)
	if end := s.end(); end != nil {
		at = end.at
	}
	if s.deleted != never {
		at = min(at, s.deleted)
	}
	return at
}

func (s *story) run(number uint32) *chapter {
	for _, r := range s.runs {
		if r.number == number {
			return r
		}
	}
	return nil
}

// living says whether a process of the attempt lives at a place.
func (s *story) living(number uint32, at int) bool {
	n := 0
	for _, e := range s.spawned {
		if e.what.number == number && e.at < at {
			n++
		}
	}
	for _, e := range s.died {
		if e.what.number == number && e.at < at {
			n--
		}
	}
	return n > 0
}

func (b *book) task(id string) *story {
	s := b.byID[id]
	if s == nil {
		s = &story{id: id, deleted: never, printed: map[stream]int{}}
		b.byID[id] = s
	}
	return s
}

func (b *book) life(n int) *span {
	if b.lives[n] == nil {
		b.lives[n] = &span{began: never, ready: never, drained: never, ended: never}
	}
	return b.lives[n]
}

// read makes the book of a history.
func read(h history) *book {
	b := &book{history: h, byID: map[string]*story{}, lives: map[int]*span{}}
	asked := map[int]*request{}
	for i, e := range h {
		b.readLife(i, e)
		b.readProcess(i, e)
		switch f := e.what.(type) {
		case askedFact:
			asked[f.request] = &request{asked: f, at: i, answered: never, life: e.life}
		case answered:
			if r := asked[f.request]; r != nil {
				r.answered, r.answer = i, f
			}
		case wrote:
			b.readBatch(i, e.life, f)
		case saw:
			s := b.task(f.task)
			s.seen = append(s.seen, event[sight]{i, e.life, f.sight})
		case told:
			s := b.task(f.task)
			s.log, s.told = f.events, true
		case settled:
			b.settled = &f
		}
	}
	b.tasks = slices.SortedFunc(maps.Values(b.byID), func(x, y *story) int { return cmp.Compare(x.id, y.id) })
	b.requests = slices.SortedFunc(maps.Values(asked), func(x, y *request) int { return cmp.Compare(x.at, y.at) })
	return b
}

type askedFact = asked

func (b *book) readLife(i int, e entry) {
	l := b.life(e.life)
	switch f := e.what.(type) {
	case began:
		l.began = i
	case ready:
		l.ready = i
	case drained:
		l.drained = i
	case crashed:
		l.ended, l.crashed = i, true
	case stopped:
		l.ended = i
	case faulted:
		l.panics = f.panics
	case failed:
		l.failed = true
	}
}

func (b *book) readProcess(i int, e entry) {
	switch f := e.what.(type) {
	case spawned:
		s := b.task(f.task)
		s.slot = f.slot
		s.spawned = append(s.spawned, event[spawned]{i, e.life, f})
	case balked:
		s := b.task(f.task)
		s.slot = f.slot
		s.balked = append(s.balked, event[balked]{i, e.life, f})
	case died:
		s := b.task(f.task)
		s.died = append(s.died, event[died]{i, e.life, f})
	case printed:
		b.task(f.task).printed[stream{f.number, f.stream}]++
	}
}

func (b *book) readBatch(i, life int, f wrote) {
	for _, r := range f.batch.Tasks {
		s := b.task(r.GetId())
		s.slot = r.GetSlot()
		s.records = append(s.records, version{i, life, r})
	}
	for _, spec := range f.batch.Specs {
		b.task(spec.GetTaskId()).spec = spec.GetSpec()
	}
	for _, r := range f.batch.Runs {
		s := b.task(r.GetTaskId())
		run := s.run(r.GetAttempt())
		if run == nil {
			run = &chapter{number: r.GetAttempt(), begun: i, finished: never, life: life}
			s.runs = append(s.runs, run)
		}
		if r.GetFinishedAt() != 0 && (run.last.GetFinishedAt() != r.GetFinishedAt() || run.last.GetReason() != r.GetReason()) {
			run.ends++
			run.finished, run.ended = i, life
		}
		run.last = r
	}
	for _, id := range f.batch.Deletes {
		if s := b.task(id); s.deleted == never {
			s.deleted = i
		}
	}
}
