package inspect_test

import (
	"context"
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"google.golang.org/protobuf/proto"

	"slotd/actors/store"
	"slotd/actors/store/inspect"
	"slotd/actors/store/pebble/layout"
	"slotd/messages"
	slotdv1 "slotd/messages/slotd/v1"
	soltiv1 "slotd/messages/solti/v1"
)

// records is a store of raw records.
type records map[string][]byte

func (r records) Raw(_ context.Context, yield func(key, value []byte) error) error {
	for _, key := range r.keys() {
		if err := yield([]byte(key), r[key]); err != nil {
			return err
		}
	}
	return nil
}

func (r records) keys() []string {
	keys := make([]string, 0, len(r))
	for key := range r {
		keys = append(keys, key)
	}
	slices.Sort(keys)
	return keys
}

func (r records) Load(_ context.Context, yield func(store.Entry) error) error {
	for _, key := range r.keys() {
		if key[0] != layout.TaskTable {
			continue
		}
		e := store.Entry{Task: &slotdv1.TaskRecord{}}
		if err := proto.Unmarshal(r[key], e.Task); err != nil {
			return err
		}
		if data, ok := r[string(layout.SpecKey(key[1:]))]; ok {
			e.Spec = &slotdv1.SpecRecord{}
			if err := proto.Unmarshal(data, e.Spec); err != nil {
				return err
			}
		}
		if err := yield(e); err != nil {
			return err
		}
	}
	return nil
}

func (r records) put(t *testing.T, key []byte, rec proto.Message) {
	t.Helper()
	data, err := proto.Marshal(rec)
	if err != nil {
		t.Fatal(err)
	}
	r[string(key)] = data
}

// whole is a store in order, with three holders of three slots.
func whole(t *testing.T) (records, []string) {
	t.Helper()
	r, minter, ids := records{}, messages.NewMinter(""), []string(nil)
	for _, slot := range []string{"a", "b", "c"} {
		id := minter.Mint(time.Unix(1e9, 0), slot)
		ids = append(ids, id)
		r.put(t, layout.TaskKey(id), &slotdv1.TaskRecord{
			Id: id, Slot: slot, Role: slotdv1.Role_ROLE_HOLDER, Phase: slotdv1.Phase_PHASE_RUNNING,
			Attempt: 1, Status: soltiv1.TaskStatus_TASK_STATUS_RUNNING,
		})
		r.put(t, layout.SpecKey(id), &slotdv1.SpecRecord{TaskId: id, Spec: &soltiv1.CreateSpec{Slot: slot}})
		r.put(t, layout.RunKey(id, 1), &slotdv1.RunRecord{TaskId: id, Attempt: 1})
	}
	r.put(t, layout.IdempotencyKey("a", "k"), &slotdv1.KeyRecord{Slot: "a", Key: "k", TaskId: ids[0], SpecHash: make([]byte, 32)})
	r[layout.FormatKey], r[layout.CommitsKey] = []byte{8, 1}, make([]byte, 8)
	return r, ids
}

func TestAStoreInOrderHasNoFindings(t *testing.T) {
	r, ids := whole(t)
	got, err := inspect.Inspect(t.Context(), r, append([]string{"lost+found", ".tmp"}, ids...))
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(got, inspect.Report{Tasks: 3, Runs: 3, Keys: 1}); diff != "" {
		t.Error(diff)
	}
}

