package sim

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"slotd/actors/store"
	slotdv1 "slotd/messages/slotd/v1"
	soltiv1 "slotd/messages/solti/v1"
)

// history is what happened, in the order in which it happened.
type history []entry

type entry struct {
	at   time.Time
	life int // of the node, 1, 2, 3…
	what fact
}

// fact is one thing that can be seen from outside the node.
type fact interface{ String() string }

// verb is what a client can ask for.
type verb string

const (
	submit verb = "submit"
	cancel verb = "cancel"
	remove verb = "delete"
	purge  verb = "purge"
)

// attempt names one.
type attempt struct {
	task   string
	number uint32
}

func (a attempt) String() string { return fmt.Sprintf("%s/%d", a.task, a.number) }

// The facts.
type (
	began   struct{}                // a life: the node has been started
	ready   struct{ tasks []sight } // it has recovered, and shows these
	crashed struct{ point string }  // nothing that comes later is of that life
	drained struct{}                // its graceful stop begins
	stopped struct {                // its graceful stop is over
		running int // processes that are left
	}
	faulted struct{ panics int } // that were injected in this life
	settled struct {             // all accidents are over and everything had time to end
		running, attempts, active int // processes; what the executor and the catalog still have
		slots                     int // whose actor is in memory
		folders                   []string
		tasks                     []sight
	}
	complained struct{ text string } // the node logged an error
	failed     struct{ what string } // the disk, from now on

	asked struct {
		request int
		verb    verb
		slot    string
		task    string // cancel, delete
		holder  bool   // purge
		key     string // submit
		spec    *soltiv1.CreateSpec
		nonce   string // submit: of the spec
	}
	answered struct {
		request int
		label   string // of a rejection; empty = granted
		text    string
		task    string // submit
		tasks   []string
	}
	wrote struct{ batch *store.Batch } // the disk has it, and the node is about to hear of it
	saw   struct{ sight }              // a client was shown this

	spawned struct { // its process runs
		slot string
		attempt
		recorded bool // its run was on the disk
	}
	balked struct { // it could not be started
		slot string
		attempt
		never bool // and never can be
	}
	printed struct { // its process has written a line
		attempt
		stream soltiv1.OutputStreamKind
		line   int // 0, 1, 2… of the attempt and stream
	}
	died struct { // its process and all it started are gone
		slot string
		attempt
		code, signal int
		own          bool // by itself
	}
	told struct { // its log, at the end
		task   string
		events []*soltiv1.OutputEventProto
	}
)

// sight is what a client is shown of a task.
type sight struct {
	task, slot string
	version    uint64
	terminal   bool
	phase      soltiv1.TaskStatus
	reason     string
	attempt    uint32
}

func sightOf(t *soltiv1.TaskData) sight {
	return sight{
		task: t.GetMetadata().GetId(), slot: t.GetSpec().GetSlot(), version: t.GetMetadata().GetResourceVersion(),
		terminal: t.GetStatus().GetTerminal(), phase: t.GetStatus().GetPhase(),
		reason: t.GetStatus().GetReason(), attempt: t.GetStatus().GetAttempt(),
	}
}

func (s sight) String() string {
	text := fmt.Sprintf("%s v%d %s", s.task, s.version, strings.TrimPrefix(s.phase.String(), "TASK_STATUS_"))
	if s.reason != "" {
		text += " " + s.reason
	}
	if s.terminal {
		text += " terminal"
	}
	return fmt.Sprintf("%s attempt %d", text, s.attempt)
}

func (began) String() string     { return "the node starts" }
func (f ready) String() string   { return fmt.Sprintf("the node has recovered %d tasks", len(f.tasks)) }
func (f crashed) String() string { return "CRASH at " + f.point }
func (drained) String() string   { return "the node begins to stop" }
func (f stopped) String() string {
	return fmt.Sprintf("the node has stopped, %d processes left", f.running)
}
func (f faulted) String() string    { return fmt.Sprintf("%d panics were injected", f.panics) }
func (f complained) String() string { return "the node complains: " + f.text }
func (f failed) String() string     { return f.what + " fails" }
func (f saw) String() string        { return "seen: " + f.sight.String() }

func (f settled) String() string {
	return fmt.Sprintf("settled: %d processes, %d attempts, %d active, %d tasks", f.running, f.attempts, f.active, len(f.tasks))
}

