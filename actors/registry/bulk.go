package registry

import (
	"slices"

	"github.com/asynkron/protoactor-go/actor"

	"slotd/actors/slot"
	"slotd/actors/store"
	"slotd/messages"
	slotdv1 "slotd/messages/slotd/v1"
)

// submitAll sends each slot its share of the submissions, in their order, and makes one commit of what they decide.
func (r *registry) submitAll(c actor.Context, msg *slotdv1.SubmitTasks) {
	var names []string // in order of first mention
	shares := make(map[string]*slot.Bulk)
	for i, submit := range msg.GetSubmits() {
		asker := askerOf(c, msg.GetAskers()[i])
		minted := r.mint(c, envelope{sender: asker}, submit)
		if minted == nil {
			continue
		}
		name := minted.GetSpec().GetSlot()
		share := shares[name]
		if share == nil {
			share = new(slot.Bulk)
			shares[name], names = share, append(names, name)
		}
		share.Submits, share.Senders = append(share.Submits, minted), append(share.Senders, asker)
	}
	parts := r.bracket(names)
	for _, name := range names {
		share := shares[name]
		share.Part = parts[name]
		l := r.forward(c, name, envelope{message: share})
		l.open += len(share.Submits)
		if share.Part != nil {
			l.parts = append(slices.DeleteFunc(l.parts, (*store.Part).Over), share.Part)
		}
	}
}

// bracket begins one commit of the slots. Those that are being rebuilt commit alone, in their time.
func (r *registry) bracket(names []string) map[string]*store.Part {
	var present []string
	for _, name := range names {
		if l := r.lanes[name]; l == nil || l.pid != nil {
			present = append(present, name)
		}
	}
	if len(present) == 0 {
		return nil
	}
	bracket, parts := r.deps.Bracket(len(present))
	r.brackets = append(slices.DeleteFunc(r.brackets, (*store.Bracket).Over), bracket)
	byName := make(map[string]*store.Part, len(present))
	for i, name := range present {
		byName[name] = parts[i]
	}
	return byName
}

// abandonBrackets takes back what slots of a former life of the registry have decided and nobody has committed.
//
// The newest goes first: one that waits for an earlier one would otherwise be let go by its end.
func (r *registry) abandonBrackets() {
	for _, bracket := range slices.Backward(r.brackets) {
		bracket.Abandon()
	}
	r.brackets = nil
}

// dropParts takes back what the slot's actor has decided and nobody has committed. It will be made again without it.
func (l *lane) dropParts() {
	for _, part := range l.parts {
		part.Drop()
	}
	l.parts = nil
}

func askerOf(c actor.Context, asker *slotdv1.Asker) *actor.PID {
	return &actor.PID{Address: c.Self().GetAddress(), Id: asker.GetId(), RequestId: asker.GetRequest()}
}

// refuse answers a command that a node whose recovery failed cannot follow.
func (r *registry) refuse(c actor.Context, e envelope) {
	no := messages.Reject(messages.LabelUnavailable,
		"slotd could not read its store when it started; see its log, and try again after its restart", retryTooMany)
	if many, ok := e.message.(*slotdv1.SubmitTasks); ok {
		for _, asker := range many.GetAskers() {
			reply(c, envelope{sender: askerOf(c, asker)}, no)
		}
		return
	}
	reply(c, e, no)
}
