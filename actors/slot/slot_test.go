package slot

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"slotd/messages"
	soltiv1 "slotd/messages/solti/v1"
)

// after plays events, in the words of the stories, into a slot whose queue takes one task.
func after(t *testing.T, script ...string) *story {
	t.Helper()
	s := &story{slot: New(1), asked: map[Caller]string{}}
	s.play(t, strings.Join(script, "\n"))
	return s
}

// TestStep has every event in every phase. What a phase does with an event is told in the words of the stories.
func TestStep(t *testing.T) {
	var (
		idle     = []string{"resumed"}
		occupied = []string{"submit a drop"}
		waited   = []string{"submit a drop", "submit q queue"}
		unsure   = []string{"submit a drop", "submit b replace"}
		retiring = []string{"submit a drop", "submit b replace", "kept b"}
		behind   = []string{"submit a drop", "submit b replace", "finished a"}
		drained  = []string{"submit a drop", "drain 1s"}
	)
	for _, tc := range []struct {
		name  string
		given []string
		when  string
		want  string // effects, then where the slot stands
	}{
		{"idle admits any policy: drop", idle, "submit a drop", `record admit a as holder; spawn a; answer "submit a drop": accepted (admitted); = occupied, holder a`},
		{"idle admits any policy: queue", idle, "submit a queue", `record admit a as holder; spawn a; answer "submit a queue": accepted (admitted); = occupied, holder a`},
		{"idle admits any policy: replace", idle, "submit a replace", `record admit a as holder; spawn a; answer "submit a replace": accepted (admitted); = occupied, holder a`},
		{"idle: resumed with nothing", nil, "resumed", "= idle"},
		{"idle: kept means nothing", idle, "kept a", "= idle"},
		{"idle: refused means nothing", idle, "refused a", "= idle"},
		{"idle: finished means nothing", idle, "finished a", "= idle"},
		{"idle: died means nothing", idle, "died a", "= idle"},
		{"idle: cancel is answered", idle, "cancel a", `answer "cancel a": gone; = idle`},
		{"idle: delete deletes what has ended", idle, "delete a", `record delete a; answer "delete a": gone; = idle`},
		{"idle: clear is answered", idle, "clear holder", `answer "clear holder": cleared; = idle`},
		{"idle: drain", idle, "drain 1s", "= idle"},

		{"busy refuses drop", occupied, "submit b drop", `answer "submit b drop": busy with a (dropped); = occupied, holder a`},
		{"busy queues", occupied, "submit b queue", `record admit b as queued; answer "submit b queue": accepted (queued); = occupied, holder a, queue b`},
		{"full refuses queue", waited, "submit b queue", `answer "submit b queue": full (queue_full); = occupied, holder a, queue q`},
		{"full takes a replacement", waited, "submit b replace", `record admit b as replacement; answer "submit b replace": accepted (replaced); = occupied, holder a, replacement b, queue q`},
		{"replace leaves the holder alone", occupied, "submit b replace", `record admit b as replacement; answer "submit b replace": accepted (replaced); = occupied, holder a, replacement b`},
		{"kept retires the holder", unsure, "kept b", "stop a Replaced; = retiring, holder a, replacement b"},
		{"kept of the holder means nothing", occupied, "kept a", "= occupied, holder a"},
		{"refused replacement leaves the holder alone", unsure, "refused b", "= occupied, holder a"},
		{"refused holder frees the slot", occupied, "refused a", "= idle"},
		{"refused holder gives way to the next", waited, "refused a", "record promote q; spawn q; = occupied, holder q"},
		{"refused queued leaves the queue", waited, "refused q", "= occupied, holder a"},
		{"refused stranger means nothing", waited, "refused x", "= occupied, holder a, queue q"},
		{"finished hands over in one commit", waited, "finished a", "record finish a; release a; record promote q; spawn q; = occupied, holder q"},
		{"finished of another means nothing", waited, "finished q", "= occupied, holder a, queue q"},
		{"died is recalled", occupied, "died a", "recall a; = occupied, holder a"},
		{"died of another means nothing", waited, "died q", "= occupied, holder a, queue q"},
		{"cancel of the holder waits", occupied, "cancel a 1s", "stop a Canceled within 1s; = retiring, holder a"},
		{"a cancel after a delete still deletes", []string{"submit a drop", "delete a", "cancel a"}, "finished a", `record finish a; record delete a; release a; answer "delete a": gone; answer "cancel a": gone; = idle`},
		{"cancel of the queued", waited, "cancel q", `record end q Canceled; answer "cancel q": gone; = occupied, holder a`},
		{"delete of the queued", waited, "delete q", `record end q Canceled; record delete q; answer "delete q": gone; = occupied, holder a`},
		{"cancel of an unsure replacement", unsure, "cancel b", `record end b Canceled; answer "cancel b": gone; = occupied, holder a`},
		{"clear leaves the holder", waited, "clear", `record end q Canceled; answer "clear": cleared q; = occupied, holder a`},
		{"clear with the holder waits", waited, "clear holder", "record end q Canceled; stop a Canceled; = retiring, holder a"},
		{"drain ends all", waited, "drain 1s", "record end q Shutdown; stop a Shutdown within 1s; = retiring, holder a"},

		{"retiring refuses drop", retiring, "submit c drop", `answer "submit c drop": busy with a (dropped); = retiring, holder a, replacement b`},
		{"retiring queues", retiring, "submit c queue", `record admit c as queued; answer "submit c queue": accepted (queued); = retiring, holder a, replacement b, queue c`},
		{"retiring: a replacement supersedes", retiring, "submit c replace", `record admit c as replacement; record end b Superseded; count superseded; answer "submit c replace": accepted (replaced); = retiring, holder a, replacement c`},
		{"retiring: kept stops again", retiring, "kept b", "stop a Replaced; = retiring, holder a, replacement b"},
		{"retiring: finished promotes the replacement", retiring, "finished a", "record finish a; release a; record promote b; spawn b; = occupied, holder b"},
		{"retiring: died is recalled", retiring, "died a", "recall a; = retiring, holder a, replacement b"},
		{"retiring: cancel of the holder", retiring, "cancel a", "stop a Canceled; = retiring, holder a, replacement b"},
		{"retiring: cancel of the replacement leaves the holder stopping", retiring, "cancel b", `record end b Canceled; answer "cancel b": gone; = retiring, holder a`},
		{"retiring: clear", retiring, "clear", `record end b Canceled; answer "clear": cleared b; = retiring, holder a`},
		{"retiring: drain hastens", retiring, "drain 1s", "record end b Shutdown; stop a Shutdown within 1s; = retiring, holder a"},
		{"retiring: refused holder", []string{"submit a drop", "cancel a"}, "refused a", `answer "cancel a": unavailable; = idle`},

		{"a promoted replacement that is refused leaves", behind, "refused b", "= idle"},
		{"a promoted replacement that is kept stays", behind, "kept b", "= occupied, holder b"},
		{"drained admits nothing", drained, "submit b queue", `answer "submit b queue": draining; = retiring, holder a`},
		{"drained again with a shorter grace", drained, "drain 0s", "stop a Shutdown within 0s; = retiring, holder a"},
		{"drained: the end frees the slot", drained, "finished a", "record finish a; release a; = idle"},
		{"drained: cancel is told too", drained, "cancel a", "stop a Canceled; = retiring, holder a"},

		{"resumed with a holder", nil, "resumed holder=a", "spawn a; = occupied, holder a"},
		{"resumed with a holder and a queue", nil, "resumed holder=a queue=b,c", "spawn a; = occupied, holder a, queue b c"},
		{"resumed with a replacement retires the holder", nil, "resumed holder=a replacement=b", "spawn a; stop a Replaced; = retiring, holder a, replacement b"},
		{"resumed without a holder promotes the replacement first", nil, "resumed replacement=b queue=c", "record promote b; spawn b; = occupied, holder b, queue c"},
		{"resumed without a holder promotes the queue", nil, "resumed queue=b,c", "record promote b; spawn b; = occupied, holder b, queue c"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			s := after(t, tc.given...)
			var got []string
			for line := range strings.Lines(s.play(t, tc.when)) {
				got = append(got, strings.TrimSpace(line))
			}
			text := strings.TrimPrefix(strings.Join(got, "; "), tc.when+"; ")
			text = strings.TrimPrefix(text, tc.when+"  ")
			if diff := cmp.Diff(tc.want, text); diff != "" {
				t.Errorf("%q after %q (-want +got):\n%s", tc.when, tc.given, diff)
			}
		})
	}
}

