package history

import (
	"fmt"
	"strings"
	"time"

	"google.golang.org/protobuf/proto"

	"slotd/messages"
	soltiv1 "slotd/messages/solti/v1"
)

// Ran says that a question that began at look was answered with these runs, when the task stood as data says or later.
func (h *History) Ran(look Look, data *soltiv1.TaskData, runs []*soltiv1.TaskRunInfo) {
	h.mu.Lock()
	defer h.mu.Unlock()
	id := data.GetMetadata().GetId()
	t := h.tasks[id]
	if t == nil {
		return // nobody has submitted it, which was said when it was seen
	}
	if h.vanishing(t) && len(runs) == 0 {
		return
	}
	for _, what := range RunProblems(data, runs) {
		h.report(id, t.slot, "%s; the task is %s, its runs are %s", what, short(data), runList(runs))
	}
	for _, run := range runs {
		h.ran(look, t, run)
	}
	last := uint32(0)
	if len(runs) > 0 {
		last = runs[len(runs)-1].GetAttempt()
	}
	for a, trace := range h.attempts {
		if a.task == id && trace.start != nil && trace.known <= look && a.number > last {
			h.report(id, t.slot, "attempt %d runs, and has no record", a.number)
		}
	}
}

// ran holds a run against the marks of its processes and against what was shown before.
func (h *History) ran(look Look, t *task, run *soltiv1.TaskRunInfo) {
	if run.FinishedAt == nil {
		if before := t.runs[run.GetAttempt()]; before != nil && t.ended[run.GetAttempt()] <= look {
			h.report(t.id, t.slot, "run %d was finished (%s), and is not", run.GetAttempt(), runText(before))
		}
		return
	}
	if before := t.runs[run.GetAttempt()]; before != nil {
		if !proto.Equal(before, run) {
			h.report(t.id, t.slot, "run %d was %s, and is %s", run.GetAttempt(), runText(before), runText(run))
		}
		return
	}
	h.note(t.id, t.slot, "run %s", runText(run))
	t.runs[run.GetAttempt()], t.ended[run.GetAttempt()] = run, h.clock
	if why := h.legitimate(t, run.GetReason()); why != "" {
		h.report(t.id, t.slot, "run %s, but %s", runText(run), why)
	}
	tr := h.attempts[attempt{t.id, run.GetAttempt()}]
	if tr == nil {
		tr = new(trace)
	}
	switch messages.Reason(run.GetReason()) {
	case messages.ReasonCompleted, messages.ReasonNonZeroExit:
		switch {
		case tr.start == nil || tr.end == nil:
			h.report(t.id, t.slot, "run %s, but its process has not said so", runText(run))
		case tr.end.Told || tr.end.Code != int(run.GetExitCode()):
			h.report(t.id, t.slot, "run %s, but its process said %s", runText(run), tr.end)
		}
	case messages.ReasonNodeLost:
		if tr.start != nil && !h.killed[tr.start.Life] {
			h.report(t.id, t.slot, "run %s, but the life that started it goes on: %s", runText(run), tr.start)
		}
	case messages.ReasonTimedOut:
		if took := run.GetFinishedAt() - run.GetStartedAt(); took < int64(t.submission.full.GetTimeoutMs())-1 {
			h.report(t.id, t.slot, "run %s took %d ms only", runText(run), took)
		}
	case messages.ReasonSpawnFailed, messages.ReasonRunnerUnavailable:
		if tr.start != nil {
			h.report(t.id, t.slot, "run %s, but there was a process: %s", runText(run), tr.start)
		}
	default: // it was told to end: the process may have said anything
	}
}

// RunProblems replays the restart policy over the runs of a task and says where it leads elsewhere. The runs may be
// newer than the task.
func RunProblems(data *soltiv1.TaskData, runs []*soltiv1.TaskRunInfo) []string {
	var problems []string
	problem := func(format string, args ...any) { problems = append(problems, fmt.Sprintf(format, args...)) }
	spec, status := data.GetSpec(), data.GetStatus()
	if status.GetTerminal() && len(runs) > 0 && runs[len(runs)-1].GetAttempt() != status.GetAttempt() {
		problem("its last run is not its last attempt")
	}
	if len(runs) == 0 && status.GetAttempt() > 0 {
		problem("no run is there")
	}
	failures, next := uint32(0), messages.Retry
	for i, run := range runs {
		last := i == len(runs)-1
		if want := runs[0].GetAttempt() + uint32(i); run.GetAttempt() != want {
			problem("run %d stands where %d belongs", run.GetAttempt(), want)
		}
		if run.FinishedAt == nil {
			if !last || status.GetTerminal() {
				problem("run %d is not finished", run.GetAttempt())
			}
			return problems
		}
		if run.GetFinishedAt() < run.GetStartedAt() {
			problem("run %d ended before it began", run.GetAttempt())
		}
		verdict := verdictOf(run)
		switch {
		case !verdict.Failed():
			failures = 0
		case !verdict.Free:
			failures++
		}
		next = after(spec, run, failures)
		if last {
			break
		}
		if next != messages.Retry && next != messages.Repeat {
			problem("run %d follows on run %d, which was the last", runs[i+1].GetAttempt(), run.GetAttempt())
		}
		if gap, least := runs[i+1].GetStartedAt()-run.GetFinishedAt(), leastGap(spec, run, next, failures); gap < least-1 {
			problem("run %d began %d ms after the end of run %d, want %d at least", runs[i+1].GetAttempt(), gap, run.GetAttempt(), least)
		}
	}
	if status.GetTerminal() && len(runs) > 0 && runs[0].GetAttempt() == 1 {
		problems = append(problems, outcomeProblems(status, runs[len(runs)-1], next)...)
	}
	return problems
}

