// Package layout spells the keys of a durable store, for the store itself and for those who look into one that is not
// open: its verification and its audit.
//
//	t, task id                               → TaskRecord
//	s, task id                               → SpecRecord
//	r, task id, 0, attempt (4 bytes)         → RunRecord
//	k, slot, 0, name                         → KeyRecord
//	mformat                                  → StoreFormat
//	mcommits                                 → the commit counter (8 bytes)
//
// Numbers are big endian. Values are the records of slotd/v1/record.proto but for the commit counter: it grows by one
// with every group of batches that is written as a whole, and each group carries it, so that a group that is missing
// leaves a gap.
package layout

import (
	"bytes"
	"encoding/binary"
	"fmt"
)

// FormatVersion is what this program reads and writes, see slotdv1.StoreFormat.
const FormatVersion = 1

// What keys begin with.
const (
	TaskTable = 't'
	SpecTable = 's'
	RunTable  = 'r'
	KeyTable  = 'k'
	MetaTable = 'm'
)

// The keys of the store itself.
const (
	FormatKey  = "mformat"
	CommitsKey = "mcommits"
)

// AttemptSize is the bytes of an attempt, CounterSize those of the commit counter.
const (
	AttemptSize = 4
	CounterSize = 8
)

// InFlight is how many groups are in a log at most without being synced. A group that is followed by so many was synced
// once, whatever became of it.
const InFlight = 32

// TaskKey is where a task's record is.
func TaskKey(id string) []byte { return append([]byte{TaskTable}, id...) }

// SpecKey is where a task's spec is.
func SpecKey(id string) []byte { return append([]byte{SpecTable}, id...) }

// RunKey is where the run of one attempt is.
func RunKey(id string, attempt uint32) []byte {
	return binary.BigEndian.AppendUint32(append(append([]byte{RunTable}, id...), 0), attempt)
}

// IdempotencyKey is where an idempotency key is.
func IdempotencyKey(slot, name string) []byte {
	return append(append(append([]byte{KeyTable}, slot...), 0), name...)
}

// Key is a key in its parts. The fields its table does not name are empty.
type Key struct {
	Table   byte
	Task    string // tasks, specs, runs
	Attempt uint32 // runs
	Slot    string // idempotency keys
	Name    string // idempotency keys; of the store itself, the key as a whole
}

// Parse takes a key apart. A key that the functions above do not make is an error.
func Parse(key []byte) (Key, error) {
	if len(key) < 2 {
		return Key{}, fmt.Errorf("key %q is too short", key)
	}
	k, rest := Key{Table: key[0]}, key[1:]
	switch k.Table {
	case TaskTable, SpecTable:
		k.Task = string(rest)
		return k, nil
	case RunTable:
		at := len(rest) - AttemptSize - 1
		if at < 1 || rest[at] != 0 {
			return Key{}, fmt.Errorf("key %q has no attempt", key)
		}
		k.Task, k.Attempt = string(rest[:at]), binary.BigEndian.Uint32(rest[at+1:])
		return k, nil
	case KeyTable:
		slot, name, ok := bytes.Cut(rest, []byte{0})
		if !ok || len(slot) == 0 || len(name) == 0 {
			return Key{}, fmt.Errorf("key %q has no slot and name", key)
		}
		k.Slot, k.Name = string(slot), string(name)
		return k, nil
	case MetaTable:
		if name := string(key); name == FormatKey || name == CommitsKey {
			k.Name = name
			return k, nil
		}
	}
	return Key{}, fmt.Errorf("key %q is unknown", key)
}
