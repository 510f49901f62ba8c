package messages

import (
	"encoding/base64"
	"errors"
	"fmt"
	"math"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"google.golang.org/protobuf/proto"
	"pgregory.net/rapid"

	soltiv1 "slotd/messages/solti/v1"
)

// commandSpec is the smallest valid spec: everything that has a default is left out.
func commandSpec() *soltiv1.CreateSpec {
	return &soltiv1.CreateSpec{
		Slot:      "build",
		TimeoutMs: 1000,
		Kind: &soltiv1.TaskKind{Kind: &soltiv1.TaskKind_Subprocess{Subprocess: &soltiv1.SubprocessTask{
			Mode: &soltiv1.SubprocessTask_Command{Command: &soltiv1.CommandMode{Command: "true"}},
		}}},
	}
}

func scriptSpec(script *soltiv1.ScriptMode) *soltiv1.CreateSpec {
	s := commandSpec()
	s.GetKind().GetSubprocess().Mode = &soltiv1.SubprocessTask_Script{Script: script}
	return s
}

func bash(body string) *soltiv1.ScriptMode {
	return &soltiv1.ScriptMode{
		Runtime: &soltiv1.ScriptMode_WellKnown{WellKnown: soltiv1.ScriptRuntime_SCRIPT_RUNTIME_BASH},
		Body:    body,
	}
}

func custom(command, flag string) *soltiv1.ScriptMode {
	return &soltiv1.ScriptMode{
		Runtime: &soltiv1.ScriptMode_Custom{Custom: &soltiv1.CustomRuntime{Command: command, Flag: flag}},
		Body:    encode("x"),
	}
}

func wasmSpec(w *soltiv1.WasmTask) *soltiv1.CreateSpec {
	s := commandSpec()
	s.Kind = &soltiv1.TaskKind{Kind: &soltiv1.TaskKind_Wasm{Wasm: w}}
	return s
}

func containerSpec(c *soltiv1.ContainerTask) *soltiv1.CreateSpec {
	s := commandSpec()
	s.Kind = &soltiv1.TaskKind{Kind: &soltiv1.TaskKind_Container{Container: c}}
	return s
}

func encode(text string) string { return base64.StdEncoding.EncodeToString([]byte(text)) }

// with changes the smallest valid spec in one way.
func with(change func(*soltiv1.CreateSpec)) *soltiv1.CreateSpec {
	s := commandSpec()
	change(s)
	return s
}

func withEnv(env ...*soltiv1.KeyValue) *soltiv1.CreateSpec {
	return with(func(s *soltiv1.CreateSpec) { s.GetKind().GetSubprocess().Env = env })
}

func withBackoff(change func(*soltiv1.BackoffStrategy)) *soltiv1.CreateSpec {
	return with(func(s *soltiv1.CreateSpec) {
		s.Backoff = &soltiv1.BackoffStrategy{FirstMs: 10, MaxMs: 100, Factor: 2}
		change(s.Backoff)
	})
}

func withLabel(key, value string) *soltiv1.CreateSpec {
	return with(func(s *soltiv1.CreateSpec) { s.Labels = map[string]string{key: value} })
}

func withSelector(requirements ...*soltiv1.SelectorRequirement) *soltiv1.CreateSpec {
	return with(func(s *soltiv1.CreateSpec) {
		s.RunnerSelector = &soltiv1.RunnerSelector{MatchExpressions: requirements}
	})
}

// problemsOf fails the test when the error is neither nil nor an InvalidError with problems.
func problemsOf(t interface {
	Helper()
	Fatalf(string, ...any)
}, err error,
) []string {
	t.Helper()
	if err == nil {
		return nil
	}
	var invalid *InvalidError
	if !errors.As(err, &invalid) {
		t.Fatalf("got a %T (%v), want an InvalidError", err, err)
	}
	if len(invalid.Problems) == 0 {
		t.Fatalf("got an InvalidError without problems")
	}
	return invalid.Problems
}

const nameRule = "at most 63 bytes of A-Z, a-z, 0-9, '-', '_' and '.', with an alphanumeric at both ends"

