package messages

import (
	"bytes"
	"crypto/sha256"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/testing/protocmp"

	soltiv1 "slotd/messages/solti/v1"
)

func TestDefaultsFillWhatIsLeftOut(t *testing.T) {
	got := commandSpec()
	Defaults(got)
	want := commandSpec()
	want.Restart = soltiv1.RestartStrategy_RESTART_STRATEGY_NEVER
	want.Admission = soltiv1.AdmissionStrategy_ADMISSION_STRATEGY_DROP_IF_RUNNING
	want.StopGraceMs = new(uint64(5000))
	want.Backoff = &soltiv1.BackoffStrategy{Jitter: soltiv1.JitterStrategy_JITTER_STRATEGY_FULL, FirstMs: 1000, MaxMs: 30000, Factor: 2}
	want.GetKind().GetSubprocess().FailOnNonZero = new(true)
	if diff := cmp.Diff(got, want, protocmp.Transform()); diff != "" {
		t.Errorf("spec (-got +want):\n%s", diff)
	}
}

func TestDefaultsOfAContainer(t *testing.T) {
	got := containerSpec(&soltiv1.ContainerTask{Image: "busybox"})
	Defaults(got)
	want := &soltiv1.ContainerTask{Image: "busybox", Network: new("bridge"), Pull: new("missing")}
	if diff := cmp.Diff(got.GetKind().GetContainer(), want, protocmp.Transform()); diff != "" {
		t.Errorf("container (-got +want):\n%s", diff)
	}
}

func TestDefaultsChangeNothingThatWasGiven(t *testing.T) {
	given := func() *soltiv1.CreateSpec {
		s := commandSpec()
		s.Restart = soltiv1.RestartStrategy_RESTART_STRATEGY_ALWAYS
		s.Admission = soltiv1.AdmissionStrategy_ADMISSION_STRATEGY_QUEUE
		s.StopGraceMs = new(uint64(0))
		s.Backoff = &soltiv1.BackoffStrategy{Jitter: soltiv1.JitterStrategy_JITTER_STRATEGY_NONE}
		s.GetKind().GetSubprocess().FailOnNonZero = new(false)
		return s
	}
	got := given()
	Defaults(got)
	if diff := cmp.Diff(got, given(), protocmp.Transform()); diff != "" {
		t.Errorf("spec (-got +want):\n%s", diff)
	}
}

func TestOnlyJitterHasADefaultInsideABackoff(t *testing.T) {
	s := commandSpec()
	s.Backoff = &soltiv1.BackoffStrategy{FirstMs: 7}
	Defaults(s)
	want := &soltiv1.BackoffStrategy{FirstMs: 7, Jitter: soltiv1.JitterStrategy_JITTER_STRATEGY_FULL}
	if diff := cmp.Diff(s.GetBackoff(), want, protocmp.Transform()); diff != "" {
		t.Errorf("backoff (-got +want):\n%s", diff)
	}
}

func TestDefaultsTwiceAreDefaultsOnce(t *testing.T) {
	for _, s := range []*soltiv1.CreateSpec{nil, {}, commandSpec(), wasmSpec(&soltiv1.WasmTask{}), containerSpec(&soltiv1.ContainerTask{})} {
		Defaults(s)
		once := proto.CloneOf(s)
		Defaults(s)
		if diff := cmp.Diff(s, once, protocmp.Transform()); diff != "" {
			t.Errorf("spec (-got +want):\n%s", diff)
		}
	}
}

func TestKindName(t *testing.T) {
	tests := map[string]*soltiv1.CreateSpec{
		"subprocess": commandSpec(),
		"wasm":       wasmSpec(nil),
		"container":  containerSpec(nil),
		"":           nil,
	}
	for want, spec := range tests {
		if got := KindName(spec); got != want {
			t.Errorf("got %q, want %q", got, want)
		}
	}
}

func TestTheLastOfEqualKeysWins(t *testing.T) {
	got := Environ([]*soltiv1.KeyValue{
		{Key: "A", Value: "1"},
		{Key: "B", Value: "x=y"},
		{Key: "A", Value: "2", Secret: true},
		{Key: "a"},
		{Key: "A", Value: "3"},
	})
	if want := []string{"A=3", "B=x=y", "a="}; !slices.Equal(got, want) {
		t.Errorf("got %q, want %q", got, want)
	}
}