func TestWhatDoesNotBelongIsFound(t *testing.T) {
	other := messages.NewMinter("").Mint(time.Unix(2e9, 0), "z")
	for name, tc := range map[string]struct {
		harm func(r records, ids []string)
		logs []string
		want []inspect.Finding
	}{
		"a log without a task": {
			logs: []string{other},
			want: []inspect.Finding{{inspect.OrphanedLog, other, "a log directory without a task"}},
		},
		"a spec without a task": {
			harm: func(r records, _ []string) { r.put(t, layout.SpecKey(other), &slotdv1.SpecRecord{TaskId: other}) },
			want: []inspect.Finding{{inspect.OrphanedSpec, other, "a spec without a task"}},
		},
		"runs without a task": {
			harm: func(r records, _ []string) {
				for attempt := range uint32(3) {
					r.put(t, layout.RunKey(other, attempt), &slotdv1.RunRecord{TaskId: other, Attempt: attempt})
				}
			},
			want: []inspect.Finding{{inspect.OrphanedRun, other, "runs without a task"}},
		},
		"a task without a spec": {
			harm: func(r records, ids []string) { delete(r, string(layout.SpecKey(ids[1]))) },
			want: []inspect.Finding{{inspect.Unsound, "", "it has no spec"}},
		},
		"two holders": {
			harm: func(r records, ids []string) {
				id := messages.NewMinter(ids[2]).Mint(time.Unix(1e9, 0), "a")
				r.put(t, layout.TaskKey(id), &slotdv1.TaskRecord{
					Id: id, Slot: "a", Role: slotdv1.Role_ROLE_HOLDER, Phase: slotdv1.Phase_PHASE_READY,
					Status: soltiv1.TaskStatus_TASK_STATUS_PENDING,
				})
				r.put(t, layout.SpecKey(id), &slotdv1.SpecRecord{TaskId: id, Spec: &soltiv1.CreateSpec{Slot: "a"}})
			},
			want: []inspect.Finding{{inspect.Unsound, "", `ROLE_HOLDER of slot "a"`}},
		},
		"an id that is none": {
			harm: func(r records, _ []string) {
				r.put(t, layout.TaskKey("x"), &slotdv1.TaskRecord{
					Id: "x", Slot: "x", Role: slotdv1.Role_ROLE_NONE, Phase: slotdv1.Phase_PHASE_FINISHED,
					Status: soltiv1.TaskStatus_TASK_STATUS_FAILED,
				})
				r.put(t, layout.SpecKey("x"), &slotdv1.SpecRecord{TaskId: "x", Spec: &soltiv1.CreateSpec{Slot: "x"}})
			},
			want: []inspect.Finding{{inspect.Unsound, "", "does not begin with tsk_"}},
		},
		"a key that is none": {
			harm: func(r records, _ []string) { r["what?"] = nil },
			want: []inspect.Finding{{inspect.Unreadable, `"what?"`, "is unknown"}},
		},
		"a record that is none": {
			harm: func(r records, _ []string) { r[string(layout.TaskKey(other))] = []byte{255} },
			want: []inspect.Finding{{inspect.Unreadable, other, "cannot be decoded"}},
		},
		"a record in another's place": {
			harm: func(r records, ids []string) {
				r.put(t, layout.IdempotencyKey("a", "l"), &slotdv1.KeyRecord{Slot: "a", Key: "k", TaskId: ids[0], SpecHash: make([]byte, 32)})
			},
			want: []inspect.Finding{{inspect.Misplaced, "a/l", "is that of"}},
		},
	} {
		r, ids := whole(t)
		if tc.harm != nil {
			tc.harm(r, ids)
		}
		got, err := inspect.Inspect(t.Context(), r, append(tc.logs, ids...))
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		same := slices.EqualFunc(got.Findings, tc.want, func(a, b inspect.Finding) bool {
			return a.Kind == b.Kind && a.Subject == b.Subject && strings.Contains(strings.ReplaceAll(a.What, "\u00a0", " "), b.What)
		})
		if !same {
			t.Errorf("%s: %+v, want %+v", name, got.Findings, tc.want)
		}
	}
}

// unreadable is a store whose disk fails.
type unreadable struct{ records }

var errDisk = errors.New("disk")

func (unreadable) Load(context.Context, func(store.Entry) error) error { return errDisk }

func TestADiskThatFailsIsNoFinding(t *testing.T) {
	r, _ := whole(t)
	if got, err := inspect.Inspect(t.Context(), unreadable{r}, nil); !errors.Is(err, errDisk) || len(got.Findings) != 0 {
		t.Errorf("got %+v, %v, want the disk's error", got, err)
	}
}
