package store_test

import (
	"errors"
	"maps"
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"

	"slotd/actors/store"
	slotdv1 "slotd/messages/slotd/v1"
	soltiv1 "slotd/messages/solti/v1"
)

// specs have every kind of field.
func specs(tb testing.TB) [][]byte {
	tb.Helper()
	var encoded [][]byte
	for _, kind := range []*soltiv1.TaskKind{
		nil,
		{Kind: &soltiv1.TaskKind_Subprocess{Subprocess: &soltiv1.SubprocessTask{
			Env: []*soltiv1.KeyValue{{Key: "K", Value: "värde", Secret: true}}, FailOnNonZero: new(bool), Cwd: new("/"),
			Mode: &soltiv1.SubprocessTask_Command{Command: &soltiv1.CommandMode{Command: "make", Args: []string{"", "all"}}},
		}}},
		{Kind: &soltiv1.TaskKind_Subprocess{Subprocess: &soltiv1.SubprocessTask{
			Mode: &soltiv1.SubprocessTask_Script{Script: &soltiv1.ScriptMode{
				Runtime: &soltiv1.ScriptMode_Custom{Custom: &soltiv1.CustomRuntime{Command: "perl", Flag: "-e"}}, Body: "MQ==",
			}},
		}}},
		{Kind: &soltiv1.TaskKind_Container{Container: &soltiv1.ContainerTask{
			Image: "busybox", Mounts: []*soltiv1.Mount{{Source: "/a", Target: "/b", ReadOnly: true}}, Pull: new("always"),
		}}},
	} {
		data, err := proto.Marshal(&slotdv1.SpecRecord{TaskId: "tsk_1", Spec: &soltiv1.CreateSpec{
			Slot: "lane", Kind: kind, TimeoutMs: 1 << 60, Labels: map[string]string{"team": "core", "ü": ""},
			Backoff: &soltiv1.BackoffStrategy{Factor: 2}, Limits: &soltiv1.ResourceLimits{Pids: new(uint64(7))},
			RunnerSelector: &soltiv1.RunnerSelector{
				MatchLabels:      map[string]string{"a": "b"},
				MatchExpressions: []*soltiv1.SelectorRequirement{{Key: "k", Values: []string{"v", "w"}}},
			},
		}})
		if err != nil {
			tb.Fatal(err)
		}
		encoded = append(encoded, data)
	}
	return encoded
}

// agree compares what is read from the bytes with what they decode to.
func agree(t *testing.T, data []byte) (decodes bool) {
	t.Helper()
	raw := store.RawSpec(data)
	rec, err := raw.Decode()
	if checked := raw.Check(); (checked == nil) != (err == nil) {
		t.Errorf("%x: Check says %v, Decode %v", data, checked, err)
	}
	if err != nil {
		return false
	}
	labels := map[string]string{}
	if err := raw.Labels(labels); err != nil || !maps.Equal(labels, rec.GetSpec().GetLabels()) {
		t.Errorf("%x: Labels() = %v, %v, want that of %v", data, labels, err, rec)
	}
	slot, found, err := raw.Slot()
	if err != nil || found != (rec.GetSpec() != nil) || slot != rec.GetSpec().GetSlot() {
		t.Errorf("%x: Slot() = %q, %v, %v, want that of %v", data, slot, found, err, rec)
	}
	return true
}

func TestACheckedSpecIsOneThatDecodes(t *testing.T) {
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	r := rand.New(rand.NewPCG(seed, 0))
	count := map[bool]int{}
	for _, sound := range specs(t) {
		if !agree(t, sound) {
			t.Fatalf("%x does not decode", sound)
		}
		for range 20_000 {
			spoiled := append([]byte(nil), sound...)
			for range 1 + r.IntN(3) {
				switch at := r.IntN(len(spoiled)); r.IntN(4) {
				case 0:
					spoiled[at] ^= 1 << r.IntN(8)
				case 1:
					spoiled[at] = byte(r.IntN(256))
				case 2:
					spoiled = append(spoiled[:at:at], spoiled[at+1:]...)
				case 3:
					spoiled = append(spoiled, sound[:r.IntN(10)]...)
				}
			}
			count[agree(t, spoiled)]++
		}
	}
	if count[true] < 1000 || count[false] < 1000 {
		t.Errorf("%v of the spoiled specs decode: too few of either", count)
	}
}

func FuzzRawSpec(f *testing.F) {
	for _, data := range specs(f) {
		f.Add(data)
	}
	f.Fuzz(func(t *testing.T, data []byte) { agree(t, data) })
}

// TestAnAuditReadsWhatIsEncoded says of an encoded spec what it says of the same one decoded.
func TestAnAuditReadsWhatIsEncoded(t *testing.T) {
	for _, c := range []struct {
		raw  func(spec *slotdv1.SpecRecord) []byte
		want string
	}{
		{func(*slotdv1.SpecRecord) []byte { return nil }, ""},
		{func(spec *slotdv1.SpecRecord) []byte { spec.Spec.Slot = "other"; return nil }, `its spec of slot "other"`},
		{func(spec *slotdv1.SpecRecord) []byte { spec.Spec.Slot = ""; return nil }, `its spec of slot ""`},
		{func(spec *slotdv1.SpecRecord) []byte { spec.Spec = nil; return nil }, "it has no spec"},
		{func(*slotdv1.SpecRecord) []byte { return []byte{} }, "it has no spec"},
		{func(*slotdv1.SpecRecord) []byte { return []byte("hello") }, "its spec cannot be decoded"},
		{func(*slotdv1.SpecRecord) []byte { return protowire.AppendTag(nil, 2, protowire.BytesType) }, "its spec cannot be decoded"},
	} {
		entries := sound()
		e := &entries[0]
		if e.Raw = c.raw(e.Spec); e.Raw == nil {
			data, err := proto.Marshal(e.Spec)
			if err != nil {
				t.Fatal(err)
			}
			e.Raw = data
		}
		e.Spec = nil
		err := audit(entries)
		if c.want == "" && err == nil {
			continue
		}
		if wrong, ok := errors.AsType[*store.AuditError](err); !ok || len(wrong.Findings) != 1 || !strings.Contains(wrong.Findings[0], c.want) {
			t.Errorf("got %v, want %q", err, c.want)
		}
	}
}
