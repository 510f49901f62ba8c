// Package pebble is the store of one machine: an embedded key-value store with a write-ahead log.
package pebble

import (
	"encoding/binary"
	"errors"

	"github.com/cockroachdb/pebble/v2"
)

// FormatVersion is what this program reads and writes, see slotdv1.StoreFormat.
const FormatVersion = 1

// errKey says that a key is none of ours.
var errKey = errors.New("unknown key")

// What keys begin with. Values are the records of slotd/v1/record.proto, but for the commit counter (8 bytes, big
// endian).
const (
	taskTable   = 't' // t, task id → TaskRecord
	specTable   = 's' // s, task id → SpecRecord
	runTable    = 'r' // r, task id, 0, attempt (4 bytes, big endian) → RunRecord
	keyTable    = 'k' // k, slot, 0, name → KeyRecord
	formatKey   = "mformat"
	commitsKey  = "mcommits"
	attemptSize = 4
)

func taskKey(id string) []byte { return append([]byte{taskTable}, id...) }

func specKey(id string) []byte { return append([]byte{specTable}, id...) }

func runKey(id string, attempt uint32) []byte {
	return binary.BigEndian.AppendUint32(append(append([]byte{runTable}, id...), 0), attempt)
}

func idempotencyKey(slot, name string) []byte {
	return append(append(append([]byte{keyTable}, slot...), 0), name...)
}

var _ pebble.Reader = (*pebble.DB)(nil)
