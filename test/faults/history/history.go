// Package history keeps what clients were answered, what they saw and what the processes of tasks told of themselves,
// and says where that contradicts the promises of slotd.
//
// It is told in the order in which things were known: [History.Submitting] and the like before a request leaves,
// [Submission.Answered] and the like when its answer is there, [History.Saw] for every task that an answer shows,
// [History.Marked] for marks. It does not ask: who drives a daemon does, and may do so from many goroutines. What an
// answer shows may be older than what another client has seen meanwhile, so each question begins with a [Look], and its
// answer is held only against what was known then.
//
// Rules on one task alone are functions: [RunProblems] replays the restart policy over its runs, [LogProblems] reads
// its log.
package history

import (
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	soltiv1 "slotd/messages/solti/v1"
)

// History is what is known of one data directory over all lives of its daemon. Make one with [New]. It is safe for use
// by several goroutines.
type History struct {
	mu    sync.Mutex
	begun time.Time
	clock Look
	life  int

	notes       []note
	problems    []Problem
	submissions map[string]*Submission // by label
	tasks       map[string]*task       // by id
	attempts    map[attempt]*trace
	lanes       map[string]*lane
	killed      map[int]bool // lives that ended without a word
	stopped     map[int]bool // lives that were told to stop
	excused     map[string]bool
	forgetful   bool
}

// Look is a moment in the history.
type Look int64

// Problem is a promise that was broken.
type Problem struct {
	Life       int
	Task, Slot string
	What       string
}

func (p Problem) String() string {
	return fmt.Sprintf("life %d, task %s, slot %s: %s", p.Life, p.Task, p.Slot, p.What)
}

// note is one line of the story.
type note struct {
	at         time.Duration
	task, slot string // empty: it concerns all
	text       string
}

// attempt names one.
type attempt struct {
	task   string
	number uint32
}

// Label is the key of the label by which a task is known again when the answer to its submission was lost.
const Label = "faults"

// New returns a history in which nothing has happened.
func New() *History {
	return &History{
		begun:       time.Now(),
		submissions: make(map[string]*Submission),
		tasks:       make(map[string]*task),
		attempts:    make(map[attempt]*trace),
		lanes:       make(map[string]*lane),
		killed:      make(map[int]bool),
		stopped:     make(map[int]bool),
		excused:     make(map[string]bool),
	}
}

// Begin says that the next life of the daemon begins.
func (h *History) Begin(how string) (life int) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.life++
	h.note("", "", "life %d begins: %s", h.life, how)
	return h.life
}

// Stopping says that the present life is told to end.
func (h *History) Stopping() {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.stopped[h.life] = true
	h.note("", "", "life %d is told to stop", h.life)
}

// Over says that the present life has ended.
func (h *History) Over(how string) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.killed[h.life] = true
	h.note("", "", "life %d is over: %s", h.life, how)
}

// Excuse allows attempts to end for a reason that only a fault of the machine explains, such as RunnerUnavailable.
func (h *History) Excuse(reason string) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.excused[reason] = true
}

// Forgetful says that retention drops tasks that are terminal.
func (h *History) Forgetful() {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.forgetful = true
}

// Look is now.
func (h *History) Look() Look {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.clock
}

// Note adds a line to the story.
func (h *History) Note(task, format string, args ...any) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.note(task, h.slotOf(task), format, args...)
}

// Report adds a problem that somebody else has found.
func (h *History) Report(task, format string, args ...any) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.report(task, h.slotOf(task), format, args...)
}

// Problems returns what was found so far.
func (h *History) Problems() []Problem {
	h.mu.Lock()
	defer h.mu.Unlock()
	return slices.Clone(h.problems)
}

// storyLines bounds a story.
const storyLines = 120

// Story tells what is known of the task and the slot of a problem, up to now.
func (h *History) Story(p Problem) string {
	h.mu.Lock()
	defer h.mu.Unlock()
	var lines []string
	for _, n := range h.notes {
		if n.task == "" && n.slot == "" || n.task != "" && n.task == p.Task || n.slot != "" && n.slot == p.Slot {
			lines = append(lines, fmt.Sprintf("%10.4fs %s", n.at.Seconds(), n.text))
		}
	}
	if cut := len(lines) - storyLines; cut > 0 {
		lines = append([]string{fmt.Sprintf("… %d lines before", cut)}, lines[cut:]...)
	}
	return strings.Join(lines, "\n")
}

func (h *History) note(task, slot, format string, args ...any) {
	h.clock++
	h.notes = append(h.notes, note{time.Since(h.begun), task, slot, fmt.Sprintf(format, args...)})
}

func (h *History) report(task, slot, format string, args ...any) {
	p := Problem{Life: h.life, Task: task, Slot: slot, What: fmt.Sprintf(format, args...)}
	h.problems = append(h.problems, p)
	h.note(task, slot, "PROBLEM: %s", p.What)
}

func (h *History) slotOf(id string) string {
	if t := h.tasks[id]; t != nil {
		return t.slot
	}
	return ""
}

// short is a status in few words.
func short(data *soltiv1.TaskData) string {
	s := data.GetStatus()
	text := fmt.Sprintf("v%d %s %s attempt %d", data.GetMetadata().GetResourceVersion(), strings.TrimPrefix(s.GetPhase().String(), "TASK_STATUS_"), s.GetReason(), s.GetAttempt())
	if s.NextAttemptAt != nil {
		text += fmt.Sprintf(" next %d", s.GetNextAttemptAt())
	}
	if s.GetTerminal() {
		text += " terminal"
	}
	return text
}