func (f asked) String() string {
	text := fmt.Sprintf("#%d %s", f.request, f.verb)
	switch f.verb {
	case submit:
		s := f.spec
		text += fmt.Sprintf(" %s to %s: %s, %s, timeout %d, grace %d, backoff %v", f.nonce, f.slot,
			s.GetAdmission(), s.GetRestart(), s.GetTimeoutMs(), s.GetStopGraceMs(), s.GetBackoff())
		if s.MaxRetries != nil {
			text += fmt.Sprint(", retries ", s.GetMaxRetries())
		}
		if f.key != "" {
			text += ", key " + f.key
		}
	case purge:
		text += fmt.Sprintf(" %s, holder %v", f.slot, f.holder)
	default:
		text += " " + f.task
	}
	return text
}

func (f answered) String() string {
	if f.label != "" {
		return fmt.Sprintf("#%d ◄ %s: %s", f.request, f.label, f.text)
	}
	return fmt.Sprintf("#%d ◄ %s %v", f.request, f.task, f.tasks)
}

func (f wrote) String() string {
	var parts []string
	for _, r := range f.batch.Tasks {
		parts = append(parts, fmt.Sprintf("%s v%d %s %s attempt %d failures %d %s", r.GetId(), r.GetResourceVersion(),
			strings.TrimPrefix(r.GetRole().String(), "ROLE_"), strings.TrimPrefix(r.GetPhase().String(), "PHASE_"),
			r.GetAttempt(), r.GetFailures(), strings.TrimSpace(r.GetReason()+" "+r.GetCause()+" "+r.GetEnd())))
	}
	for _, r := range f.batch.Runs {
		state := "begun"
		if r.GetFinishedAt() != 0 {
			state = r.GetReason()
		}
		parts = append(parts, fmt.Sprintf("run %s/%d %s", r.GetTaskId(), r.GetAttempt(), state))
	}
	for _, key := range f.batch.Keys {
		parts = append(parts, "key "+key.GetKey())
	}
	for _, id := range f.batch.Deletes {
		parts = append(parts, id+" deleted")
	}
	return "disk: " + strings.Join(parts, "; ")
}

func (f spawned) String() string {
	return fmt.Sprintf("process %v runs in %s, recorded %v", f.attempt, f.slot, f.recorded)
}

func (f balked) String() string {
	return fmt.Sprintf("process %v not started, never %v", f.attempt, f.never)
}

func (f printed) String() string {
	return fmt.Sprintf("process %v prints line %d of %v", f.attempt, f.line, f.stream)
}

func (f died) String() string {
	return fmt.Sprintf("process %v is dead, code %d signal %d, by itself %v", f.attempt, f.code, f.signal, f.own)
}
func (f told) String() string { return fmt.Sprintf("log of %s: %d events", f.task, len(f.events)) }

// trace is the part of a history that concerns a slot and its tasks, or all of it, one entry a line.
func (h history) trace(slot string) string {
	tasks := h.tasksOf(slot)
	var text strings.Builder
	for i, e := range h {
		if line := e.what.String(); slot == "" || h.concerns(e.what, slot, tasks) {
			fmt.Fprintf(&text, "%5d %s life %d  %s\n", i, e.at.UTC().Format("05.000"), e.life, line)
		}
	}
	return text.String()
}

// tasksOf are the tasks of a slot, and what was asked for them.
func (h history) tasksOf(slot string) map[string]bool {
	tasks := map[string]bool{}
	for _, e := range h {
		switch f := e.what.(type) {
		case wrote:
			for _, r := range f.batch.Tasks {
				if r.GetSlot() == slot {
					tasks[r.GetId()] = true
				}
			}
		case asked:
			if f.slot == slot || tasks[f.task] {
				tasks[fmt.Sprint("#", f.request)] = true
			}
		}
	}
	return tasks
}

func (h history) concerns(f fact, slot string, tasks map[string]bool) bool {
	switch f := f.(type) {
	case asked:
		return tasks[fmt.Sprint("#", f.request)]
	case answered:
		return tasks[fmt.Sprint("#", f.request)]
	case wrote:
		return slices.ContainsFunc(f.batch.Tasks, func(r *slotdv1.TaskRecord) bool { return r.GetSlot() == slot }) ||
			slices.ContainsFunc(f.batch.Runs, func(r *slotdv1.RunRecord) bool { return tasks[r.GetTaskId()] }) ||
			slices.ContainsFunc(f.batch.Deletes, func(id string) bool { return tasks[id] })
	case saw:
		return f.slot == slot
	case spawned:
		return f.slot == slot
	case balked:
		return f.slot == slot
	case died:
		return f.slot == slot
	case printed:
		return tasks[f.task]
	case told:
		return tasks[f.task]
	default:
		return true
	}
}
