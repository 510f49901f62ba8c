package messages

import (
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"fmt"
	"strings"
	"time"
	"unicode/utf8"

	"google.golang.org/protobuf/proto"

	soltiv1 "slotd/messages/solti/v1"
)

// The bounds of a spec.
const (
	MaxSlotBytes           = 64                // of a slot's name
	MaxScriptBytes         = 2097152           // of a script, decoded
	MaxLineBytes           = 65536             // of one line of output; the rest of a longer line is skipped
	MaxMillis              = 3_153_600_000_000 // of any duration, milliseconds: 100 years
	MaxStopGraceMs         = 3_600_000         // milliseconds: 1 hour
	MaxIdempotencyKeyBytes = 255
)

// What stands for a field that is left out. Timeout is the command line's default; in a spec it is required.
const (
	DefaultTimeoutMs      = 3_600_000
	DefaultStopGraceMs    = 5_000
	DefaultBackoffFirstMs = 1_000
	DefaultBackoffMaxMs   = 30_000
	DefaultBackoffFactor  = 2.0
	DefaultNetwork        = "bridge"
	DefaultPull           = "missing"
)

// Defaults fills in what the spec leaves out, in place. It changes nothing that was given, valid or not, and does
// nothing the second time. Max retries and the restart interval stay absent: absent means unlimited and at once.
func Defaults(spec *soltiv1.CreateSpec) {
	if spec == nil {
		return
	}
	if spec.GetRestart() == soltiv1.RestartStrategy_RESTART_STRATEGY_UNSPECIFIED {
		spec.Restart = soltiv1.RestartStrategy_RESTART_STRATEGY_NEVER
	}
	if spec.GetAdmission() == soltiv1.AdmissionStrategy_ADMISSION_STRATEGY_UNSPECIFIED {
		spec.Admission = soltiv1.AdmissionStrategy_ADMISSION_STRATEGY_DROP_IF_RUNNING
	}
	if spec.StopGraceMs == nil {
		spec.StopGraceMs = new(uint64(DefaultStopGraceMs))
	}
	if spec.GetBackoff() == nil {
		spec.Backoff = &soltiv1.BackoffStrategy{
			FirstMs: DefaultBackoffFirstMs,
			MaxMs:   DefaultBackoffMaxMs,
			Factor:  DefaultBackoffFactor,
		}
	}
	if spec.GetBackoff().GetJitter() == soltiv1.JitterStrategy_JITTER_STRATEGY_UNSPECIFIED {
		spec.Backoff.Jitter = soltiv1.JitterStrategy_JITTER_STRATEGY_FULL
	}
	if sub := spec.GetKind().GetSubprocess(); sub != nil && sub.FailOnNonZero == nil {
		sub.FailOnNonZero = new(true)
	}
	if container := spec.GetKind().GetContainer(); container != nil {
		if container.Network == nil {
			container.Network = new(DefaultNetwork)
		}
		if container.Pull == nil {
			container.Pull = new(DefaultPull)
		}
	}
}

// KindName names what a spec runs: subprocess, wasm or container; empty when it says none.
func KindName(spec *soltiv1.CreateSpec) string {
	switch spec.GetKind().GetKind().(type) {
	case *soltiv1.TaskKind_Subprocess:
		return "subprocess"
	case *soltiv1.TaskKind_Wasm:
		return "wasm"
	case *soltiv1.TaskKind_Container:
		return "container"
	default:
		return ""
	}
}

// EnvOf is the environment a spec lists, as it was given, whatever its kind.
func EnvOf(spec *soltiv1.CreateSpec) []*soltiv1.KeyValue {
	switch kind := spec.GetKind().GetKind().(type) {
	case *soltiv1.TaskKind_Subprocess:
		return kind.Subprocess.GetEnv()
	case *soltiv1.TaskKind_Wasm:
		return kind.Wasm.GetEnv()
	case *soltiv1.TaskKind_Container:
		return kind.Container.GetEnv()
	default:
		return nil
	}
}

// Environ resolves a list of variables to "KEY=value" strings with unique keys, in the order in which the keys first
// appear. The last value of a key wins.
func Environ(env []*soltiv1.KeyValue) []string {
	resolved := make([]string, 0, len(env))
	at := make(map[string]int, len(env))
	for _, kv := range env {
		pair := kv.GetKey() + "=" + kv.GetValue()
		if i, seen := at[kv.GetKey()]; seen {
			resolved[i] = pair
			continue
		}
		at[kv.GetKey()] = len(resolved)
		resolved = append(resolved, pair)
	}
	return resolved
}

// SpecHash is the SHA-256 of the spec's deterministic encoding: equal specs have equal hashes. Call [Defaults] first
// if a default that was left out shall equal one that was spelled out. It panics on text that is not UTF-8, which no
// spec contains that passed [Validate].
func SpecHash(spec *soltiv1.CreateSpec) []byte {
	encoded, err := proto.MarshalOptions{Deterministic: true}.Marshal(spec)
	if err != nil {
		panic(fmt.Sprintf("hash of a spec that was not validated: %v", err))
	}
	sum := sha256.Sum256(encoded)
	return sum[:]
}

// DecodeScript returns the text of a script: standard base64 with padding (line breaks are ignored, base64(1) writes
// them), UTF-8, 1 to [MaxScriptBytes] bytes. The error starts with the word body and never quotes the text.
func DecodeScript(s *soltiv1.ScriptMode) ([]byte, error) {
	body := s.GetBody()
	size := len(body) - strings.Count(body, "\n") - strings.Count(body, "\r")
	if size == 0 {
		return nil, errors.New("body cannot be empty")
	}
	if size > base64.StdEncoding.EncodedLen(MaxScriptBytes) {
		return nil, fmt.Errorf("body is longer than %d bytes decoded", MaxScriptBytes)
	}
	text, err := base64.StdEncoding.Strict().DecodeString(body)
	switch {
	case err != nil:
		return nil, fmt.Errorf("body is invalid base64, which must be standard and padded: %w", err)
	case len(text) > MaxScriptBytes:
		return nil, fmt.Errorf("body is longer than %d bytes decoded", MaxScriptBytes)
	case !utf8.Valid(text):
		return nil, errors.New("body is not valid UTF-8 once decoded")
	}
	return text, nil
}

// millis turns validated milliseconds into a duration; more than [MaxMillis] is cut to it.
func millis(ms uint64) time.Duration {
	return time.Duration(min(ms, MaxMillis)) * time.Millisecond
}
