package verify_test

import (
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"slotd/actors/store/pebble/verify"
)

// scenes are stores as processes leave them.
var scenes = []struct {
	name  string
	leave func(t *testing.T, w *world) image
}{
	{"killed", func(t *testing.T, w *world) image {
		return w.killed(t)
	}},
	{"killed after a restart", func(t *testing.T, w *world) image {
		w.close(t)
		w.open(t)
		for range 5 {
			w.write(t, w.some())
		}
		return w.killed(t)
	}},
	{"killed after a flush", func(t *testing.T, w *world) image {
		if err := w.db.Flush(); err != nil {
			t.Fatal(err)
		}
		return w.killed(t)
	}},
	{"closed", func(t *testing.T, w *world) image {
		w.close(t)
		files := w.killed(t)
		w.open(t)
		return files
	}},
}

func scene(t *testing.T, seed uint64, groups int, leave func(*testing.T, *world) image) (image, map[string]string) {
	t.Helper()
	w := newWorld(t, seed)
	for range groups {
		w.write(t, w.some())
	}
	files := leave(t, w)
	model := maps.Clone(w.model)
	w.close(t)
	return files, model
}

// harm damages one file of an image in one way.
type harm struct {
	name string
	do   func(r *rand.Rand, data []byte) []byte
}

var harms = []harm{
	{"flip a bit", func(r *rand.Rand, data []byte) []byte {
		data[r.IntN(len(data))] ^= 1 << r.IntN(8)
		return data
	}},
	{"flip a bit near the end", func(r *rand.Rand, data []byte) []byte {
		data[max(0, len(data)-1-r.IntN(80))] ^= 1 << r.IntN(8)
		return data
	}},
	{"flip bits", func(r *rand.Rand, data []byte) []byte {
		for range 2 + r.IntN(5) {
			data[r.IntN(len(data))] ^= 1 << r.IntN(8)
		}
		return data
	}},
	{"truncate", func(r *rand.Rand, data []byte) []byte { return data[:r.IntN(len(data))] }},
	{"cut the end off", func(r *rand.Rand, data []byte) []byte { return data[:max(0, len(data)-1-r.IntN(400))] }},
	{"zero a part", func(r *rand.Rand, data []byte) []byte {
		from := r.IntN(len(data))
		clear(data[from:min(len(data), from+1+r.IntN(4096))])
		return data
	}},
	{"zero the end", func(r *rand.Rand, data []byte) []byte {
		clear(data[r.IntN(len(data)):])
		return data
	}},
	{"zero all", func(_ *rand.Rand, data []byte) []byte {
		clear(data)
		return data
	}},
	{"write noise", func(r *rand.Rand, data []byte) []byte {
		from := r.IntN(len(data))
		for i := from; i < min(len(data), from+64); i++ {
			data[i] = byte(r.Uint32())
		}
		return data
	}},
}

// tally counts what became of damaged stores.
type tally struct{ found, harmless int }

// judge is the promise of this package: damage is found, or the store that is opened holds all that was acknowledged.
func judge(t *testing.T, what string, files image, model map[string]string, n *tally) {
	t.Helper()
	disk := files.put(t)
	report, err := verify.Check(disk, storeDir)
	if diff := changed(files, take(t, disk)); diff != "" {
		t.Errorf("%s: verification changed %s", what, diff)
	}
	if err != nil {
		n.found++
		_, corrupt := errors.AsType[*verify.CorruptError](err)
		if _, newer := errors.AsType[*verify.NewerError](err); !corrupt && !newer {
			t.Errorf("%s: %v (%T), want a CorruptError", what, err, err)
		}
		return
	}
	n.harmless++
	got, err := read(disk)
	if err != nil {
		t.Errorf("%s: not found, and the store cannot be opened: %v", what, err)
		return
	}
	if !maps.Equal(got, model) {
		t.Errorf("%s: not found, and %d records of %d are left; the report was %+v", what, len(got), len(model), report)
	}
}

func changed(before, after image) string {
	if !slices.Equal(before.names(), after.names()) {
		return fmt.Sprintf("the names: %v, before %v", after.names(), before.names())
	}
	for name, data := range before {
		if string(after[name]) != string(data) {
			return name
		}
	}
	return ""
}

func TestNoDamageIsALossWithoutAWord(t *testing.T) {
	t.Parallel()
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	for _, s := range scenes {
		t.Run(s.name, func(t *testing.T) {
			t.Parallel()
			r := rand.New(rand.NewPCG(seed, 2))
			files, model := scene(t, seed, 150, s.leave)
			kinds := kinds(files)
			var total tally
			for kind, names := range kinds {
				var n tally
				for _, name := range names {
					judge(t, "remove "+name, files.without(name), model, &n)
				}
				for _, h := range harms {
					for range 2 {
						name := names[r.IntN(len(names))]
						if len(files[name]) == 0 {
							continue
						}
						damaged := h.do(r, slices.Clone(files[name]))
						judge(t, h.name+" in "+name, files.with(name, damaged), model, &n)
					}
				}
				t.Logf("%s (%d files): %d found, %d harmless", kind, len(names), n.found, n.harmless)
				total.found += n.found
				total.harmless += n.harmless
			}
			if total.found == 0 || total.harmless == 0 {
				t.Errorf("%d found and %d harmless: the test proves nothing", total.found, total.harmless)
			}
		})
	}
}

// kinds sorts the files of an image by what they are.
func kinds(files image) map[string][]string {
	sorted := map[string][]string{}
	for _, name := range files.names() {
		kind := name
		switch {
		case strings.HasSuffix(name, ".sst"):
			kind = "table"
		case strings.HasSuffix(name, ".log"):
			kind = "log"
		case strings.HasPrefix(name, "MANIFEST-"):
			kind = "manifest"
		case strings.HasPrefix(name, "OPTIONS-"):
			kind = "options"
		case strings.HasPrefix(name, "marker."):
			kind = "marker"
		}
		sorted[kind] = append(sorted[kind], name)
	}
	return sorted
}