// TestRestoreChain lets b, c and d replace one another behind a, with every subset of their commits failing, a's end at
// every moment, and the failures known in order or as early as they can be.
func TestRestoreChain(t *testing.T) {
	tasks := []string{"b", "c", "d"}
	for kept := range 8 {
		for endAt := range len(tasks) + 1 {
			for _, early := range []bool{false, true} {
				t.Run(fmt.Sprintf("kept=%03b end=%d early=%v", kept, endAt, early), func(t *testing.T) {
					s, l := New(1), ledger{ended: map[string]messages.Reason{}}
					l.hear(t, s.Step(Submitted{Task: "a"}))
					for _, task := range tasks {
						l.hear(t, s.Step(Submitted{Task: task, Admission: soltiv1.AdmissionStrategy_ADMISSION_STRATEGY_REPLACE}))
					}
					var words []Event
					for i, task := range tasks {
						if kept&(1<<i) != 0 {
							words = append(words, Kept{task})
						} else {
							words = append(words, Refused{task})
						}
					}
					if early { // a commit that fails is heard of before one that holds, but waits behind another
						slices.SortStableFunc(words, func(a, b Event) int { return refusedFirst(a) - refusedFirst(b) })
					}
					for i, word := range words {
						if i == endAt {
							l.hear(t, s.Step(Finished{"a"}))
						}
						if refused, ok := word.(Refused); ok {
							l.drop(refused.Task)
						}
						l.hear(t, s.Step(word))
					}
					if endAt == len(words) {
						l.hear(t, s.Step(Finished{"a"}))
					}
					for s.Phase() != Idle {
						l.order = append(l.order, s.holder.task)
						l.hear(t, s.Step(Finished{s.holder.task}))
					}
					l.check(t, tasks, kept)
					if len(s.limbo) > 0 {
						t.Errorf("limbo still has %v", s.limbo)
					}
				})
			}
		}
	}
}

