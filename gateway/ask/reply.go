package ask

import (
	"context"
	"sync"
	"time"

	"github.com/asynkron/protoactor-go/actor"

	"slotd/messages"
	slotdv1 "slotd/messages/slotd/v1"
)

// reply is the process that a command names as its sender; it takes one answer.
//
// It stands in for the runtime's Future for three reasons. A Future knows only a time limit, so a client that hangs up
// would leave a goroutine waiting until then, up to an hour for a stop; each Future costs a timer; and it enters the
// register of processes for one answer. A reply that was answered takes the next one's under another number, which
// whoever answers gives back with the PID: an answer too many goes nowhere.
type reply struct {
	home   *Registry
	id     string
	answer chan any // holds one
	late   *time.Timer

	mu     sync.Mutex
	number uint32 // of the command that waits
	open   bool   // it has no answer yet
}

// SendUserMessage takes the answer. It never blocks.
func (r *reply) SendUserMessage(to *actor.PID, message any) {
	_, answer, _ := actor.UnwrapEnvelope(message)
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.open && to.GetRequestId() == r.number {
		r.open = false
		r.answer <- answer
	}
}

// SendSystemMessage ignores what only actors understand.
func (r *reply) SendSystemMessage(*actor.PID, any) {}

// Stop has nothing to end: the asker forgets the process itself.
func (r *reply) Stop(*actor.PID) {}

// next makes the reply ready for a command, and returns the PID that the answer must be sent to.
func (r *reply) next() *actor.PID {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.number++
	r.open = true
	return r.pid()
}

// pid is where the answer must be sent to.
func (r *reply) pid() *actor.PID {
	return &actor.PID{Address: r.home.processes().Address, Id: r.id, RequestId: r.number}
}

func (r *Registry) processes() *actor.ProcessRegistryValue {
	return r.root.ActorSystem().ProcessRegistry
}

// send gives the command to the registry. The reply must be waited for.
func (r *Registry) send(command any) *reply {
	answer := r.take()
	r.root.RequestWithCustomSender(r.pid, command, answer.next())
	return answer
}

// mostSpare bounds how many replies are kept for the next command: a burst leaves no more behind.
const mostSpare = 256

// take returns a reply that nobody waits for.
func (r *Registry) take() *reply {
	r.mu.Lock()
	defer r.mu.Unlock()
	if n := len(r.spare) - 1; n >= 0 {
		answer := r.spare[n]
		r.spare = r.spare[:n]
		return answer
	}
	answer := &reply{home: r, id: "ask" + r.processes().NextId(), answer: make(chan any, 1)}
	r.processes().Add(answer, answer.id)
	return answer
}

// put keeps a reply that has been answered.
func (r *Registry) put(answer *reply) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if len(r.spare) < mostSpare {
		r.spare = append(r.spare, answer)
		return
	}
	r.forget(answer)
}

func (r *Registry) forget(answer *reply) {
	r.processes().Remove(actor.NewPID(r.processes().Address, answer.id))
}

// wait returns the answer, or an error when it is a refusal, when nobody was there to give one, when ctx is done or when
// the deadline has passed.
func (r *reply) wait(ctx context.Context, deadline time.Time) (any, error) {
	if left := time.Until(deadline); r.late == nil {
		r.late = time.NewTimer(left)
	} else {
		r.late.Reset(left)
	}
	select {
	case answer := <-r.answer:
		r.late.Stop() // before somebody else has it
		r.home.put(r)
		switch answer := answer.(type) {
		case *slotdv1.Rejection:
			return nil, &messages.RejectionError{Rejection: answer}
		case *actor.DeadLetterResponse:
			return nil, errGone
		}
		return answer, nil
	case <-ctx.Done():
		r.late.Stop()
		r.home.forget(r)
		return nil, context.Cause(ctx)
	case <-r.late.C:
		r.home.forget(r)
		return nil, errLate
	}
}
