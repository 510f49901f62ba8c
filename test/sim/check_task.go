package sim

import (
	"time"

	"slotd/messages"
	soltiv1 "slotd/messages/solti/v1"
)

// terminalMeansDead: when the end of a run or of a task is on the disk, its process is dead, and none follows.
func terminalMeansDead(b *book, wrong report) {
	for _, s := range b.tasks {
		for _, r := range s.runs {
			if r.finished != never && s.living(r.number, r.finished) {
				wrong(s.slot, r.finished, "the run %s/%d has ended, its process lives", s.id, r.number)
			}
		}
		end := s.endAt(b.history)
		for _, e := range s.spawned {
			if e.at > end {
				wrong(s.slot, e.at, "%v starts after the end of its task", e.what.attempt)
			}
		}
	}
}

// attemptsCount: runs are numbered 1, 2, 3… and each begins after the end of the one before; each has one end, and one
// process at most.
func attemptsCount(b *book, wrong report) {
	for _, s := range b.tasks {
		for i, r := range s.runs {
			if int(r.number) != i+1 {
				wrong(s.slot, r.begun, "run %d of %s comes at place %d", r.number, s.id, i+1)
			}
			if i > 0 && (s.runs[i-1].finished == never || s.runs[i-1].finished > r.begun) {
				wrong(s.slot, r.begun, "run %d of %s begins before the one before it has ended", r.number, s.id)
			}
			if r.ends > 1 {
				wrong(s.slot, r.finished, "run %d of %s has %d ends", r.number, s.id, r.ends)
			}
			if end := s.end(); end != nil && r.finished == never {
				wrong(s.slot, end.at, "%s has ended, its run %d has not", s.id, r.number)
			}
		}
		if end := s.end(); end != nil && int(end.GetAttempt()) != len(s.runs) {
			wrong(s.slot, end.at, "%s ends with attempt %d after %d runs", s.id, end.GetAttempt(), len(s.runs))
		}
		starts := map[uint32]int{}
		for _, e := range s.spawned {
			if starts[e.what.number]++; starts[e.what.number] > 1 {
				wrong(s.slot, e.at, "%v has two processes", e.what.attempt)
			}
			if s.run(e.what.number) == nil {
				wrong(s.slot, e.at, "%v has no run", e.what.attempt)
			}
		}
	}
}

// runsAreTrue: a run tells how its process ended, and a node is lost only with a life of the node.
func runsAreTrue(b *book, wrong report) {
	for _, s := range b.tasks {
		for _, r := range s.runs {
			if r.finished == never {
				continue
			}
			switch reason := messages.Reason(r.last.GetReason()); reason {
			case messages.ReasonCompleted, messages.ReasonNonZeroExit, messages.ReasonSignaled, messages.ReasonOutOfMemory:
				if !s.endedLike(r) && !b.forgotTheStop(r) {
					wrong(s.slot, r.finished, "no process of %s/%d ended as its run says: %v", s.id, r.number, r.last)
				}
			case messages.ReasonSpawnFailed, messages.ReasonRunnerUnavailable:
				if !s.balkedLike(r, reason == messages.ReasonSpawnFailed) {
					wrong(s.slot, r.finished, "%s/%d was not refused by the machine", s.id, r.number)
				}
			case messages.ReasonNodeLost:
				if r.ended == r.life {
					wrong(s.slot, r.finished, "%s/%d is lost with a node that lives", s.id, r.number)
				}
			case messages.ReasonTimedOut:
				if r.last.GetFinishedAt()-r.last.GetStartedAt() < int64(s.spec.GetTimeoutMs()) {
					wrong(s.slot, r.finished, "%s/%d timed out after %d ms of %d", s.id, r.number,
						r.last.GetFinishedAt()-r.last.GetStartedAt(), s.spec.GetTimeoutMs())
				}
			default: // it was stopped
			}
		}
	}
}

// forgotTheStop: an actor failed between the stop it asked for and the record of it, which the disk refused. Nobody is
// left who knows that the signal was ours.
func (b *book) forgotTheStop(r *chapter) bool {
	l := b.life(r.ended)
	return r.last.GetReason() == string(messages.ReasonSignaled) && l.failed && l.panics > 0
}

func (s *story) endedLike(r *chapter) bool {
	for _, e := range s.died {
		if e.what.number == r.number && e.at < r.finished && e.what.own {
			return e.what.signal == int(r.last.GetSignal()) && e.what.code == int(r.last.GetExitCode())
		}
	}
	return false
}

func (s *story) balkedLike(r *chapter, forGood bool) bool {
	for _, e := range s.balked {
		if e.what.number == r.number && e.at < r.finished {
			return e.what.never == forGood
		}
	}
	return false
}

// verdict is what the policy makes of a run.
type verdict uint8

const (
	goesOn verdict = iota
	ends
	exhausted
)

// follow applies the restart policy to a run after so many failures in a row, this one included if it counts.
func follow(spec *soltiv1.CreateSpec, status soltiv1.TaskStatus, reason messages.Reason, failures uint32) verdict {
	policy := spec.GetRestart()
	switch {
	case reason == messages.ReasonSpawnFailed, policy == soltiv1.RestartStrategy_RESTART_STRATEGY_NEVER:
		return ends
	case status == soltiv1.TaskStatus_TASK_STATUS_SUCCEEDED:
		if policy == soltiv1.RestartStrategy_RESTART_STRATEGY_ALWAYS {
			return goesOn
		}
		return ends
	case reason == messages.ReasonNodeLost, reason == messages.ReasonShutdown:
		return goesOn
	case status == soltiv1.TaskStatus_TASK_STATUS_CANCELED:
		return ends
	case spec.MaxRetries != nil && failures > spec.GetMaxRetries():
		return exhausted
	default:
		return goesOn
	}
}

