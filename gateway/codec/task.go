package codec

import (
	"slices"
	"strconv"

	"google.golang.org/protobuf/proto"

	"slotd/messages"
	soltiv1 "slotd/messages/solti/v1"
)

// appendTask writes what [Append] writes for a task, without reflection: reads are the bulk of what a server answers, and
// reflection costs several times the rest of a request. Kinds other than a subprocess go the general way. A test fills
// every field there is and compares both ways, so that a new field cannot be forgotten here.
func appendTask(dst []byte, m *soltiv1.TaskData) []byte { return appendShown(dst, m, asItIs) }

// AppendShown appends what [Append] does of [messages.RedactTask]: the task as it may be shown. It copies nothing: a page
// of tasks is a hundred environments.
func AppendShown(dst []byte, m *soltiv1.TaskData, showValues bool) []byte {
	hide := allValues
	if showValues {
		hide = secretValues
	}
	if m.GetSpec().GetKind().GetSubprocess() == nil {
		return appendShown(dst, messages.RedactTask(m, showValues), asItIs)
	}
	return appendShown(dst, m, hide)
}

// hiding says which values of an environment are replaced.
type hiding uint8

const (
	asItIs hiding = iota
	secretValues
	allValues
)

func appendShown(dst []byte, m *soltiv1.TaskData, hide hiding) []byte {
	o := object{dst: append(dst, '{'), hide: hide}
	if meta := m.GetMetadata(); meta != nil {
		o.open("metadata")
		o.text("id", meta.GetId())
		o.int64("createdAt", meta.GetCreatedAt())
		o.int64("updatedAt", meta.GetUpdatedAt())
		o.uint64("resourceVersion", meta.GetResourceVersion())
		o.close()
	}
	if spec := m.GetSpec(); spec != nil {
		o.open("spec")
		o.spec(spec)
		o.close()
	}
	if status := m.GetStatus(); status != nil {
		o.open("status")
		o.status(status)
		o.close()
	}
	return append(o.dst, '}')
}

// object is a JSON object that is being written. Nested objects use the same one: after close it goes on behind them.
type object struct {
	dst  []byte
	more bool // something stands before the next field
	hide hiding
}

func (o *object) spec(m *soltiv1.CreateSpec) {
	o.text("slot", m.GetSlot())
	if kind := m.GetKind(); kind != nil {
		o.open("kind")
		switch kind := kind.GetKind().(type) {
		case *soltiv1.TaskKind_Subprocess:
			o.open("subprocess")
			o.subprocess(kind.Subprocess)
			o.close()
		case *soltiv1.TaskKind_Wasm:
			o.message("wasm", kind.Wasm)
		case *soltiv1.TaskKind_Container:
			o.message("container", kind.Container)
		}
		o.close()
	}
	o.uint64("timeoutMs", m.GetTimeoutMs())
	o.name("restart", soltiv1.RestartStrategy_name, int32(m.GetRestart()))
	if m.RestartIntervalMs != nil {
		o.uint64("restartIntervalMs", m.GetRestartIntervalMs())
	}
	if backoff := m.GetBackoff(); backoff != nil {
		o.open("backoff")
		o.name("jitter", soltiv1.JitterStrategy_name, int32(backoff.GetJitter()))
		o.uint64("firstMs", backoff.GetFirstMs())
		o.uint64("maxMs", backoff.GetMaxMs())
		o.key("factor")
		o.dst = appendDouble(o.dst, backoff.GetFactor())
		o.close()
	}
	o.name("admission", soltiv1.AdmissionStrategy_name, int32(m.GetAdmission()))
	o.labels(m.GetLabels())
	if m.MaxRetries != nil {
		o.uint32("maxRetries", m.GetMaxRetries())
	}
	if selector := m.GetRunnerSelector(); selector != nil {
		o.message("runnerSelector", selector)
	}
	if m.StopGraceMs != nil {
		o.uint64("stopGraceMs", m.GetStopGraceMs())
	}
	if limits := m.GetLimits(); limits != nil {
		o.message("limits", limits)
	}
}

