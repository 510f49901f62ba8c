package rest

import (
	"context"
	"net/http"
	"strconv"

	"github.com/gin-gonic/gin"

	"slotd/gateway"
	"slotd/gateway/codec"
	slotdv1 "slotd/messages/slotd/v1"
)

// lastEventHeader names the event after which a stream begins. Clients send it to go on where they left off; the server
// sends it to tell where the stream begins.
const lastEventHeader = "Last-Event-ID"

// events streams transitions as server-sent events.
func (s *Server) events(c *gin.Context) {
	cursor, ok := s.openEvents(c)
	if !ok {
		return
	}
	defer cursor.Close()
	ctx, cancel := s.untilEnding(c.Request.Context())
	defer cancel()
	stream := s.stream(c, &eventFrames{cursor: cursor})
	if err := stream.copy(ctx); err != nil && ctx.Err() == nil {
		s.deps.Logger.Debug("event stream ended early", "request_id", requestID(c), "error", err)
	}
}

// lastEvent answers with the header alone: who asks for it first, then reads tasks and slots, and then opens the stream
// after it misses nothing.
func (s *Server) lastEvent(c *gin.Context) {
	cursor, ok := s.openEvents(c)
	if !ok {
		return
	}
	defer cursor.Close()
	c.Header("Content-Type", "text/event-stream")
	s.answerEmpty(c, http.StatusOK)
}

func (s *Server) openEvents(c *gin.Context) (gateway.EventCursor, bool) {
	q, err := eventQuery(c.Request)
	if err != nil {
		s.fail(c, err)
		return nil, false
	}
	cursor, err := s.deps.Events.Open(q)
	if err != nil {
		s.fail(c, err)
		return nil, false
	}
	c.Header(lastEventHeader, cursor.Position())
	return cursor, true
}

// eventFrames are transitions as frames of text/event-stream.
type eventFrames struct {
	cursor gateway.EventCursor
	data   []byte // of the last frames, used again
}

func (f *eventFrames) next(ctx context.Context) ([]byte, error) {
	batch, err := f.cursor.Next(ctx)
	if err != nil {
		return nil, err
	}
	f.data = f.data[:0]
	for _, event := range batch {
		f.data = appendEventFrame(f.data, event)
	}
	return f.data, nil
}

// opening is a frame without data. Clients note its id, so that one that loses its connection before the first event
// that it wants comes back without a loss.
func (f *eventFrames) opening() []byte { return f.place(f.data[:0]) }

// keepAlive tells how far the stream has come in the silence: what has happened meanwhile was not wanted, and need not
// be looked at again.
func (f *eventFrames) keepAlive() []byte { return f.place(append(f.data[:0], ": keep-alive\n"...)) }

func (f *eventFrames) place(dst []byte) []byte {
	dst = append(dst, "id: "...)
	dst = append(dst, f.cursor.Position()...)
	f.data = append(dst, "\n\n"...)
	return f.data
}

// appendEventFrame adds one event: plain JSON, numbers are numbers, and what there is not is left out. It is written by
// hand because a busy node has a hundred thousand events a second, and each stream is encoded for itself.
func appendEventFrame(dst []byte, event *slotdv1.Event) []byte {
	switch kind := event.GetKind().(type) {
	case *slotdv1.Event_Task:
		return appendTaskEvent(appendFrameHead(dst, "task", event.GetId()), kind.Task)
	case *slotdv1.Event_Slot:
		return appendSlotEvent(appendFrameHead(dst, "slot", event.GetId()), kind.Slot)
	case *slotdv1.Event_Gap:
		dst = appendFrameHead(dst, "gap", event.GetId())
		dst = strconv.AppendUint(append(dst, `,"skipped":`...), kind.Gap.GetSkipped(), 10)
		dst = strconv.AppendInt(append(dst, `,"time":`...), kind.Gap.GetTime(), 10)
		return append(dst, "}\n\n"...)
	default:
		return dst // of a kind that this server does not know: there is none
	}
}

func appendFrameHead(dst []byte, name, id string) []byte {
	dst = append(append(dst, "event: "...), name...)
	dst = append(append(dst, "\nid: "...), id...)
	return append(append(append(dst, "\ndata: {\"type\":\""...), name...), '"')
}

func appendTaskEvent(dst []byte, e *slotdv1.TaskEvent) []byte {
	dst = codec.AppendString(append(dst, `,"slot":`...), e.GetSlot())
	dst = codec.AppendString(append(dst, `,"taskId":`...), e.GetTaskId())
	dst = codec.AppendString(append(dst, `,"phase":`...), e.GetPhase().String())
	dst = appendOptional(dst, `,"reason":`, e.Reason)
	dst = strconv.AppendUint(append(dst, `,"attempt":`...), uint64(e.GetAttempt()), 10)
	dst = strconv.AppendInt(append(dst, `,"time":`...), e.GetTime(), 10)
	dst = strconv.AppendBool(append(dst, `,"terminal":`...), e.GetTerminal())
	dst = strconv.AppendUint(append(dst, `,"resourceVersion":`...), e.GetResourceVersion(), 10)
	if e.ExitCode != nil {
		dst = strconv.AppendInt(append(dst, `,"exitCode":`...), int64(e.GetExitCode()), 10)
	}
	if e.Signal != nil {
		dst = strconv.AppendInt(append(dst, `,"signal":`...), int64(e.GetSignal()), 10)
	}
	if e.NextAttemptAt != nil {
		dst = strconv.AppendInt(append(dst, `,"nextAttemptAt":`...), e.GetNextAttemptAt(), 10)
	}
	dst = appendOptional(dst, `,"node":`, e.Node)
	dst = strconv.AppendBool(append(dst, `,"deleted":`...), e.GetDeleted())
	return append(dst, "}\n\n"...)
}

func appendSlotEvent(dst []byte, e *slotdv1.SlotEvent) []byte {
	dst = codec.AppendString(append(dst, `,"slot":`...), e.GetSlot())
	dst = appendOptional(dst, `,"taskId":`, e.TaskId)
	dst = codec.AppendString(append(dst, `,"phase":`...), e.GetPhase())
	dst = appendOptional(dst, `,"reason":`, e.Reason)
	dst = strconv.AppendUint(append(dst, `,"attempt":`...), uint64(e.GetAttempt()), 10)
	dst = strconv.AppendInt(append(dst, `,"time":`...), e.GetTime(), 10)
	dst = appendOptional(dst, `,"replacement":`, e.Replacement)
	dst = strconv.AppendUint(append(dst, `,"queued":`...), e.GetQueued(), 10)
	return append(dst, "}\n\n"...)
}

func appendOptional(dst []byte, label string, text *string) []byte {
	if text == nil {
		return dst
	}
	return codec.AppendString(append(dst, label...), *text)
}