func verdictOf(run *soltiv1.TaskRunInfo) messages.Verdict {
	reason := messages.Reason(run.GetReason())
	return messages.Verdict{
		Status: run.GetStatus(),
		Reason: reason,
		Fatal:  reason == messages.ReasonSpawnFailed,
		Free:   reason == messages.ReasonNodeLost || reason == messages.ReasonShutdown,
	}
}

// after is what the policy makes of a run's end. A task that was told to end does not go on; one that was stopped with
// its daemon does as after a failure.
func after(spec *soltiv1.CreateSpec, run *soltiv1.TaskRunInfo, failures uint32) messages.Next {
	switch messages.Reason(run.GetReason()) {
	case messages.ReasonCanceled, messages.ReasonReplaced, messages.ReasonSuperseded:
		return messages.End
	default:
		return messages.RestartOf(spec).After(verdictOf(run), failures)
	}
}

// leastGap is how many milliseconds at least lie between the end of a run and the start of the next.
func leastGap(spec *soltiv1.CreateSpec, run *soltiv1.TaskRunInfo, next messages.Next, failures uint32) int64 {
	if messages.Reason(run.GetReason()) == messages.ReasonShutdown {
		return 0
	}
	ended := time.UnixMilli(run.GetFinishedAt())
	if next == messages.Repeat {
		return messages.RestartOf(spec).RepeatAt(time.UnixMilli(run.GetStartedAt()), ended).Sub(ended).Milliseconds()
	}
	backoff := messages.BackoffOf(spec)
	base := backoff.Base(max(failures, 1) - 1)
	switch backoff.Jitter {
	case soltiv1.JitterStrategy_JITTER_STRATEGY_NONE:
		return base.Milliseconds()
	case soltiv1.JitterStrategy_JITTER_STRATEGY_EQUAL:
		return (base / 2).Milliseconds()
	case soltiv1.JitterStrategy_JITTER_STRATEGY_DECORRELATED:
		return min(backoff.First, backoff.Max).Milliseconds()
	default:
		return 0
	}
}

// outcomeProblems holds the outcome of a task against its last run and what the policy made of it.
func outcomeProblems(status *soltiv1.TaskStatusInfo, last *soltiv1.TaskRunInfo, next messages.Next) []string {
	reason := messages.Reason(status.GetReason())
	switch reason {
	case messages.ReasonCanceled, messages.ReasonReplaced, messages.ReasonSuperseded, messages.ReasonShutdown:
		if status.GetPhase() != soltiv1.TaskStatus_TASK_STATUS_CANCELED {
			return []string{"it ended " + status.GetPhase().String() + " for the reason " + string(reason)}
		}
		return nil // somebody has ended it, whatever its last run was
	default:
	}
	wantPhase, wantReason := last.GetStatus(), messages.Reason(last.GetReason())
	switch next {
	case messages.EndExhausted:
		wantPhase, wantReason = soltiv1.TaskStatus_TASK_STATUS_EXHAUSTED, messages.ReasonRetriesExhausted
	case messages.Retry, messages.Repeat:
		return []string{"it ended, and its policy goes on"}
	default:
	}
	if status.GetPhase() != wantPhase || reason != wantReason {
		return []string{fmt.Sprintf("it ended %v %s, want %v %s", status.GetPhase(), reason, wantPhase, wantReason)}
	}
	return nil
}

func runText(r *soltiv1.TaskRunInfo) string {
	if r.FinishedAt == nil {
		return fmt.Sprintf("%d from %d", r.GetAttempt(), r.GetStartedAt())
	}
	text := fmt.Sprintf("%d %s from %d to %d", r.GetAttempt(), r.GetReason(), r.GetStartedAt(), r.GetFinishedAt())
	if r.ExitCode != nil {
		text += fmt.Sprintf(" exit %d", r.GetExitCode())
	}
	return text
}

func runList(runs []*soltiv1.TaskRunInfo) string {
	texts := make([]string, len(runs))
	for i, r := range runs {
		texts[i] = runText(r)
	}
	return "[" + strings.Join(texts, ", ") + "]"
}
