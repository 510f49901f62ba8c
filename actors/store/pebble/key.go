package pebble

import (
	"encoding/binary"

	"slotd/actors/store/pebble/layout"
)

// FormatVersion is what this program reads and writes, see slotdv1.StoreFormat.
const FormatVersion = layout.FormatVersion

// The keys of package layout, written into a buffer that is used again.

func appendTaskKey(to []byte, id string) []byte { return append(append(to, layout.TaskTable), id...) }

func appendSpecKey(to []byte, id string) []byte { return append(append(to, layout.SpecTable), id...) }

func appendRunKey(to []byte, id string, attempt uint32) []byte {
	return binary.BigEndian.AppendUint32(appendRunPrefix(to, id), attempt)
}

// appendRunPrefix is what the keys of all runs of a task begin with, and no other key does.
func appendRunPrefix(to []byte, id string) []byte {
	return append(append(append(to, layout.RunTable), id...), 0)
}

func appendIdempotencyKey(to []byte, slot, name string) []byte {
	return append(append(append(append(to, layout.KeyTable), slot...), 0), name...)
}
