package catalog

import (
	"fmt"
	"sync/atomic"

	"slotd/actors/store"
	slotdv1 "slotd/messages/slotd/v1"
	soltiv1 "slotd/messages/solti/v1"
)

// spec is a task's spec: of most tasks that a start finds, as it was stored until somebody asks for it, and decoded from
// then on.
type spec struct {
	decoded atomic.Pointer[soltiv1.CreateSpec]
	raw     atomic.Pointer[store.RawSpec] // nil once it is decoded
}

func (s *spec) keep(known *soltiv1.CreateSpec) {
	s.decoded.Store(known)
	s.raw.Store(nil)
}

func (s *spec) keepRaw(raw store.RawSpec) { s.raw.Store(&raw) }

// get returns the spec, the same one to everybody, or nil when there is none.
func (s *spec) get() (*soltiv1.CreateSpec, error) {
	if known := s.decoded.Load(); known != nil {
		return known, nil
	}
	raw := s.raw.Load()
	if raw == nil { // there is none, or it has just been decoded
		return s.decoded.Load(), nil
	}
	rec, err := raw.Decode()
	if err != nil {
		return nil, fmt.Errorf("the task's spec cannot be decoded: %w", err)
	}
	if s.decoded.CompareAndSwap(nil, rec.GetSpec()) {
		s.raw.Store(nil)
	}
	return s.decoded.Load(), nil
}

// labels returns the spec's labels: its own, or scratch with what it is stored with. To look at them it is not decoded:
// one question would otherwise leave all specs of the node in memory as decoded.
func (s *spec) labels(scratch map[string]string) (map[string]string, error) {
	raw := s.raw.Load()
	if raw == nil {
		return s.decoded.Load().GetLabels(), nil
	}
	clear(scratch)
	return scratch, raw.Labels(scratch)
}

// unreadable is what is shown of a task whose spec cannot be decoded: the slot is known from its record.
func unreadable(rec *slotdv1.TaskRecord) *soltiv1.CreateSpec {
	return &soltiv1.CreateSpec{Slot: rec.GetSlot()}
}
