package actortest

import (
	"fmt"
	"sync"

	"github.com/asynkron/protoactor-go/actor"
)

// Faults lets actors panic in the midst of their messages. Its Middleware belongs into the options of their Props.
type Faults struct {
	mu    sync.Mutex
	armed []fault
	hits  int
}

type fault struct {
	actor, message string
	skip           int
	late           bool
}

// Arm lets an actor of that type panic once on a message of the type of message, after it has let skip others pass. A
// late fault comes after the actor has handled the message, an early one before it sees it. The type is written as %T
// does, without the asterisk: "slot.slotActor".
func (f *Faults) Arm(actor string, message any, skip int, late bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.armed = append(f.armed, fault{"*" + actor, fmt.Sprintf("%T", message), skip, late})
}

// Disarm takes back all that has not happened yet.
func (f *Faults) Disarm() {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.armed = nil
}

// Hits counts the panics so far.
func (f *Faults) Hits() int {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.hits
}

// Middleware implements actor.ReceiverMiddleware.
func (f *Faults) Middleware(next actor.ReceiverFunc) actor.ReceiverFunc {
	return func(c actor.ReceiverContext, envelope *actor.MessageEnvelope) {
		hit, late := f.due(fmt.Sprintf("%T", unwrapped(c.Actor())), fmt.Sprintf("%T", envelope.Message))
		if !hit || late {
			next(c, envelope)
		}
		if hit {
			panic(fmt.Sprintf("a fault at %T", envelope.Message))
		}
	}
}

// unwrapped is the actor itself, without what a node puts around it.
func unwrapped(a actor.Actor) actor.Actor {
	for {
		outer, ok := a.(interface{ Unwrap() actor.Actor })
		if !ok {
			return a
		}
		a = outer.Unwrap()
	}
}

func (f *Faults) due(actor, message string) (hit, late bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for i := range f.armed {
		at := &f.armed[i]
		if at.actor != actor || at.message != message {
			continue
		}
		if at.skip--; at.skip >= 0 {
			return false, false
		}
		late = at.late
		f.armed = append(f.armed[:i], f.armed[i+1:]...)
		f.hits++
		return true, late
	}
	return false, false
}
