package history

import (
	soltiv1 "slotd/messages/solti/v1"
)

// Follower checks what one reader of a task's log gets, from the first event on, over as many connections and lives of
// the daemon as it takes. It belongs to one goroutine.
type Follower struct {
	history *History
	task    string
	open    uint32 // the attempt that has begun and not ended
	last    uint32 // the one that has begun last
	printed map[uint32]Printed
}

// Following says that a reader begins with the first event of a task's log.
func (h *History) Following(id string) *Follower {
	return &Follower{history: h, task: id, printed: make(map[uint32]Printed)}
}

// Event takes the next event.
func (f *Follower) Event(e *soltiv1.OutputEventProto) {
	switch kind := e.GetKind().(type) {
	case *soltiv1.OutputEventProto_RunStarted:
		n := kind.RunStarted.GetAttempt()
		if f.open != 0 || n != f.last+1 {
			f.history.Report(f.task, "a reader got the beginning of attempt %d after that of %d, with %d open", n, f.last, f.open)
		}
		f.open, f.last = n, n
		f.printed[n] = make(Printed)
	case *soltiv1.OutputEventProto_RunFinished:
		if n := kind.RunFinished.GetAttempt(); n != f.open {
			f.history.Report(f.task, "a reader got the end of attempt %d, with %d open", n, f.open)
		}
		f.open = 0
	case *soltiv1.OutputEventProto_Chunk:
		if what := lineProblem(f.task, f.open, f.printed, kind.Chunk); what != "" {
			f.history.Report(f.task, "a reader got %s", what)
			return
		}
		f.history.Followed(f.task, f.open, kind.Chunk.GetStream(), kind.Chunk.GetSeq()+1)
	case *soltiv1.OutputEventProto_Lagged:
		f.history.Report(f.task, "a reader is told that %d lines are gone", kind.Lagged.GetSkipped())
	}
}
