package pebble_test

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/testing/protocmp"

	"slotd/actors/store"
	"slotd/actors/store/pebble"
	slotdv1 "slotd/messages/slotd/v1"
	soltiv1 "slotd/messages/solti/v1"
)

// laden is a store with a task that has ended and one that has not.
func laden(t *testing.T) (*pebble.Store, *store.Batch) {
	t.Helper()
	s, err := pebble.Open(pebble.Config{Dir: t.TempDir()})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	b := &store.Batch{
		Tasks: []*slotdv1.TaskRecord{{Id: "tsk_1", Phase: slotdv1.Phase_PHASE_FINISHED}, {Id: "tsk_2", Phase: slotdv1.Phase_PHASE_READY}},
		Specs: []*slotdv1.SpecRecord{
			{TaskId: "tsk_1", Spec: &soltiv1.CreateSpec{Slot: "a"}}, {TaskId: "tsk_2", Spec: &soltiv1.CreateSpec{Slot: "b"}},
		},
	}
	committed := make(chan error, 1)
	s.Commit(b, func(err error) { committed <- err })
	if err := <-committed; err != nil {
		t.Fatal(err)
	}
	return s, b
}

func loaded(t *testing.T, s *pebble.Store) (entries []store.Entry, err error) {
	t.Helper()
	err = s.Load(t.Context(), func(e store.Entry) error {
		entries = append(entries, e)
		return nil
	})
	return entries, err
}

func TestSpecsOfEndedTasksAreNotDecoded(t *testing.T) {
	s, b := laden(t)
	got, err := loaded(t, s)
	if err != nil {
		t.Fatal(err)
	}
	raw, err := proto.Marshal(b.Specs[0])
	if err != nil {
		t.Fatal(err)
	}
	want := []store.Entry{{Task: b.Tasks[0], Raw: raw}, {Task: b.Tasks[1], Spec: b.Specs[1]}}
	if diff := cmp.Diff(got, want, protocmp.Transform()); diff != "" {
		t.Error(diff)
	}
}

func TestASpecThatCannotBeDecodedEndsTheLoading(t *testing.T) {
	for _, id := range []string{"tsk_1", "tsk_2"} {
		for _, value := range []string{"hello", "\x0a\x01\xff", "\x12\x02\x0a\x07"} {
			s, _ := laden(t)
			if err := pebble.Overwrite(s, "s"+id, []byte(value)); err != nil {
				t.Fatal(err)
			}
			if _, err := loaded(t, s); err == nil || !strings.Contains(err.Error(), "read a record of table s") {
				t.Errorf("%s with %q: %v", id, value, err)
			}
		}
	}
}
