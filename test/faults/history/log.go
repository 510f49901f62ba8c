package history

import (
	"fmt"

	"slotd/messages"
	soltiv1 "slotd/messages/solti/v1"
)

const (
	stdout = soltiv1.OutputStreamKind_OUTPUT_STREAM_KIND_STDOUT
	stderr = soltiv1.OutputStreamKind_OUTPUT_STREAM_KIND_STDERR
)

// Printed is how much of an attempt's output was read.
type Printed map[soltiv1.OutputStreamKind]uint64

// Logged says that the whole log of a task that is terminal was read, with these events.
func (h *History) Logged(data *soltiv1.TaskData, runs []*soltiv1.TaskRunInfo, events []*soltiv1.OutputEventProto) {
	h.mu.Lock()
	defer h.mu.Unlock()
	id := data.GetMetadata().GetId()
	t := h.tasks[id]
	if t == nil || h.vanishing(t) && len(events) == 0 {
		return
	}
	printed, problems := LogProblems(id, runs, events)
	for _, what := range problems {
		h.report(id, t.slot, "log: %s; its runs are %s", what, runList(runs))
	}
	for _, run := range runs {
		tr := h.attempts[attempt{id, run.GetAttempt()}]
		if tr == nil {
			continue
		}
		for _, stream := range []soltiv1.OutputStreamKind{stdout, stderr} {
			got := printed[run.GetAttempt()][stream]
			if seen := tr.followed[stream]; got < seen {
				h.report(id, t.slot, "log: attempt %d has %d lines of %v, and a reader had %d", run.GetAttempt(), got, stream, seen)
			}
			if tr.end == nil {
				continue
			}
			if wrote := uint64(tr.end.Lines); got > wrote || got < wrote && h.drained(tr, run) {
				h.report(id, t.slot, "log: attempt %d has %d lines of %v, its process wrote %d; run %s", run.GetAttempt(), got, stream, wrote, runText(run))
			}
		}
	}
}

// drained says whether the daemon has certainly read all that the process wrote: it has seen its end. Of a process that
// outlived its daemon, it has not.
func (h *History) drained(tr *trace, run *soltiv1.TaskRunInfo) bool {
	switch messages.Reason(run.GetReason()) {
	case messages.ReasonCompleted, messages.ReasonNonZeroExit:
		return true
	case messages.ReasonNodeLost:
		return false
	default: // told to end, which it may have done after its daemon
		return !h.killed[tr.start.Life]
	}
}

// LogProblems reads a log from its first event to its last: each run has one beginning and one end in it, which are the
// run's, and the lines between them are numbered without gap.
func LogProblems(id string, runs []*soltiv1.TaskRunInfo, events []*soltiv1.OutputEventProto) (map[uint32]Printed, []string) {
	var problems []string
	problem := func(format string, args ...any) { problems = append(problems, fmt.Sprintf(format, args...)) }
	printed := make(map[uint32]Printed)
	open := uint32(0) // the attempt that has begun and not ended
	next := 0         // the run that begins next
	for _, e := range events {
		switch kind := e.GetKind().(type) {
		case *soltiv1.OutputEventProto_RunStarted:
			switch {
			case open != 0:
				problem("attempt %d begins before attempt %d has ended", kind.RunStarted.GetAttempt(), open)
			case next >= len(runs) || runs[next].GetAttempt() != kind.RunStarted.GetAttempt():
				problem("attempt %d begins where run %d belongs", kind.RunStarted.GetAttempt(), next)
			case runs[next].GetStartedAt() != kind.RunStarted.GetStartedAt():
				problem("attempt %d began at %d", kind.RunStarted.GetAttempt(), kind.RunStarted.GetStartedAt())
			}
			open = kind.RunStarted.GetAttempt()
			printed[open] = make(Printed)
		case *soltiv1.OutputEventProto_RunFinished:
			switch {
			case open != kind.RunFinished.GetAttempt():
				problem("attempt %d ends while attempt %d runs", kind.RunFinished.GetAttempt(), open)
			case next < len(runs) && runs[next].GetFinishedAt() != kind.RunFinished.GetFinishedAt():
				problem("attempt %d ended at %d", open, kind.RunFinished.GetFinishedAt())
			}
			open = 0
			next++
		case *soltiv1.OutputEventProto_Chunk:
			if what := lineProblem(id, open, printed, kind.Chunk); what != "" {
				problem("%s", what)
			}
		case *soltiv1.OutputEventProto_Lagged:
			problem("%d lines are gone", kind.Lagged.GetSkipped())
		}
	}
	if open != 0 || next < len(runs) {
		problem("it ends with run %d of %d, attempt %d open", next, len(runs), open)
	}
	return printed, problems
}

// lineProblem checks one line and counts it.
func lineProblem(id string, open uint32, printed map[uint32]Printed, c *soltiv1.OutputChunkProto) string {
	if c.GetAttempt() != open || open == 0 {
		return fmt.Sprintf("a line of attempt %d while attempt %d runs", c.GetAttempt(), open)
	}
	want := printed[open][c.GetStream()]
	printed[open][c.GetStream()] = c.GetSeq() + 1
	if c.GetSeq() != want {
		return fmt.Sprintf("line %d of attempt %d, %v, stands where line %d belongs", c.GetSeq(), open, c.GetStream(), want)
	}
	if line := Line(id, open, want); string(c.GetLine()) != line {
		return fmt.Sprintf("line %d of attempt %d is %q, want %q", want, open, c.GetLine(), line)
	}
	return ""
}

// Line is what a process writes as its line n.
func Line(task string, attempt uint32, n uint64) string {
	return fmt.Sprintf("%s/%d line %d", task, attempt, n)
}
