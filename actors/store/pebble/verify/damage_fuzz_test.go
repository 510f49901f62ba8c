package verify_test

import (
	"encoding/binary"
	"maps"
	"slices"
	"testing"

	"slotd/actors/store/pebble/verify"
)

// spoil changes data as a list of edits says: each is an offset (4 bytes), a byte and what to do with it.
func spoil(data, edits []byte) []byte {
	data = slices.Clone(data)
	for ; len(edits) >= 6 && len(data) > 0; edits = edits[6:] {
		at := int(binary.LittleEndian.Uint32(edits) % uint32(len(data)))
		switch edits[5] % 5 {
		case 0:
			data[at] ^= edits[4]
		case 1:
			data[at] = edits[4]
		case 2:
			data = data[:at]
		case 3:
			clear(data[at:min(len(data), at+int(edits[4]))])
		case 4:
			data = slices.Insert(data, at, edits[4])
		}
	}
	return data
}

func edit(at uint32, value, how byte) []byte {
	return append(binary.LittleEndian.AppendUint32(nil, at), value, how)
}

// FuzzDamage: whatever becomes of the bytes of a log or a manifest, verification ends, changes nothing, and either tells
// the damage or is right that nothing is lost.
func FuzzDamage(f *testing.F) {
	type left struct {
		files image
		model map[string]string
	}
	var scenes []left
	for _, restart := range []bool{false, true} {
		w := newWorld(f, 7)
		for range 12 {
			w.write(f, w.some())
		}
		if restart {
			w.close(f)
			w.open(f)
			w.write(f, w.some())
		}
		scenes = append(scenes, left{w.killed(f), maps.Clone(w.model)})
		w.close(f)
	}
	for i := range uint8(4) {
		f.Add(i, []byte{})
		f.Add(i, edit(0, 0x80, 0))
		f.Add(i, edit(6, 0xff, 1))
		f.Add(i, edit(1<<20, 0, 2))
		f.Add(i, edit(40, 200, 3))
		f.Add(i, slices.Concat(edit(100, 1, 0), edit(7, 7, 4), edit(3, 0, 1)))
	}
	f.Fuzz(func(t *testing.T, which uint8, edits []byte) {
		if len(edits) > 6*64 {
			return
		}
		s := scenes[int(which)%2]
		names := kinds(s.files)[[]string{"log", "manifest"}[which/2%2]]
		name := names[int(which/4)%len(names)]
		judge(t, name, s.files.with(name, spoil(s.files[name], edits)), s.model, &tally{})
	})
}

// FuzzLogBytes: bytes that were never a log are damage or an end, and cost no more memory than they have.
func FuzzLogBytes(f *testing.F) {
	w := newWorld(f, 9)
	w.write(f, w.some())
	files := w.killed(f)
	w.close(f)
	logs := kinds(files)["log"]
	name := logs[len(logs)-1]
	f.Add([]byte{})
	f.Add(files[name])
	f.Add(slices.Concat(files[name], files[name]))
	f.Add([]byte("\x00\x00\x00\x00\xff\xff\x05\x01\x00\x00\x00"))
	f.Fuzz(func(t *testing.T, data []byte) {
		disk := files.with(name, data).put(t)
		report, err := verify.Check(disk, storeDir)
		if report == nil || report.LogBytes > int64(len(data)) {
			t.Fatalf("%d bytes: %+v, %v", len(data), report, err)
		}
	})
}
