package layout_test

import (
	"testing"

	"github.com/google/go-cmp/cmp"

	"slotd/actors/store/pebble/layout"
)

func TestKeysComeApartAsTheyWereMade(t *testing.T) {
	for _, tc := range []struct {
		key  []byte
		want layout.Key
	}{
		{layout.TaskKey("tsk_1"), layout.Key{Table: layout.TaskTable, Task: "tsk_1"}},
		{layout.SpecKey("tsk_1"), layout.Key{Table: layout.SpecTable, Task: "tsk_1"}},
		{layout.RunKey("tsk_1", 0), layout.Key{Table: layout.RunTable, Task: "tsk_1"}},
		{layout.RunKey("tsk_1", 1<<24+7), layout.Key{Table: layout.RunTable, Task: "tsk_1", Attempt: 1<<24 + 7}},
		{layout.IdempotencyKey("slot", "a\x00b"), layout.Key{Table: layout.KeyTable, Slot: "slot", Name: "a\x00b"}},
		{[]byte(layout.FormatKey), layout.Key{Table: layout.MetaTable, Name: layout.FormatKey}},
		{[]byte(layout.CommitsKey), layout.Key{Table: layout.MetaTable, Name: layout.CommitsKey}},
	} {
		got, err := layout.Parse(tc.key)
		if err != nil {
			t.Errorf("Parse(%q): %v", tc.key, err)
		}
		if diff := cmp.Diff(got, tc.want); diff != "" {
			t.Errorf("Parse(%q): %s", tc.key, diff)
		}
	}
}

func TestForeignKeysAreRefused(t *testing.T) {
	for _, key := range []string{"", "t", "x1", "m", "mother", "rtsk_1", "r\x00\x00\x00\x00\x01", "rtsk_1x\x00\x00\x01", "kslot", "k\x00name", "kslot\x00"} {
		if got, err := layout.Parse([]byte(key)); err == nil {
			t.Errorf("Parse(%q) = %+v, want an error", key, got)
		}
	}
}

func TestRunsOfATaskAreNeighborsInTheOrderOfTheirAttempts(t *testing.T) {
	keys := [][]byte{
		layout.RunKey("tsk_1", 1), layout.RunKey("tsk_1", 2), layout.RunKey("tsk_1", 256), layout.RunKey("tsk_1", 65536),
		layout.RunKey("tsk_12", 1),
	}
	for i := 1; i < len(keys); i++ {
		if string(keys[i-1]) >= string(keys[i]) {
			t.Errorf("%q is not before %q", keys[i-1], keys[i])
		}
	}
}
