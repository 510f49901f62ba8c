package store

import (
	"cmp"
	"crypto/sha256"
	"fmt"
	"strings"

	"slotd/messages"
	slotdv1 "slotd/messages/slotd/v1"
	soltiv1 "slotd/messages/solti/v1"
)

// Audit looks for what no slotd has ever written: records that can be read, but make no sense by themselves or beside
// one another. Whoever went by them would lose or double something, so a store in which anything is found must be left
// as it is (invariant 9). It is given the entries in the order of [Store.Load]. The zero value is ready.
type Audit struct {
	wrong AuditError
	last  string           // task id
	taken map[place]string // by whom
}

type place struct {
	slot string
	role slotdv1.Role
}

// AuditError is what an [Audit] has found.
type AuditError struct {
	Findings []string // the first ones, in the order of the entries
	More     int      // how many were found besides
}

// maxFindings bounds an AuditError.
const maxFindings = 10

func (e *AuditError) Error() string {
	text := strings.Join(e.Findings, "; ")
	if e.More > 0 {
		text += fmt.Sprintf("; and %d more", e.More)
	}
	return text
}

// Err is nil, or an [AuditError].
func (a *Audit) Err() error {
	if len(a.wrong.Findings) == 0 {
		return nil
	}
	return &a.wrong
}

// Entry looks at the next entry and says whether all made sense so far.
func (a *Audit) Entry(e Entry) bool {
	switch {
	case e.Task != nil:
		a.task(e)
	case e.Key != nil:
		a.key(e.Key)
	default:
		a.addf("an entry without a record")
	}
	return len(a.wrong.Findings) == 0
}

func (a *Audit) task(e Entry) {
	rec, id := e.Task, e.Task.GetId()
	found := func(format string, args ...any) { a.addf("task %q: "+format, append([]any{id}, args...)...) }
	a.id(rec, found)
	if err := messages.ValidateSlot(rec.GetSlot()); err != nil {
		found("%v", err)
	}
	switch slot, specified, err := e.specSlot(); {
	case err != nil:
		found("its spec cannot be decoded: %v", err)
	case !specified:
		found("it has no spec")
	case slot != rec.GetSlot():
		found("its record is of slot %q, its spec of slot %q", rec.GetSlot(), slot)
	}
	if _, known := soltiv1.TaskStatus_name[int32(rec.GetStatus())]; !known || rec.GetStatus() == 0 {
		found("unknown status %d", rec.GetStatus())
	}
	a.stand(rec, found)
}

func (e Entry) specSlot() (slot string, specified bool, err error) {
	if e.Raw != nil {
		return e.Raw.Slot()
	}
	spec := e.Spec.GetSpec()
	return spec.GetSlot(), spec != nil, nil
}

// id: new ids must follow those that are kept, and an id alone says where its task belongs.
func (a *Audit) id(rec *slotdv1.TaskRecord, found func(string, ...any)) {
	id, err := messages.ParseID(rec.GetId())
	switch {
	case err != nil:
		found("%v", err)
	case id.Time.UnixMilli() >= lastMillisecond:
		found("no id could follow it")
	case id.Shard != messages.ShardOf(rec.GetSlot()):
		found("its id names shard %d, its slot %q is of shard %d", id.Shard, rec.GetSlot(), messages.ShardOf(rec.GetSlot()))
	}
	if a.last != "" && rec.GetId() <= a.last {
		found("it comes after %q", a.last)
	}
	a.last = max(a.last, rec.GetId())
}

// lastMillisecond is the last that an id can name.
const lastMillisecond = 1<<48 - 1

// stand: a task that has not ended has one place in its slot, and what waits has not begun.
func (a *Audit) stand(rec *slotdv1.TaskRecord, found func(string, ...any)) {
	begun := false
	switch phase := rec.GetPhase(); phase {
	case slotdv1.Phase_PHASE_FINISHED:
		if rec.GetRole() != slotdv1.Role_ROLE_NONE {
			found("it has ended and still is %v", rec.GetRole())
		}
		return
	case slotdv1.Phase_PHASE_RUNNING, slotdv1.Phase_PHASE_WAITING, slotdv1.Phase_PHASE_STOPPING:
		if begun = true; rec.GetAttempt() == 0 {
			found("%v without an attempt", phase)
		}
	case slotdv1.Phase_PHASE_READY:
	default:
		found("unknown phase %d", phase)
		return
	}
	switch role := rec.GetRole(); role {
	case slotdv1.Role_ROLE_QUEUED, slotdv1.Role_ROLE_REPLACEMENT:
		if begun {
			found("%v that is %v already", role, rec.GetPhase())
		}
		if role == slotdv1.Role_ROLE_REPLACEMENT {
			a.take(rec, found)
		}
	case slotdv1.Role_ROLE_HOLDER:
		a.take(rec, found)
	default:
		found("it has not ended and has no place in its slot: %v", role)
	}
}

// take gives a task a place that only one can have.
func (a *Audit) take(rec *slotdv1.TaskRecord, found func(string, ...any)) {
	if a.taken == nil {
		a.taken = make(map[place]string)
	}
	p := place{rec.GetSlot(), rec.GetRole()}
	if other, taken := a.taken[p]; taken {
		found("%v of slot %q, which %s is as well", p.role, p.slot, other)
		return
	}
	a.taken[p] = rec.GetId()
}

func (a *Audit) key(key *slotdv1.KeyRecord) {
	_, unknown := messages.ParseID(key.GetTaskId())
	err := cmp.Or(messages.ValidateSlot(key.GetSlot()), messages.ValidateIdempotencyKey(key.GetKey()), unknown)
	switch {
	case err != nil:
		a.addf("idempotency key %q of slot %q: %v", key.GetKey(), key.GetSlot(), err)
	case len(key.GetSpecHash()) != sha256.Size:
		a.addf("idempotency key %q of slot %q: its hash has %d bytes, not %d", key.GetKey(), key.GetSlot(), len(key.GetSpecHash()), sha256.Size)
	}
}

func (a *Audit) addf(format string, args ...any) {
	if len(a.wrong.Findings) == maxFindings {
		a.wrong.More++
		return
	}
	a.wrong.Findings = append(a.wrong.Findings, fmt.Sprintf(format, args...))
}
