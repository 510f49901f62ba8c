package pebble_test

import (
	"context"
	"os"
	"path/filepath"
	"testing"

	"github.com/google/go-cmp/cmp"
	"google.golang.org/protobuf/testing/protocmp"

	"slotd/actors/store"
	"slotd/actors/store/pebble"
	slotdv1 "slotd/messages/slotd/v1"
)

// files is every file of a directory with its bytes.
func files(t *testing.T, dir string) map[string]string {
	t.Helper()
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	all := map[string]string{}
	for _, e := range entries {
		data, err := os.ReadFile(filepath.Join(dir, e.Name()))
		if err != nil {
			t.Fatal(err)
		}
		all[e.Name()] = string(data)
	}
	return all
}

func TestAReaderSeesEverythingAndChangesNothing(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "store")
	s, err := pebble.Open(pebble.Config{Dir: dir})
	if err != nil {
		t.Fatal(err)
	}
	task := &slotdv1.TaskRecord{Id: "tsk_1", ResourceVersion: 7}
	spec := &slotdv1.SpecRecord{TaskId: "tsk_1"}
	run := &slotdv1.RunRecord{TaskId: "tsk_1", Attempt: 1}
	key := &slotdv1.KeyRecord{Slot: "s", Key: "k"}
	done := make(chan error, 1)
	s.Commit(&store.Batch{
		Tasks: []*slotdv1.TaskRecord{task}, Specs: []*slotdv1.SpecRecord{spec},
		Runs: []*slotdv1.RunRecord{run}, Keys: []*slotdv1.KeyRecord{key},
	}, func(err error) { done <- err })
	if err := <-done; err != nil {
		t.Fatal(err)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	before := files(t, dir)
	r, err := pebble.OpenReadOnly(pebble.Config{Dir: dir})
	if err != nil {
		t.Fatal(err)
	}
	var got []store.Entry
	err = r.Load(t.Context(), func(e store.Entry) error {
		got = append(got, e)
		return nil
	})
	if err != nil {
		t.Error(err)
	}
	if diff := cmp.Diff(got, []store.Entry{{Task: task, Spec: spec}, {Key: key}}, protocmp.Transform()); diff != "" {
		t.Error(diff)
	}
	runs, err := r.Runs(t.Context(), "tsk_1")
	if diff := cmp.Diff(runs, []*slotdv1.RunRecord{run}, protocmp.Transform()); diff != "" || err != nil {
		t.Error(diff, err)
	}
	var keys []string
	err = r.Raw(t.Context(), func(key, _ []byte) error {
		keys = append(keys, string(key))
		return nil
	})
	want := []string{"ks\x00k", "mcommits", "mformat", "rtsk_1\x00\x00\x00\x00\x01", "stsk_1", "ttsk_1"}
	if diff := cmp.Diff(keys, want); diff != "" || err != nil {
		t.Error(diff, err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := r.Raw(ctx, func(_, _ []byte) error { return nil }); err == nil {
		t.Error("Raw goes on after its context is done")
	}
	if err := r.Close(); err != nil {
		t.Error(err)
	}
	if diff := cmp.Diff(before, files(t, dir)); diff != "" {
		t.Error(diff)
	}
}

func TestAReaderMakesNoStore(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "store")
	if r, err := pebble.OpenReadOnly(pebble.Config{Dir: dir}); err == nil {
		t.Errorf("opened %v, want an error", r)
	}
	if _, err := os.Stat(dir); !os.IsNotExist(err) {
		t.Errorf("%s was made: %v", dir, err)
	}
}