func refusedFirst(ev Event) int {
	if _, ok := ev.(Refused); ok {
		return 0
	}
	return 1
}

// ledger is what the store would make of the records: those of one step are one commit, and the failed admissions take
// what came with them along.
type ledger struct {
	steps [][]Effect
	void  []string
	ended map[string]messages.Reason
	order []string // who held the slot after all was known
}

func (l *ledger) hear(t *testing.T, effects []Effect) {
	t.Helper()
	l.steps = append(l.steps, effects)
}

func (l *ledger) drop(task string) {
	l.void = append(l.void, task)
	l.steps = slices.DeleteFunc(l.steps, func(effects []Effect) bool {
		if len(effects) == 0 {
			return false
		}
		r, ok := effects[0].(Record)
		return ok && r.Change == Admit && r.Task == task
	})
}

func (l *ledger) check(t *testing.T, tasks []string, kept int) {
	t.Helper()
	ends := map[string]int{}
	for _, effects := range l.steps {
		for _, eff := range effects {
			r, ok := eff.(Record)
			if !ok || slices.Contains(l.void, r.Task) {
				continue
			}
			switch r.Change {
			case End:
				ends[r.Task]++
				if r.Reason != messages.ReasonSuperseded {
					t.Errorf("%s ends %s", r.Task, r.Reason)
				}
			case Finish:
				ends[r.Task]++
				l.ended[r.Task] = "ran"
			default: // no end
			}
		}
	}
	newest := ""
	for i, task := range tasks {
		want := 0
		if kept&(1<<i) != 0 {
			want, newest = 1, task
		}
		if ends[task] != want {
			t.Errorf("%s has %d ends, want %d", task, ends[task], want)
		}
	}
	for _, task := range tasks {
		if ran := l.ended[task] == "ran"; ran != (task == newest) {
			t.Errorf("%s ran: %v; the newest that was kept is %q", task, ran, newest)
		}
	}
}

func TestEveryPhaseButTheDiagramPanics(t *testing.T) {
	for from := Idle; from <= Retiring; from++ {
		for to := Idle; to <= Retiring; to++ {
			s := Slot{phase: from}
			legal := slices.Contains(edges[from], to)
			if panicked(func() { s.become(to) }) == legal {
				t.Errorf("%v -> %v: legal %v", from, to, legal)
			}
		}
	}
}

func TestUnknownEventPanics(t *testing.T) {
	s := New(1)
	if !panicked(func() { s.Step(nil) }) {
		t.Error("a nil event was taken")
	}
}

func panicked(f func()) (yes bool) {
	defer func() { yes = recover() != nil }()
	f()
	return false
}

func BenchmarkQueuedHandOver(b *testing.B) {
	s := New(1)
	s.Step(Submitted{Task: "a"})
	for b.Loop() {
		s.Step(Submitted{Task: "b", Admission: soltiv1.AdmissionStrategy_ADMISSION_STRATEGY_QUEUE})
		s.Step(Finished{s.holder.task})
	}
}
