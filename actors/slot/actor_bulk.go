package slot

import (
	"github.com/asynkron/protoactor-go/actor"

	"slotd/actors/store"
	slotdv1 "slotd/messages/slotd/v1"
)

// Bulk is the submissions to one slot among many that came together, in their order.
type Bulk struct {
	Submits []*slotdv1.Submit
	Senders []*actor.PID
	Part    *store.Part // of the one commit that all of them share; nil = each is committed alone
}

// submitAll decides about each as if it had come alone. What must be written for them is written together.
func (a *slotActor) submitAll(c actor.Context, msg *Bulk) {
	if msg.Part != nil {
		if a.part != nil {
			msg.Part.Follow(a.part)
		}
		a.part = msg.Part
	}
	for i, submit := range msg.Submits {
		a.submit(c, submit, msg.Senders[i])
	}
	if msg.Part != nil { // not after a failure: then the registry drops the part
		msg.Part.Close()
	}
}
