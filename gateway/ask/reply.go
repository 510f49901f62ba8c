package ask

import (
	"context"
	"time"

	"github.com/asynkron/protoactor-go/actor"

	"slotd/messages"
	slotdv1 "slotd/messages/slotd/v1"
)

// reply is the process that a command names as its sender; it takes one answer.
//
// It stands in for the runtime's Future for two reasons. A Future knows only a time limit, so a client that hangs up
// would leave a goroutine waiting until then, up to an hour for a stop; and each Future costs a timer.
type reply struct {
	system *actor.ActorSystem
	pid    *actor.PID
	answer chan any // holds one; whatever comes later is dropped
}

// SendUserMessage takes the answer. It never blocks.
func (r *reply) SendUserMessage(_ *actor.PID, message any) {
	_, answer, _ := actor.UnwrapEnvelope(message)
	select {
	case r.answer <- answer:
	default:
	}
}

// SendSystemMessage ignores what only actors understand.
func (r *reply) SendSystemMessage(*actor.PID, any) {}

// Stop has nothing to end: the asker forgets the process itself.
func (r *reply) Stop(*actor.PID) {}

// send gives the command to the registry. The reply must be waited for.
func (r *Registry) send(command any) *reply {
	system := r.root.ActorSystem()
	answer := &reply{system: system, answer: make(chan any, 1)}
	answer.pid, _ = system.ProcessRegistry.Add(answer, "ask"+system.ProcessRegistry.NextId())
	r.root.RequestWithCustomSender(r.pid, command, answer.pid)
	return answer
}

// wait returns the answer, or an error when it is a refusal, when nobody was there to give one, when ctx is done or when
// the deadline has passed. A timer of its own costs less than a context with a deadline.
func (r *reply) wait(ctx context.Context, deadline time.Time) (any, error) {
	defer r.system.ProcessRegistry.Remove(r.pid)
	late := time.NewTimer(time.Until(deadline))
	defer late.Stop()
	select {
	case answer := <-r.answer:
		switch answer := answer.(type) {
		case *slotdv1.Rejection:
			return nil, &messages.RejectionError{Rejection: answer}
		case *actor.DeadLetterResponse:
			return nil, reject(messages.LabelUnavailable, "the node is stopping and takes no more commands; try again when it is back", retryAfter)
		}
		return answer, nil
	case <-ctx.Done():
		return nil, context.Cause(ctx)
	case <-late.C:
		return nil, errLate
	}
}
