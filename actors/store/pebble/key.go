// Package pebble is the store of one machine: an embedded key-value store with a write-ahead log.
package pebble

import (
	"errors"

	"github.com/cockroachdb/pebble/v2"

	"slotd/actors/store/pebble/layout"
)

// FormatVersion is what this program reads and writes, see slotdv1.StoreFormat.
const FormatVersion = layout.FormatVersion

// errKey says that a key is none of ours.
var errKey = errors.New("unknown key")

// What keys begin with, see [layout].
const (
	taskTable   = layout.TaskTable
	specTable   = layout.SpecTable
	runTable    = layout.RunTable
	keyTable    = layout.KeyTable
	formatKey   = layout.FormatKey
	commitsKey  = layout.CommitsKey
	attemptSize = layout.AttemptSize
)

func taskKey(id string) []byte { return layout.TaskKey(id) }

func specKey(id string) []byte { return layout.SpecKey(id) }

func runKey(id string, attempt uint32) []byte { return layout.RunKey(id, attempt) }

func idempotencyKey(slot, name string) []byte { return layout.IdempotencyKey(slot, name) }

var _ pebble.Reader = (*pebble.DB)(nil)