func TestEveryRuleOfASpec(t *testing.T) {
	tests := []struct {
		name string
		spec *soltiv1.CreateSpec
		want []string
	}{
		{"no spec", nil, []string{"missing spec"}},
		{"least spec", commandSpec(), nil},
		{
			"everything missing",
			&soltiv1.CreateSpec{},
			[]string{"spec.slot cannot be empty", "spec.kind: missing task kind", "spec.timeout_ms cannot be zero"},
		},

		{"blank slot", with(func(s *soltiv1.CreateSpec) { s.Slot = " \t" }), []string{"spec.slot cannot be empty"}},
		{"slot of every kind of byte", with(func(s *soltiv1.CreateSpec) { s.Slot = "aZ09._-" }), nil},
		{"slot of 64 bytes", with(func(s *soltiv1.CreateSpec) { s.Slot = strings.Repeat("a", 64) }), nil},
		{"slot of 65 bytes", with(func(s *soltiv1.CreateSpec) { s.Slot = strings.Repeat("a", 65) }), []string{"spec.slot must be at most 64 bytes, not 65"}},
		{"slot is a dot", with(func(s *soltiv1.CreateSpec) { s.Slot = "." }), []string{`spec.slot must not be "."`}},
		{"slot is two dots", with(func(s *soltiv1.CreateSpec) { s.Slot = ".." }), []string{`spec.slot must not be ".."`}},
		{"slot is three dots", with(func(s *soltiv1.CreateSpec) { s.Slot = "..." }), nil},
		{"slot with a slash", with(func(s *soltiv1.CreateSpec) { s.Slot = "a/b" }), []string{`spec.slot must consist of A-Z, a-z, 0-9, '.', '_' and '-', not "a/b"`}},
		{"slot with a letter outside ASCII", with(func(s *soltiv1.CreateSpec) { s.Slot = "é" }), []string{`spec.slot must consist of A-Z, a-z, 0-9, '.', '_' and '-', not "é"`}},
		{"slot with an invalid byte", with(func(s *soltiv1.CreateSpec) { s.Slot = "a\xff" }), []string{`spec.slot must consist of A-Z, a-z, 0-9, '.', '_' and '-', not "a\xff"`}},
		{"slot with a newline at its end", with(func(s *soltiv1.CreateSpec) { s.Slot = "a\n" }), []string{`spec.slot must consist of A-Z, a-z, 0-9, '.', '_' and '-', not "a\n"`}},

		{"no kind", with(func(s *soltiv1.CreateSpec) { s.Kind = nil }), []string{"spec.kind: missing task kind"}},
		{"no variant", with(func(s *soltiv1.CreateSpec) { s.Kind = &soltiv1.TaskKind{} }), []string{"spec.kind: missing task kind variant, one of subprocess, wasm, container"}},

		{"no timeout", with(func(s *soltiv1.CreateSpec) { s.TimeoutMs = 0 }), []string{"spec.timeout_ms cannot be zero"}},
		{"timeout of 100 years", with(func(s *soltiv1.CreateSpec) { s.TimeoutMs = 3_153_600_000_000 }), nil},
		{"timeout above 100 years", with(func(s *soltiv1.CreateSpec) { s.TimeoutMs = 3_153_600_000_001 }), []string{"spec.timeout_ms must be ≤ 3153600000000, not 3153600000001"}},
		{"interval of 100 years", with(func(s *soltiv1.CreateSpec) { s.RestartIntervalMs = new(uint64(MaxMillis)) }), nil},
		{"interval above 100 years", with(func(s *soltiv1.CreateSpec) { s.RestartIntervalMs = new(uint64(math.MaxUint64)) }), []string{"spec.restart_interval_ms must be ≤ 3153600000000, not 18446744073709551615"}},
		{"no grace", with(func(s *soltiv1.CreateSpec) { s.StopGraceMs = new(uint64(0)) }), nil},
		{"grace of an hour", with(func(s *soltiv1.CreateSpec) { s.StopGraceMs = new(uint64(3_600_000)) }), nil},
		{"grace above an hour", with(func(s *soltiv1.CreateSpec) { s.StopGraceMs = new(uint64(3_600_001)) }), []string{"spec.stop_grace_ms must be ≤ 3600000, not 3600001"}},

		{"restart outside the table", with(func(s *soltiv1.CreateSpec) { s.Restart = 4 }), []string{"spec.restart: unknown or unspecified restart strategy 4, expected one of RESTART_STRATEGY_NEVER, RESTART_STRATEGY_ON_FAILURE, RESTART_STRATEGY_ALWAYS"}},
		{"restart below the table", with(func(s *soltiv1.CreateSpec) { s.Restart = -1 }), []string{"spec.restart: unknown or unspecified restart strategy -1, expected one of RESTART_STRATEGY_NEVER, RESTART_STRATEGY_ON_FAILURE, RESTART_STRATEGY_ALWAYS"}},
		{"admission outside the table", with(func(s *soltiv1.CreateSpec) { s.Admission = 4 }), []string{"spec.admission: unknown or unspecified admission strategy 4, expected one of ADMISSION_STRATEGY_DROP_IF_RUNNING, ADMISSION_STRATEGY_REPLACE, ADMISSION_STRATEGY_QUEUE"}},
		{"no retries", with(func(s *soltiv1.CreateSpec) { s.MaxRetries = new(uint32(0)) }), nil},

		{"backoff", withBackoff(func(*soltiv1.BackoffStrategy) {}), nil},
		{"empty backoff", with(func(s *soltiv1.CreateSpec) { s.Backoff = &soltiv1.BackoffStrategy{} }), []string{
			"spec.backoff.first_ms must be > 0",
			"spec.backoff.max_ms must be > 0",
			"spec.backoff.factor must be finite and ≥ 1, not 0",
		}},
		{"jitter outside the table", withBackoff(func(b *soltiv1.BackoffStrategy) { b.Jitter = 5 }), []string{"spec.backoff.jitter: unknown or unspecified jitter strategy 5, expected one of JITTER_STRATEGY_NONE, JITTER_STRATEGY_FULL, JITTER_STRATEGY_EQUAL, JITTER_STRATEGY_DECORRELATED"}},
		{"first is 0", withBackoff(func(b *soltiv1.BackoffStrategy) { b.FirstMs = 0 }), []string{"spec.backoff.first_ms must be > 0"}},
		{"max is 0", withBackoff(func(b *soltiv1.BackoffStrategy) { b.MaxMs = 0 }), []string{"spec.backoff.max_ms must be > 0"}},
		{"max equals first", withBackoff(func(b *soltiv1.BackoffStrategy) { b.MaxMs = 10 }), nil},
		{"max below first", withBackoff(func(b *soltiv1.BackoffStrategy) { b.MaxMs = 9 }), []string{"spec.backoff.max_ms must be ≥ first_ms, but 9 < 10"}},
		{"max of 100 years", withBackoff(func(b *soltiv1.BackoffStrategy) { b.MaxMs = MaxMillis }), nil},
		{"first and max above 100 years", withBackoff(func(b *soltiv1.BackoffStrategy) { b.FirstMs, b.MaxMs = MaxMillis+1, MaxMillis+2 }), []string{
			"spec.backoff.first_ms must be ≤ 3153600000000, not 3153600000001",
			"spec.backoff.max_ms must be ≤ 3153600000000, not 3153600000002",
		}},
		{"factor is 1", withBackoff(func(b *soltiv1.BackoffStrategy) { b.Factor = 1 }), nil},
		{"factor below 1", withBackoff(func(b *soltiv1.BackoffStrategy) { b.Factor = 0.5 }), []string{"spec.backoff.factor must be finite and ≥ 1, not 0.5"}},
		{"factor is negative", withBackoff(func(b *soltiv1.BackoffStrategy) { b.Factor = -2 }), []string{"spec.backoff.factor must be finite and ≥ 1, not -2"}},
		{"factor is no number", withBackoff(func(b *soltiv1.BackoffStrategy) { b.Factor = math.NaN() }), []string{"spec.backoff.factor must be finite and ≥ 1, not NaN"}},
		{"factor is infinite", withBackoff(func(b *soltiv1.BackoffStrategy) { b.Factor = math.Inf(1) }), []string{"spec.backoff.factor must be finite and ≥ 1, not +Inf"}},

		{"no mode", with(func(s *soltiv1.CreateSpec) { s.GetKind().GetSubprocess().Mode = nil }), []string{"spec.kind.subprocess: missing subprocess mode, one of command, script"}},
		{
			"variant without content",
			with(func(s *soltiv1.CreateSpec) { s.Kind.Kind = &soltiv1.TaskKind_Subprocess{} }),
			[]string{"spec.kind.subprocess: missing subprocess mode, one of command, script"},
		},
		{"blank command", with(func(s *soltiv1.CreateSpec) { s.GetKind().GetSubprocess().GetCommand().Command = " " }), []string{"spec.kind.subprocess.command.command cannot be empty"}},
		{"NUL in the command", with(func(s *soltiv1.CreateSpec) { s.GetKind().GetSubprocess().GetCommand().Command = "a\x00b" }), []string{"spec.kind.subprocess.command.command must not contain a NUL byte"}},
		{"odd arguments", with(func(s *soltiv1.CreateSpec) {
			s.GetKind().GetSubprocess().GetCommand().Args = []string{"", "a b", "\x00", "é", "\xff"}
		}), []string{
			"spec.kind.subprocess.command.args[2] must not contain a NUL byte",
			"spec.kind.subprocess.command.args[4] is not valid UTF-8",
		}},
		{"NUL in the directory", with(func(s *soltiv1.CreateSpec) { s.GetKind().GetSubprocess().Cwd = new("/a\x00") }), []string{"spec.kind.subprocess.cwd must not contain a NUL byte"}},

		{"bash", scriptSpec(bash(encode("echo hi"))), nil},
		{"empty script", scriptSpec(&soltiv1.ScriptMode{}), []string{
			"spec.kind.subprocess.script: missing script runtime, one of well_known, custom",
			"spec.kind.subprocess.script.body cannot be empty",
		}},
		{"unspecified runtime", scriptSpec(&soltiv1.ScriptMode{Runtime: &soltiv1.ScriptMode_WellKnown{}, Body: encode("x")}), []string{"spec.kind.subprocess.script.well_known: unknown or unspecified script runtime 0, expected one of SCRIPT_RUNTIME_BASH, SCRIPT_RUNTIME_PYTHON, SCRIPT_RUNTIME_NODE"}},
		{"runtime outside the table", scriptSpec(&soltiv1.ScriptMode{Runtime: &soltiv1.ScriptMode_WellKnown{WellKnown: 4}, Body: encode("x")}), []string{"spec.kind.subprocess.script.well_known: unknown or unspecified script runtime 4, expected one of SCRIPT_RUNTIME_BASH, SCRIPT_RUNTIME_PYTHON, SCRIPT_RUNTIME_NODE"}},
		{"body with line breaks", scriptSpec(bash("ZWNo\r\nbyBo\naQ==\n")), nil},
		{"body of line breaks", scriptSpec(bash("\r\n\n")), []string{"spec.kind.subprocess.script.body cannot be empty"}},
		{"body is text", scriptSpec(bash("echo hi")), []string{"spec.kind.subprocess.script.body is invalid base64, which must be standard and padded: illegal base64 data at input byte 4"}},
		{"body without padding", scriptSpec(bash("YQ")), []string{"spec.kind.subprocess.script.body is invalid base64, which must be standard and padded: illegal base64 data at input byte 0"}},
		{"body in the alphabet of URLs", scriptSpec(bash("_-_-")), []string{"spec.kind.subprocess.script.body is invalid base64, which must be standard and padded: illegal base64 data at input byte 0"}},
		{"body with bits to spare", scriptSpec(bash("YR==")), []string{"spec.kind.subprocess.script.body is invalid base64, which must be standard and padded: illegal base64 data at input byte 2"}},
		{"body is not UTF-8", scriptSpec(bash(encode("a\xff"))), []string{"spec.kind.subprocess.script.body is not valid UTF-8 once decoded"}},
		{"longest body", scriptSpec(bash(encode(strings.Repeat("a", 2097152)))), nil},
		{"body a byte too long", scriptSpec(bash(encode(strings.Repeat("a", 2097153)))), []string{"spec.kind.subprocess.script.body is longer than 2097152 bytes decoded"}},
		{"body much too long", scriptSpec(bash(strings.Repeat("!", 3<<20))), []string{"spec.kind.subprocess.script.body is longer than 2097152 bytes decoded"}},
		{"custom runtime", scriptSpec(custom("perl", "-e")), nil},
		{"custom runtime of nothing", scriptSpec(custom("", " ")), []string{
			"spec.kind.subprocess.script.custom.command: custom runtime needs a command",
			"spec.kind.subprocess.script.custom.flag: custom runtime needs a flag",
		}},
		{"custom runtime with NUL", scriptSpec(custom("a\x00", "b\x00")), []string{
			"spec.kind.subprocess.script.custom.command must not contain a NUL byte",
			"spec.kind.subprocess.script.custom.flag must not contain a NUL byte",
		}},
		{"NUL in a script's argument", scriptSpec(&soltiv1.ScriptMode{Runtime: bash("").Runtime, Body: encode("x"), Args: []string{"\x00"}}), []string{"spec.kind.subprocess.script.args[0] must not contain a NUL byte"}},

		{"variables", withEnv(&soltiv1.KeyValue{Key: "A", Value: "x=y"}, &soltiv1.KeyValue{Key: "A"}, &soltiv1.KeyValue{Key: "lower case", Value: "ü"}), nil},
		{"variables broken in every way", withEnv(
			&soltiv1.KeyValue{},
			&soltiv1.KeyValue{Key: "A=B"},
			&soltiv1.KeyValue{Key: "A\x00="},
			&soltiv1.KeyValue{Key: "A\xff"},
			&soltiv1.KeyValue{Key: "A", Value: "\x00"},
			&soltiv1.KeyValue{Key: "A", Value: "\xff"},
			nil,
		), []string{
			"spec.kind.subprocess.env[0].key cannot be empty",
			"spec.kind.subprocess.env[1].key must not contain '='",
			"spec.kind.subprocess.env[2].key must not contain '='",
			"spec.kind.subprocess.env[2].key must not contain a NUL byte",
			"spec.kind.subprocess.env[3].key is not valid UTF-8",
			"spec.kind.subprocess.env[4].value must not contain a NUL byte",
			"spec.kind.subprocess.env[5].value is not valid UTF-8",
			"spec.kind.subprocess.env[6].key cannot be empty",
		}},

		{"wasm", wasmSpec(&soltiv1.WasmTask{Module: "a.wasm"}), nil},
		{"wasm broken in every way", wasmSpec(&soltiv1.WasmTask{
			Module: " ",
			Args:   []string{"\x00"},
			Env:    []*soltiv1.KeyValue{{}},
			Mounts: []*soltiv1.Mount{{Source: "/a", Target: "/b"}, {Source: "\x00"}},
		}), []string{
			"spec.kind.wasm.module: wasm module path is empty",
			"spec.kind.wasm.args[0] must not contain a NUL byte",
			"spec.kind.wasm.env[0].key cannot be empty",
			"spec.kind.wasm.mounts[1].source must not contain a NUL byte",
			"spec.kind.wasm.mounts[1].target cannot be empty",
		}},
		{"container", containerSpec(&soltiv1.ContainerTask{Image: "busybox"}), nil},
		{"container with choices", containerSpec(&soltiv1.ContainerTask{Image: "busybox", Network: new("none"), Pull: new("always")}), nil},
		{"container with other choices", containerSpec(&soltiv1.ContainerTask{Image: "busybox", Network: new("host"), Pull: new("never")}), nil},
		{"container with the defaults spelled out", containerSpec(&soltiv1.ContainerTask{Image: "busybox", Network: new("bridge"), Pull: new("missing")}), nil},
		{"container broken in every way", containerSpec(&soltiv1.ContainerTask{
			Command: []string{"\x00"},
			Args:    []string{"ok", "\x00"},
			Env:     []*soltiv1.KeyValue{{Key: "="}},
			Mounts:  []*soltiv1.Mount{{}},
			Network: new("Host"),
			Pull:    new(""),
		}), []string{
			"spec.kind.container.image: container image is empty",
			"spec.kind.container.command[0] must not contain a NUL byte",
			"spec.kind.container.args[1] must not contain a NUL byte",
			"spec.kind.container.env[0].key must not contain '='",
			"spec.kind.container.mounts[0].source cannot be empty",
			"spec.kind.container.mounts[0].target cannot be empty",
			`spec.kind.container.network must be one of none, bridge, host, not "Host"`,
			`spec.kind.container.pull must be one of missing, always, never, not ""`,
		}},

		{"label", withLabel("example.com/Team_1", "a.B-c_d"), nil},
		{"label of the longest parts", withLabel(strings.Repeat("a", 253)+"/"+strings.Repeat("b", 63), strings.Repeat("c", 63)), nil},
		{"label without value", withLabel("a", ""), nil},
		{"label without key", withLabel("", "x"), []string{`spec.labels[""]: the key cannot be empty`}},
		{"label's name too long", withLabel(strings.Repeat("b", 64), ""), []string{fmt.Sprintf("spec.labels[%q]: the key's name must be 1 to 63 bytes of A-Z, a-z, 0-9, '-', '_' and '.', with an alphanumeric at both ends", strings.Repeat("b", 64))}},
		{"label's value too long", withLabel("a", strings.Repeat("c", 65)), []string{fmt.Sprintf(`spec.labels["a"]: the value must be empty or %s, not %q…`, nameRule, strings.Repeat("c", 64))}},
		{"label's value ends in a dot", withLabel("a", "b."), []string{`spec.labels["a"]: the value must be empty or ` + nameRule + `, not "b."`}},
		{"labels in the order of their keys", with(func(s *soltiv1.CreateSpec) { s.Labels = map[string]string{"c": "/", "a": "/", "b": "/"} }), []string{
			`spec.labels["a"]: the value must be empty or ` + nameRule + `, not "/"`,
			`spec.labels["b"]: the value must be empty or ` + nameRule + `, not "/"`,
			`spec.labels["c"]: the value must be empty or ` + nameRule + `, not "/"`,
		}},

		{"runner selector", with(func(s *soltiv1.CreateSpec) {
			s.RunnerSelector = &soltiv1.RunnerSelector{
				MatchLabels: map[string]string{"runner": "subprocess"},
				MatchExpressions: []*soltiv1.SelectorRequirement{
					{Key: "a", Operator: soltiv1.SelectorOperator_SELECTOR_OPERATOR_IN, Values: []string{"x"}},
					{Key: "b", Operator: soltiv1.SelectorOperator_SELECTOR_OPERATOR_NOT_IN, Values: []string{"x", ""}},
					{Key: "c", Operator: soltiv1.SelectorOperator_SELECTOR_OPERATOR_EXISTS},
					{Key: "d", Operator: soltiv1.SelectorOperator_SELECTOR_OPERATOR_DOES_NOT_EXIST},
				},
			}
		}), nil},
		{"runner selector broken in every way", withSelector(
			&soltiv1.SelectorRequirement{Key: " ", Operator: soltiv1.SelectorOperator_SELECTOR_OPERATOR_IN},
			&soltiv1.SelectorRequirement{Key: "a", Operator: soltiv1.SelectorOperator_SELECTOR_OPERATOR_NOT_IN},
			&soltiv1.SelectorRequirement{Key: "a", Operator: soltiv1.SelectorOperator_SELECTOR_OPERATOR_EXISTS, Values: []string{"x"}},
			&soltiv1.SelectorRequirement{Key: "a", Operator: soltiv1.SelectorOperator_SELECTOR_OPERATOR_DOES_NOT_EXIST, Values: []string{"x"}},
			&soltiv1.SelectorRequirement{Key: "a"},
			&soltiv1.SelectorRequirement{Key: "a\x00", Operator: 5, Values: []string{"x", "\xff"}},
		), []string{
			"spec.runner_selector.match_expressions[0].key cannot be empty",
			"spec.runner_selector.match_expressions[0].values cannot be empty for IN and NOT_IN",
			"spec.runner_selector.match_expressions[1].values cannot be empty for IN and NOT_IN",
			"spec.runner_selector.match_expressions[2].values must be empty for EXISTS and DOES_NOT_EXIST",
			"spec.runner_selector.match_expressions[3].values must be empty for EXISTS and DOES_NOT_EXIST",
			"spec.runner_selector.match_expressions[4].operator is missing",
			"spec.runner_selector.match_expressions[5].key must not contain a NUL byte",
			"spec.runner_selector.match_expressions[5].operator: unknown or unspecified selector operator 5, expected one of SELECTOR_OPERATOR_IN, SELECTOR_OPERATOR_NOT_IN, SELECTOR_OPERATOR_EXISTS, SELECTOR_OPERATOR_DOES_NOT_EXIST",
			"spec.runner_selector.match_expressions[5].values[1] is not valid UTF-8",
		}},
		{"runner labels broken in every way", with(func(s *soltiv1.CreateSpec) {
			s.RunnerSelector = &soltiv1.RunnerSelector{MatchLabels: map[string]string{"": "", "a\x00": "", "b": "\xff"}}
		}), []string{
			"spec.runner_selector.match_labels has a key that cannot be empty",
			"spec.runner_selector.match_labels has a key that must not contain a NUL byte",
			`spec.runner_selector.match_labels["b"] is not valid UTF-8`,
		}},

		{"limits", with(func(s *soltiv1.CreateSpec) {
			s.Limits = &soltiv1.ResourceLimits{MemoryBytes: new(uint64(1)), CpuMillis: new(uint64(1)), Pids: new(uint64(1)), OpenFiles: new(uint64(1))}
		}), nil},
		{"no limits", with(func(s *soltiv1.CreateSpec) { s.Limits = &soltiv1.ResourceLimits{} }), nil},
		{"limits of 0", with(func(s *soltiv1.CreateSpec) {
			s.Limits = &soltiv1.ResourceLimits{MemoryBytes: new(uint64(0)), CpuMillis: new(uint64(0)), Pids: new(uint64(0)), OpenFiles: new(uint64(0))}
		}), []string{
			"spec.limits.memory_bytes must be > 0",
			"spec.limits.cpu_millis must be > 0",
			"spec.limits.pids must be > 0",
			"spec.limits.open_files must be > 0",
		}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			before := proto.CloneOf(tt.spec)
			got := problemsOf(t, Validate(tt.spec))
			if diff := cmp.Diff(got, tt.want); diff != "" {
				t.Errorf("problems (-got +want):\n%s", diff)
			}
			if !proto.Equal(tt.spec, before) {
				t.Error("Validate changed the spec")
			}
			if tt.spec == nil {
				return
			}
			Defaults(tt.spec)
			if (Validate(tt.spec) == nil) != (tt.want == nil) {
				t.Errorf("with its defaults: got %v, want %v", Validate(tt.spec), tt.want)
			}
		})
	}
}

