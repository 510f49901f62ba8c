// Package inspect looks for what does not belong together in a store that nobody serves: records and logs without a task,
// and records that make no sense. It reads everything and changes nothing. That the files themselves are whole is not
// its matter, see package verify.
package inspect

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"

	"google.golang.org/protobuf/proto"

	"slotd/actors/store"
	"slotd/actors/store/pebble/layout"
	"slotd/messages"
	slotdv1 "slotd/messages/slotd/v1"
)

// Store is what is inspected.
type Store interface {
	// Raw streams every key with its value, in the order of the keys; neither outlives yield.
	Raw(ctx context.Context, yield func(key, value []byte) error) error
	Load(ctx context.Context, yield func(store.Entry) error) error
}

// Finding is one thing that is wrong.
type Finding struct {
	Kind    Kind
	Subject string // a task id, or a key
	What    string
}

// Kind is what sort of finding one is.
type Kind string

// Kinds of findings.
const (
	Unreadable   Kind = "unreadable"    // a key or a record that cannot be decoded
	Misplaced    Kind = "misplaced"     // a record under the key of another one
	OrphanedSpec Kind = "orphaned-spec" // without a task
	OrphanedRun  Kind = "orphaned-run"  // without a task
	OrphanedLog  Kind = "orphaned-log"  // a log directory without a task
	Unsound      Kind = "unsound"       // what [store.Audit] finds: no slotd has ever written it
)

// Report is what a store holds, and what is wrong with it.
type Report struct {
	Tasks    uint64
	Runs     uint64
	Keys     uint64
	Findings []Finding // by kind, then in order
}

// Inspect reads a store. logs are the names of the directories that should each be a task's log; names that are not ids
// are left alone.
func Inspect(ctx context.Context, s Store, logs []string) (Report, error) {
	i := &inspection{tasks: map[string]bool{}, specs: map[string]bool{}, runs: map[string]bool{}}
	if err := s.Raw(ctx, i.record); err != nil {
		return i.report, err
	}
	i.orphans(OrphanedSpec, i.specs, "a spec without a task")
	i.orphans(OrphanedRun, i.runs, "runs without a task")
	if err := i.sound(ctx, s); err != nil {
		return i.report, err
	}
	i.logs(logs)
	return i.report, nil
}

// inspection is one look at one store. The sets hold task ids.
type inspection struct {
	report             Report
	tasks, specs, runs map[string]bool
	broken             bool // a record cannot be decoded
}

func (i *inspection) found(kind Kind, subject, format string, args ...any) {
	i.report.Findings = append(i.report.Findings, Finding{kind, subject, fmt.Sprintf(format, args...)})
}

// record looks at one record by itself.
func (i *inspection) record(key, value []byte) error {
	k, err := layout.Parse(key)
	if err != nil {
		i.found(Unreadable, fmt.Sprintf("%q", key), "%v", err)
		return nil
	}
	var want, got []byte
	switch k.Table {
	case layout.TaskTable:
		i.report.Tasks++
		i.tasks[k.Task] = true
		rec := &slotdv1.TaskRecord{}
		err = proto.Unmarshal(value, rec)
		want, got = key, layout.TaskKey(rec.GetId())
	case layout.SpecTable:
		i.specs[k.Task] = true
		rec := &slotdv1.SpecRecord{}
		err = proto.Unmarshal(value, rec)
		want, got = key, layout.SpecKey(rec.GetTaskId())
	case layout.RunTable:
		i.report.Runs++
		i.runs[k.Task] = true
		rec := &slotdv1.RunRecord{}
		err = proto.Unmarshal(value, rec)
		want, got = key, layout.RunKey(rec.GetTaskId(), rec.GetAttempt())
	case layout.KeyTable:
		i.report.Keys++
		rec := &slotdv1.KeyRecord{}
		err = proto.Unmarshal(value, rec)
		want, got = key, layout.IdempotencyKey(rec.GetSlot(), rec.GetKey())
	}
	switch {
	case err != nil:
		i.broken = true
		i.found(Unreadable, subject(k), "its record cannot be decoded: %v", err)
	case string(want) != string(got):
		i.found(Misplaced, subject(k), "the record under key %q is that of %q", key, got)
	}
	return nil
}

func subject(k layout.Key) string {
	if k.Task != "" {
		return k.Task
	}
	return k.Slot + "/" + k.Name
}

func (i *inspection) orphans(kind Kind, ids map[string]bool, what string) {
	for _, id := range slices.Sorted(maps.Keys(ids)) {
		if !i.tasks[id] {
			i.found(kind, id, "%s", what)
		}
	}
}

// sound looks at tasks beside one another. A record that cannot be decoded would end the loading: it has been told.
func (i *inspection) sound(ctx context.Context, s Store) error {
	if i.broken {
		return nil
	}
	var audit store.Audit
	err := s.Load(ctx, func(e store.Entry) error {
		audit.Entry(e)
		return nil
	})
	if err != nil {
		return err
	}
	wrong, ok := errors.AsType[*store.AuditError](audit.Err())
	if !ok {
		return nil
	}
	for _, what := range wrong.Findings {
		i.found(Unsound, "", "%s", what)
	}
	if wrong.More > 0 {
		i.found(Unsound, "", "and %d more", wrong.More)
	}
	return nil
}

func (i *inspection) logs(names []string) {
	for _, name := range slices.Sorted(slices.Values(names)) {
		if _, err := messages.ParseID(name); err == nil && !i.tasks[name] {
			i.found(OrphanedLog, name, "a log directory without a task")
		}
	}
}
