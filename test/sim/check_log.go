package sim

import (
	"strconv"

	soltiv1 "slotd/messages/solti/v1"
)

// logsAreComplete: of every run that is kept there is one beginning and one end, in order, and every line between them
// that was written, once, in the order in which it was written.
func logsAreComplete(b *book, wrong report) {
	for _, s := range b.tasks {
		if !s.told {
			continue
		}
		var open, last uint32
		lines := map[stream]int{}
		for _, e := range s.log {
			switch k := e.GetKind().(type) {
			case *soltiv1.OutputEventProto_RunStarted:
				if n := k.RunStarted.GetAttempt(); open != 0 || n != last+1 {
					wrong(s.slot, never, "log of %s: run %d starts after %d, open %d", s.id, n, last, open)
				}
				open, last = k.RunStarted.GetAttempt(), k.RunStarted.GetAttempt()
			case *soltiv1.OutputEventProto_RunFinished:
				if n := k.RunFinished.GetAttempt(); n != open {
					wrong(s.slot, never, "log of %s: run %d finishes, open is %d", s.id, n, open)
				}
				open = 0
			case *soltiv1.OutputEventProto_Chunk:
				at := stream{k.Chunk.GetAttempt(), k.Chunk.GetStream()}
				if at.attempt != open || string(k.Chunk.GetLine()) != strconv.Itoa(lines[at]) || k.Chunk.GetSeq() != uint64(lines[at]) {
					wrong(s.slot, never, "log of %s: line %q, seq %d, of run %d after %d lines, open %d", s.id, k.Chunk.GetLine(),
						k.Chunk.GetSeq(), at.attempt, lines[at], open)
				}
				lines[at]++
			default:
				wrong(s.slot, never, "log of %s: %v", s.id, e)
			}
		}
		if open != 0 || int(last) != len(s.runs) {
			wrong(s.slot, never, "log of %s: %d runs of %d, open %d", s.id, last, len(s.runs), open)
		}
		for at, n := range s.printed {
			if lines[at] < n {
				wrong(s.slot, never, "log of %s: %d lines of %d of run %d, %v", s.id, lines[at], n, at.attempt, at.kind)
			}
		}
	}
}