func TestRedactHidesSecretsAlwaysAndValuesOnRequest(t *testing.T) {
	env := func(open, secret string) []*soltiv1.KeyValue {
		return []*soltiv1.KeyValue{{Key: "OPEN", Value: open}, {Key: "SECRET", Value: secret, Secret: true}, {Key: "LAST", Value: open}}
	}
	kinds := map[string]func(env []*soltiv1.KeyValue) *soltiv1.CreateSpec{
		"subprocess": func(env []*soltiv1.KeyValue) *soltiv1.CreateSpec { return withEnv(env...) },
		"wasm":       func(env []*soltiv1.KeyValue) *soltiv1.CreateSpec { return wasmSpec(&soltiv1.WasmTask{Env: env}) },
		"container": func(env []*soltiv1.KeyValue) *soltiv1.CreateSpec {
			return containerSpec(&soltiv1.ContainerTask{Env: env})
		},
	}
	for name, kind := range kinds {
		t.Run(name, func(t *testing.T) {
			spec := kind(env("v", "s"))
			if diff := cmp.Diff(Redact(spec, true), kind(env("v", "***")), protocmp.Transform()); diff != "" {
				t.Errorf("with values (-got +want):\n%s", diff)
			}
			if diff := cmp.Diff(Redact(spec, false), kind(env("***", "***")), protocmp.Transform()); diff != "" {
				t.Errorf("without values (-got +want):\n%s", diff)
			}
			if diff := cmp.Diff(spec, kind(env("v", "s")), protocmp.Transform()); diff != "" {
				t.Errorf("the spec itself changed (-got +want):\n%s", diff)
			}
		})
	}
}

func TestRedactCopiesOnlyWhenItMust(t *testing.T) {
	open := withEnv(&soltiv1.KeyValue{Key: "A", Value: "v"})
	if Redact(open, true) != open {
		t.Error("a spec without secrets was copied although its values may be shown")
	}
	bare := commandSpec()
	if Redact(bare, false) != bare {
		t.Error("a spec without environment was copied")
	}
	if got := Redact(nil, false); got != nil {
		t.Errorf("got %v for no spec", got)
	}
}

func TestEqualSpecsHaveEqualHashes(t *testing.T) {
	labels := map[string]string{"a": "1", "b": "2", "c": "3", "d": "4", "e": "5"}
	one, other := commandSpec(), commandSpec()
	one.Labels, other.Labels = labels, map[string]string{}
	for _, key := range []string{"e", "c", "a", "d", "b"} {
		other.Labels[key] = labels[key]
	}
	Defaults(one)
	other.Restart = soltiv1.RestartStrategy_RESTART_STRATEGY_NEVER
	Defaults(other)
	hash := SpecHash(one)
	if len(hash) != sha256.Size {
		t.Fatalf("got %d bytes, want %d", len(hash), sha256.Size)
	}
	for range 20 {
		if got := SpecHash(other); !bytes.Equal(got, hash) {
			t.Fatalf("got %x, want %x", got, hash)
		}
	}
	other.MaxRetries = new(uint32(0))
	if bytes.Equal(SpecHash(other), hash) {
		t.Error("specs that differ have one hash")
	}
}

func TestHashOfASpecThatCannotBeEncodedPanics(t *testing.T) {
	defer func() {
		if recover() == nil {
			t.Error("got no panic")
		}
	}()
	SpecHash(&soltiv1.CreateSpec{Slot: "\xff"})
}

func TestDecodeScript(t *testing.T) {
	const text = "#!/bin/bash\necho 'grüße'\n"
	got, err := DecodeScript(bash(encode(text)))
	if err != nil || string(got) != text {
		t.Errorf("got %q, %v, want %q", got, err, text)
	}
	if got, err := DecodeScript(nil); err == nil || got != nil {
		t.Errorf("got %q, %v, want an error alone", got, err)
	}
}
