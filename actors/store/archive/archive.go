// Package archive writes a store to a stream and reads it back: the copy that is independent of any engine, and the way
// from one version or kind of store to another.
//
// An archive is JSON, an object a line:
//
//	{"format":"slotd-store","version":1,"created_at":"2026-01-02T03:04:05Z","created_by":"1.0"}
//	{"task":{…},"spec":{…},"runs":[{…},…]}   tasks in id order; records as in slotd/v1/record.proto
//	{"key":{…}}                              idempotency keys, anywhere
//	{"end":{"tasks":1,"runs":1,"keys":1}}    the last line: without it the archive was cut off
//
// It holds everything the store does: also the values of secret variables in the specs.
//
// Both ways stream: memory does not grow with the store. Nothing is passed over: an unknown field, a newer version and a
// record that makes no sense (see [store.Audit]) are refused with the number of their line.
package archive

import (
	"context"
	"encoding/json"

	"slotd/actors/store"
	slotdv1 "slotd/messages/slotd/v1"
)

// formatName and formatVersion begin every archive.
const (
	formatName    = "slotd-store"
	formatVersion = 1
)

// Counts is what an archive holds.
type Counts struct {
	Tasks uint64 `json:"tasks"`
	Runs  uint64 `json:"runs"`
	Keys  uint64 `json:"keys"`
}

// Source is a store that is exported.
type Source interface {
	Load(ctx context.Context, yield func(store.Entry) error) error
	Runs(ctx context.Context, id string) ([]*slotdv1.RunRecord, error)
}

// header is the first line.
type header struct {
	Format    string `json:"format"`
	Version   int    `json:"version"`
	CreatedAt string `json:"created_at"`
	CreatedBy string `json:"created_by"`
}

// line is any other one: of task, key and end exactly one is there.
type line struct {
	Task json.RawMessage   `json:"task,omitempty"`
	Spec json.RawMessage   `json:"spec,omitempty"`
	Runs []json.RawMessage `json:"runs,omitempty"`
	Key  json.RawMessage   `json:"key,omitempty"`
	End  *Counts           `json:"end,omitempty"`
}