func TestAllProblemsAreJoined(t *testing.T) {
	err := Validate(&soltiv1.CreateSpec{Slot: "a b", TimeoutMs: MaxMillis + 1, Kind: &soltiv1.TaskKind{}})
	want := `spec.slot must consist of A-Z, a-z, 0-9, '.', '_' and '-', not "a b"; ` +
		"spec.kind: missing task kind variant, one of subprocess, wasm, container; " +
		"spec.timeout_ms must be ≤ 3153600000000, not 3153600000001"
	if err == nil || err.Error() != want {
		t.Errorf("got %v, want %s", err, want)
	}
}

func TestAFloodOfProblemsIsCounted(t *testing.T) {
	env := make([]*soltiv1.KeyValue, 1000)
	got := problemsOf(t, Validate(withEnv(env...)))
	if len(got) != maxProblems+1 {
		t.Fatalf("got %d problems, want %d", len(got), maxProblems+1)
	}
	if last := got[maxProblems]; last != "and 900 more problems" {
		t.Errorf("got %q, want the rest counted", last)
	}
}

// Whatever else is wrong with a spec, no value of its environment is told.
func TestNoErrorTellsAValueOfTheEnvironment(t *testing.T) {
	const marker = "hunter2"
	rapid.Check(t, func(t *rapid.T) {
		var env []*soltiv1.KeyValue
		for range rapid.IntRange(1, 5).Draw(t, "variables") {
			env = append(env, &soltiv1.KeyValue{
				Key:    rapid.SampledFrom([]string{"", "A", "A=", "A=" + marker, "\x00"}).Draw(t, "key"),
				Value:  marker + rapid.SampledFrom([]string{"", "\x00", "\xff"}).Draw(t, "tail"),
				Secret: rapid.Bool().Draw(t, "secret"),
			})
		}
		spec := rapid.SampledFrom([]*soltiv1.CreateSpec{
			withEnv(env...),
			wasmSpec(&soltiv1.WasmTask{Env: env}),
			containerSpec(&soltiv1.ContainerTask{Env: env, Pull: new("x")}),
		}).Draw(t, "kind")
		spec.TimeoutMs = 0
		if err := Validate(spec); err == nil || strings.Contains(err.Error(), marker) {
			t.Fatalf("got %v, want an error without the value", err)
		}
	})
}