// counted is the number of failures in a row after a run.
func counted(before uint32, r *chapter) uint32 {
	reason := messages.Reason(r.last.GetReason())
	switch {
	case r.last.GetStatus() == soltiv1.TaskStatus_TASK_STATUS_SUCCEEDED:
		return 0
	case reason == messages.ReasonNodeLost, r.last.GetStatus() == soltiv1.TaskStatus_TASK_STATUS_CANCELED:
		return before
	default:
		return before + 1
	}
}

// policyDecides: another run follows exactly as the restart policy says; a node that was lost or stopped uses up no
// retry; and a task that nobody stopped ends as its last run says.
func policyDecides(b *book, wrong report) {
	for _, s := range b.tasks {
		if s.spec == nil {
			continue // not accepted, which is another rule's
		}
		var failures uint32
		for i, r := range s.runs {
			if r.finished == never {
				continue
			}
			failures = counted(failures, r)
			next := follow(s.spec, r.last.GetStatus(), messages.Reason(r.last.GetReason()), failures)
			if i < len(s.runs)-1 {
				if next != goesOn {
					wrong(s.slot, s.runs[i+1].begun, "%s goes on after %s with %d failures", s.id, r.last.GetReason(), failures)
				}
				continue
			}
			b.endFollows(s, r, next, wrong)
		}
	}
}

func (b *book) endFollows(s *story, last *chapter, next verdict, wrong report) {
	end := s.end()
	if end == nil {
		if next != goesOn && s.deleted == never {
			wrong(s.slot, last.finished, "%s does not end after %s", s.id, last.last.GetReason())
		}
		return
	}
	switch reason := messages.Reason(end.GetReason()); {
	case reason == messages.ReasonCanceled || reason == messages.ReasonReplaced:
		if end.GetStatus() != soltiv1.TaskStatus_TASK_STATUS_CANCELED {
			wrong(s.slot, end.at, "%s is %s, and shown as %v", s.id, reason, end.GetStatus())
		}
	case next == goesOn:
		wrong(s.slot, end.at, "%s ends with %s, and had to go on", s.id, reason)
	case next == exhausted:
		if reason != messages.ReasonRetriesExhausted || end.GetStatus() != soltiv1.TaskStatus_TASK_STATUS_EXHAUSTED {
			wrong(s.slot, end.at, "%s ends with %s, and its retries are used up", s.id, reason)
		}
	case string(reason) != last.last.GetReason() || end.GetStatus() != last.last.GetStatus():
		wrong(s.slot, end.at, "%s ends with %s, its last run with %s", s.id, reason, last.last.GetReason())
	}
}

// notBeforeItsTime: no attempt begins before backoff or interval are over.
func notBeforeItsTime(b *book, wrong report) {
	for _, s := range b.tasks {
		if s.spec == nil {
			continue // not accepted, which is another rule's
		}
		var failures uint32
		for i, r := range s.runs {
			if i > 0 {
				previous := s.runs[i-1]
				failures = counted(failures, previous)
				due := earliest(s.spec, previous, failures)
				if started := time.UnixMilli(r.last.GetStartedAt()); started.Before(due.Add(-time.Millisecond)) {
					wrong(s.slot, r.begun, "run %d of %s begins %v before its time", r.number, s.id, due.Sub(started))
				}
			}
		}
		for _, e := range s.spawned {
			r := s.run(e.what.number)
			if r == nil {
				continue
			}
			if at := b.history[e.at].at; at.Before(time.UnixMilli(r.last.GetStartedAt())) {
				wrong(s.slot, e.at, "%v starts before its run", e.what.attempt)
			}
		}
	}
}

// earliest is when the next attempt may begin at the earliest.
func earliest(spec *soltiv1.CreateSpec, r *chapter, failures uint32) time.Time {
	finished := time.UnixMilli(r.last.GetFinishedAt())
	switch {
	case r.last.GetReason() == string(messages.ReasonShutdown):
		return finished
	case r.last.GetStatus() == soltiv1.TaskStatus_TASK_STATUS_SUCCEEDED:
		after := finished.Add(time.Duration(spec.GetRestartIntervalMs()) * time.Millisecond)
		if least := time.UnixMilli(r.last.GetStartedAt()).Add(messages.MinRestartInterval); after.Before(least) {
			return least
		}
		return after
	}
	backoff := messages.BackoffOf(spec)
	base := backoff.Base(max(failures, 1) - 1)
	switch backoff.Jitter {
	case soltiv1.JitterStrategy_JITTER_STRATEGY_NONE:
		return finished.Add(base)
	case soltiv1.JitterStrategy_JITTER_STRATEGY_EQUAL:
		return finished.Add(base / 2)
	case soltiv1.JitterStrategy_JITTER_STRATEGY_DECORRELATED:
		return finished.Add(backoff.First)
	default:
		return finished
	}
}
