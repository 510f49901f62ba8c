package store_test

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"google.golang.org/protobuf/proto"

	"slotd/actors/store"
	"slotd/messages"
	slotdv1 "slotd/messages/slotd/v1"
	soltiv1 "slotd/messages/solti/v1"
)

// sound is a lane as slots leave it: one task has ended, one runs, one replaces it, two wait, and a key remembers one.
func sound() []store.Entry {
	minter := messages.NewMinter("")
	var entries []store.Entry
	for i := range 5 {
		id := minter.Mint(time.UnixMilli(1_780_000_000_000), "lane")
		rec := &slotdv1.TaskRecord{
			Id: id, Slot: "lane", ResourceVersion: 1, Role: slotdv1.Role_ROLE_QUEUED,
			Phase: slotdv1.Phase_PHASE_READY, Status: soltiv1.TaskStatus_TASK_STATUS_PENDING,
		}
		switch i {
		case 0:
			rec.Role, rec.Phase = slotdv1.Role_ROLE_NONE, slotdv1.Phase_PHASE_FINISHED
			rec.Status, rec.Attempt = soltiv1.TaskStatus_TASK_STATUS_SUCCEEDED, 1
		case 1:
			rec.Role, rec.Phase = slotdv1.Role_ROLE_HOLDER, slotdv1.Phase_PHASE_RUNNING
			rec.Status, rec.Attempt = soltiv1.TaskStatus_TASK_STATUS_RUNNING, 3
		case 2:
			rec.Role = slotdv1.Role_ROLE_REPLACEMENT
		}
		entries = append(entries, store.Entry{
			Task: rec, Spec: &slotdv1.SpecRecord{TaskId: id, Spec: &soltiv1.CreateSpec{Slot: "lane"}},
		})
	}
	return append(entries, store.Entry{Key: &slotdv1.KeyRecord{
		Slot: "lane", Key: "k", TaskId: entries[0].Task.GetId(), SpecHash: make([]byte, 32), ExpiresAt: 1,
	}})
}

func audit(entries []store.Entry) error {
	var a store.Audit
	for _, e := range entries {
		a.Entry(e)
	}
	return a.Err()
}

func TestAnAuditFindsNothingInWhatSlotsLeave(t *testing.T) {
	if err := audit(sound()); err != nil {
		t.Error(err)
	}
}

func TestAnAuditFindsWhatMakesNoSense(t *testing.T) {
	const ended, running, replacing, queued, key = 0, 1, 2, 3, 5
	other := messages.NewMinter("").Mint(time.UnixMilli(1_790_000_000_000), "other")
	for _, c := range []struct {
		at    int
		spoil func(e *store.Entry)
		want  string
	}{
		{queued, func(e *store.Entry) { e.Task.Id = "tsk_1" }, "must have 26 characters"},
		{queued, func(e *store.Entry) { e.Task.Id = "" }, "does not begin with tsk_"},
		{4, func(e *store.Entry) { e.Task.Id = "tsk_7ZZZZZZZZZZZZZZZZZZZZZZZ00" }, "no id could follow it"},
		{4, func(e *store.Entry) { e.Task.Id = other }, "its slot \"lane\" is of shard"},
		{queued, func(e *store.Entry) { e.Spec = nil }, "it has no spec"},
		{queued, func(e *store.Entry) { e.Spec.Spec = nil }, "it has no spec"},
		{queued, func(e *store.Entry) { e.Spec.Spec.Slot = "other" }, `its spec of slot "other"`},
		{queued, func(e *store.Entry) { e.Task.Slot = "../etc" }, "slot must consist of"},
		{queued, func(e *store.Entry) { e.Task.Slot = "" }, "slot cannot be empty"},
		{queued, func(e *store.Entry) { e.Task.Phase = 0 }, "unknown phase 0"},
		{queued, func(e *store.Entry) { e.Task.Phase = 17 }, "unknown phase 17"},
		{queued, func(e *store.Entry) { e.Task.Status = 0 }, "unknown status 0"},
		{queued, func(e *store.Entry) { e.Task.Status = 99 }, "unknown status 99"},
		{queued, func(e *store.Entry) { e.Task.Role = 0 }, "has no place in its slot"},
		{queued, func(e *store.Entry) { e.Task.Role = slotdv1.Role_ROLE_NONE }, "has no place in its slot"},
		{queued, func(e *store.Entry) { e.Task.Role = slotdv1.Role_ROLE_HOLDER }, "ROLE_HOLDER of slot \"lane\", which tsk_"},
		{queued, func(e *store.Entry) { e.Task.Role = slotdv1.Role_ROLE_REPLACEMENT }, "ROLE_REPLACEMENT of slot \"lane\", which tsk_"},
		{ended, func(e *store.Entry) { e.Task.Role = slotdv1.Role_ROLE_HOLDER }, "it has ended and still is ROLE_HOLDER"},
		{running, func(e *store.Entry) { e.Task.Attempt = 0 }, "PHASE_RUNNING without an attempt"},
		{running, func(e *store.Entry) { e.Task.Role = slotdv1.Role_ROLE_QUEUED }, "ROLE_QUEUED that is PHASE_RUNNING already"},
		{replacing, func(e *store.Entry) { *e = sound()[0] }, "it comes after"},
		{replacing, func(e *store.Entry) { *e = store.Entry{} }, "an entry without a record"},
		{key, func(e *store.Entry) { e.Key.Slot = "" }, "slot cannot be empty"},
		{key, func(e *store.Entry) { e.Key.Key = "" }, "idempotency_key cannot be empty"},
		{key, func(e *store.Entry) { e.Key.TaskId = "tsk_1" }, "must have 26 characters"},
		{key, func(e *store.Entry) { e.Key.SpecHash = nil }, "its hash has 0 bytes, not 32"},
	} {
		entries := sound()
		c.spoil(&entries[c.at])
		err := audit(entries)
		if err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("got %v, want %q", err, c.want)
		}
	}
}

func TestAnAuditTellsTheFirstFindingsAndCountsTheRest(t *testing.T) {
	var entries []store.Entry
	for i := range 25 {
		e := sound()[0]
		e.Task = proto.Clone(e.Task).(*slotdv1.TaskRecord) //nolint:errcheck,forcetypeassert // a clone is of its type
		e.Task.Id, e.Spec = fmt.Sprintf("task-%02d", i), nil
		entries = append(entries, e)
	}
	var wrong *store.AuditError
	if err := audit(entries); !errors.As(err, &wrong) || len(wrong.Findings) != 10 || wrong.More != 40 {
		t.Fatalf("got %v", err)
	}
	if text := wrong.Error(); !strings.HasPrefix(text, `task "task-00": `) || !strings.HasSuffix(text, "; and 40 more") {
		t.Errorf("got %s", text)
	}
}