func TestSlotByItself(t *testing.T) {
	tests := []struct {
		slot string
		want []string
	}{
		{"build", nil},
		{"", []string{"slot cannot be empty"}},
		{"a b", []string{`slot must consist of A-Z, a-z, 0-9, '.', '_' and '-', not "a b"`}},
	}
	for _, tt := range tests {
		if got := problemsOf(t, ValidateSlot(tt.slot)); !slices.Equal(got, tt.want) {
			t.Errorf("%q: got %v, want %v", tt.slot, got, tt.want)
		}
	}
}

func TestIdempotencyKey(t *testing.T) {
	tests := []struct {
		key  string
		want []string
	}{
		{"k", nil},
		{strings.Repeat("k", 255), nil},
		{"", []string{"idempotency_key cannot be empty"}},
		{strings.Repeat("k", 256), []string{"idempotency_key must be at most 255 bytes, not 256"}},
		{"\xff", []string{"idempotency_key is not valid UTF-8"}},
	}
	for _, tt := range tests {
		if got := problemsOf(t, ValidateIdempotencyKey(tt.key)); !slices.Equal(got, tt.want) {
			t.Errorf("%q: got %v, want %v", tt.key, got, tt.want)
		}
	}
}

func TestLabelSyntax(t *testing.T) {
	keys := map[string]bool{
		"a": true, "A": true, "0": true, "a-b_c.d": true, "example.com/a": true, "a/b": true, "1.2/3": true, "a-b.c-d/x": true,
		"": false, "-a": false, "a-": false, "_a": false, "a.": false, "a b": false, "é": false, "a=b": false,
		"/a": false, "a/": false, "a/b/c": false, "Example.com/a": false, "-a/b": false, "a-/b": false, "a..b/c": false, ".a/b": false, "a./b": false, "a_b/c": false,
		strings.Repeat("a", 63): true, strings.Repeat("a", 64): false,
		strings.Repeat("a", 253) + "/a": true, strings.Repeat("a", 254) + "/a": false,
	}
	for key, want := range keys {
		if got := badLabelKey(key); (got == "") != want {
			t.Errorf("key %q: got %q, want it valid: %v", key, got, want)
		}
	}
	values := map[string]bool{
		"": true, "a": true, "A.b-c_d": true, "1": true, strings.Repeat("a", 63): true,
		strings.Repeat("a", 64): false, "-": false, "a-": false, ".a": false, "a/b": false, "a b": false, "ü": false, " ": false,
	}
	for value, want := range values {
		if got := badLabelValue(value); (got == "") != want {
			t.Errorf("value %q: got %q, want it valid: %v", value, got, want)
		}
	}
}
