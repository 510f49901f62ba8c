package messages

import (
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	soltiv1 "slotd/messages/solti/v1"
)

// fullSpec uses most of what a spec offers.
func fullSpec() *soltiv1.CreateSpec {
	s := commandSpec()
	s.Labels = map[string]string{"team": "a", "example.com/tier": "batch", "env": "prod"}
	s.RunnerSelector = &soltiv1.RunnerSelector{
		MatchLabels:      map[string]string{"runner": "subprocess"},
		MatchExpressions: []*soltiv1.SelectorRequirement{{Key: "zone", Operator: soltiv1.SelectorOperator_SELECTOR_OPERATOR_IN, Values: []string{"a", "b"}}},
	}
	s.Limits = &soltiv1.ResourceLimits{MemoryBytes: new(uint64(1 << 30)), Pids: new(uint64(100))}
	sub := s.GetKind().GetSubprocess()
	sub.GetCommand().Args = []string{"build", "--release", "--target", "x86_64-unknown-linux-gnu"}
	for _, key := range []string{"A", "B", "C", "D", "E", "F", "G", "TOKEN"} {
		sub.Env = append(sub.Env, &soltiv1.KeyValue{Key: key, Value: "some value", Secret: key == "TOKEN"})
	}
	Defaults(s)
	return s
}

func BenchmarkValidate(b *testing.B) {
	specs := []struct {
		name string
		spec *soltiv1.CreateSpec
	}{
		{"least", commandSpec()},
		{"full", fullSpec()},
		{"script_1KiB", scriptSpec(bash(encode(strings.Repeat("echo hi\n", 128))))},
		{"script_2MiB", scriptSpec(bash(encode(strings.Repeat("echo hi\n", MaxScriptBytes/8))))},
	}
	for _, tt := range specs {
		b.Run(tt.name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				if err := Validate(tt.spec); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

func BenchmarkMint(b *testing.B) {
	b.ReportAllocs()
	m := NewMinter("")
	now := noon
	var last string
	for i := 0; b.Loop(); i++ {
		if i%100 == 0 {
			now = now.Add(time.Millisecond)
		}
		id := m.Mint(now, "build")
		if id <= last {
			b.Fatalf("%s follows %s", id, last)
		}
		last = id
	}
}

func BenchmarkParseID(b *testing.B) {
	b.ReportAllocs()
	id := NewMinter("").Mint(noon, "build")
	for b.Loop() {
		if _, err := ParseID(id); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkSpecHash(b *testing.B) {
	b.ReportAllocs()
	spec := fullSpec()
	for b.Loop() {
		SpecHash(spec)
	}
}

func BenchmarkRedact(b *testing.B) {
	b.ReportAllocs()
	spec := fullSpec()
	for b.Loop() {
		Redact(spec, false)
	}
}

func BenchmarkSelectorMatches(b *testing.B) {
	b.ReportAllocs()
	s, err := ParseSelector("team in (a,b,c),env!=dev,!archived")
	if err != nil {
		b.Fatal(err)
	}
	labels := map[string]string{"team": "c", "env": "prod", "tier": "batch"}
	for b.Loop() {
		if !s.Matches(labels) {
			b.Fatal("no match")
		}
	}
}

func BenchmarkDelay(b *testing.B) {
	b.ReportAllocs()
	backoff := Backoff{First: time.Second, Max: time.Hour, Factor: 2, Jitter: decorrelated}
	r := rand.New(rand.NewPCG(1, 2))
	for b.Loop() {
		backoff.Delay(7, r)
	}
}
