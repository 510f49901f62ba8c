package messages

import (
	"slices"

	soltiv1 "slotd/messages/solti/v1"
)

// Redacted is shown in place of a value that must not be seen.
const Redacted = "***"

// Redact returns the spec as it may be shown: secret values of the environment always read [Redacted], the others
// unless showValues is set. The spec itself is returned when nothing in it needs hiding, else one that shares everything
// with it but the environment. Neither may be changed.
func Redact(spec *soltiv1.CreateSpec, showValues bool) *soltiv1.CreateSpec {
	env := EnvOf(spec)
	first := slices.IndexFunc(env, func(kv *soltiv1.KeyValue) bool { return kv.GetSecret() || !showValues })
	if first < 0 {
		return spec
	}
	shown := slices.Clone(env)
	for i, kv := range env[first:] {
		if kv.GetSecret() || !showValues {
			shown[first+i] = &soltiv1.KeyValue{Key: kv.GetKey(), Value: Redacted, Secret: kv.GetSecret()}
		}
	}
	return withKind(spec, kindWithEnv(spec.GetKind(), shown))
}

// RedactTask returns the task as it may be shown; see [Redact].
func RedactTask(task *soltiv1.TaskData, showValues bool) *soltiv1.TaskData {
	spec := Redact(task.GetSpec(), showValues)
	if spec == task.GetSpec() {
		return task
	}
	return &soltiv1.TaskData{Metadata: task.GetMetadata(), Spec: spec, Status: task.GetStatus()}
}

func withKind(s *soltiv1.CreateSpec, kind *soltiv1.TaskKind) *soltiv1.CreateSpec {
	return &soltiv1.CreateSpec{
		Slot:              s.GetSlot(),
		Kind:              kind,
		TimeoutMs:         s.GetTimeoutMs(),
		Restart:           s.GetRestart(),
		RestartIntervalMs: s.RestartIntervalMs,
		Backoff:           s.GetBackoff(),
		Admission:         s.GetAdmission(),
		Labels:            s.GetLabels(),
		MaxRetries:        s.MaxRetries,
		RunnerSelector:    s.GetRunnerSelector(),
		StopGraceMs:       s.StopGraceMs,
		Limits:            s.GetLimits(),
	}
}

func kindWithEnv(kind *soltiv1.TaskKind, env []*soltiv1.KeyValue) *soltiv1.TaskKind {
	switch kind := kind.GetKind().(type) {
	case *soltiv1.TaskKind_Subprocess:
		k := kind.Subprocess
		return &soltiv1.TaskKind{Kind: &soltiv1.TaskKind_Subprocess{Subprocess: &soltiv1.SubprocessTask{
			Mode: k.GetMode(), Env: env, Cwd: k.Cwd, FailOnNonZero: k.FailOnNonZero,
		}}}
	case *soltiv1.TaskKind_Wasm:
		k := kind.Wasm
		return &soltiv1.TaskKind{Kind: &soltiv1.TaskKind_Wasm{Wasm: &soltiv1.WasmTask{
			Module: k.GetModule(), Args: k.GetArgs(), Env: env, Mounts: k.GetMounts(),
		}}}
	case *soltiv1.TaskKind_Container:
		k := kind.Container
		return &soltiv1.TaskKind{Kind: &soltiv1.TaskKind_Container{Container: &soltiv1.ContainerTask{
			Image: k.GetImage(), Command: k.GetCommand(), Args: k.GetArgs(), Env: env, Mounts: k.GetMounts(), Network: k.Network, Pull: k.Pull,
		}}}
	}
	return nil // no kind has no environment
}