func (o *object) subprocess(m *soltiv1.SubprocessTask) {
	switch mode := m.GetMode().(type) {
	case *soltiv1.SubprocessTask_Command:
		o.open("command")
		o.text("command", mode.Command.GetCommand())
		o.texts("args", mode.Command.GetArgs())
		o.close()
	case *soltiv1.SubprocessTask_Script:
		o.message("script", mode.Script)
	}
	o.key("env")
	o.dst = append(o.dst, '[')
	for i, variable := range m.GetEnv() {
		if i > 0 {
			o.dst = append(o.dst, ',')
		}
		o.dst, o.more = append(o.dst, '{'), false
		o.text("key", variable.GetKey())
		o.value(variable)
		o.bool("secret", variable.GetSecret())
		o.close()
	}
	o.dst, o.more = append(o.dst, ']'), true
	if m != nil && m.Cwd != nil {
		o.text("cwd", m.GetCwd())
	}
	if m != nil && m.FailOnNonZero != nil {
		o.bool("failOnNonZero", m.GetFailOnNonZero())
	}
}

func (o *object) value(variable *soltiv1.KeyValue) {
	if o.hide == allValues || o.hide == secretValues && variable.GetSecret() {
		o.text("value", messages.Redacted)
		return
	}
	o.text("value", variable.GetValue())
}

func (o *object) status(m *soltiv1.TaskStatusInfo) {
	o.name("phase", soltiv1.TaskStatus_name, int32(m.GetPhase()))
	o.uint32("attempt", m.GetAttempt())
	if m.Error != nil {
		o.text("error", m.GetError())
	}
	if m.ExitCode != nil {
		o.int32("exitCode", m.GetExitCode())
	}
	if m.Reason != nil {
		o.text("reason", m.GetReason())
	}
	if m.NextAttemptAt != nil {
		o.int64("nextAttemptAt", m.GetNextAttemptAt())
	}
	o.bool("terminal", m.GetTerminal())
	if m.Node != nil {
		o.text("node", m.GetNode())
	}
	if m.QueuePosition != nil {
		o.uint32("queuePosition", m.GetQueuePosition())
	}
	if m.Signal != nil {
		o.int32("signal", m.GetSignal())
	}
}

// key writes the name of the next field, which needs no escaping.
func (o *object) key(name string) {
	if o.more {
		o.dst = append(o.dst, ',')
	}
	o.more = true
	o.dst = append(o.dst, '"')
	o.dst = append(o.dst, name...)
	o.dst = append(o.dst, '"', ':')
}

func (o *object) open(name string) {
	o.key(name)
	o.dst, o.more = append(o.dst, '{'), false
}

func (o *object) close() {
	o.dst, o.more = append(o.dst, '}'), true
}

func (o *object) message(name string, m proto.Message) {
	o.key(name)
	o.dst = appendMessage(o.dst, m.ProtoReflect())
}

func (o *object) text(name, value string) {
	o.key(name)
	o.dst = AppendString(o.dst, value)
}

func (o *object) texts(name string, values []string) {
	o.key(name)
	o.dst = append(o.dst, '[')
	for i, value := range values {
		if i > 0 {
			o.dst = append(o.dst, ',')
		}
		o.dst = AppendString(o.dst, value)
	}
	o.dst = append(o.dst, ']')
}

func (o *object) labels(labels map[string]string) {
	o.open("labels")
	if len(labels) > 0 {
		keys := make([]string, 0, len(labels))
		for key := range labels {
			keys = append(keys, key)
		}
		slices.Sort(keys)
		for i, key := range keys {
			if i > 0 {
				o.dst = append(o.dst, ',')
			}
			o.dst = append(AppendString(o.dst, key), ':')
			o.dst = AppendString(o.dst, labels[key])
		}
	}
	o.close()
}

func (o *object) name(field string, names map[int32]string, value int32) {
	if name, ok := names[value]; ok {
		o.text(field, name)
		return
	}
	o.int32(field, value)
}

func (o *object) bool(name string, value bool) {
	o.key(name)
	o.dst = strconv.AppendBool(o.dst, value)
}

func (o *object) int32(name string, value int32) {
	o.key(name)
	o.dst = strconv.AppendInt(o.dst, int64(value), 10)
}

func (o *object) uint32(name string, value uint32) {
	o.key(name)
	o.dst = strconv.AppendUint(o.dst, uint64(value), 10)
}

func (o *object) int64(name string, value int64) {
	o.key(name)
	o.dst = append(strconv.AppendInt(append(o.dst, '"'), value, 10), '"')
}

func (o *object) uint64(name string, value uint64) {
	o.key(name)
	o.dst = append(strconv.AppendUint(append(o.dst, '"'), value, 10), '"')
}
