package layout_test

import (
	"bytes"
	"testing"

	"slotd/actors/store/pebble/layout"
)

// FuzzParse: a key that can be taken apart is the one its parts make.
func FuzzParse(f *testing.F) {
	for _, key := range [][]byte{
		nil,
		{'t'},
		{0, 0},
		layout.TaskKey("tsk_1"), layout.SpecKey("tsk_1"), layout.RunKey("tsk_1", 1<<32-1), layout.RunKey("", 0), layout.RunKey("a\x00b", 0),
		layout.IdempotencyKey("lane", "a\x00b"), layout.IdempotencyKey("", "a"), layout.IdempotencyKey("a", ""), []byte(layout.FormatKey), []byte(layout.CommitsKey), []byte("mother"),
		[]byte("rabc\x00\x00\x00\x00"), []byte("x1"),
	} {
		f.Add(key)
	}
	f.Fuzz(func(t *testing.T, key []byte) {
		k, err := layout.Parse(key)
		if err != nil {
			if k != (layout.Key{}) {
				t.Fatalf("%q: %+v beside %v", key, k, err)
			}
			return
		}
		var made []byte
		switch k.Table {
		case layout.TaskTable:
			made = layout.TaskKey(k.Task)
		case layout.SpecTable:
			made = layout.SpecKey(k.Task)
		case layout.RunTable:
			made = layout.RunKey(k.Task, k.Attempt)
		case layout.KeyTable:
			made = layout.IdempotencyKey(k.Slot, k.Name)
		case layout.MetaTable:
			made = []byte(k.Name)
		}
		if !bytes.Equal(made, key) {
			t.Fatalf("%q became %+v, which is %q", key, k, made)
		}
	})
}
