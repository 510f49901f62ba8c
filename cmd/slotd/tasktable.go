package main

import (
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
	"google.golang.org/protobuf/proto"

	"slotd/messages"
	slotdv1 "slotd/messages/slotd/v1"
	soltiv1 "slotd/messages/solti/v1"
)

// taskListing shows tasks; object is what json and yaml show.
func (a *app) taskListing(tasks []*soltiv1.TaskData, object proto.Message) listing {
	now := a.now()
	return listing{
		object:  object,
		items:   asMessages(tasks),
		name:    func(i int) string { return tasks[i].GetMetadata().GetId() },
		header:  []string{"ID", "SLOT", "PHASE", "REASON", "ATTEMPT", "EXIT", "NEXT", "AGE", "KIND", "COMMAND", "NODE", "LABELS", "ERROR"},
		narrow:  8,
		row:     func(i int) []cell { return taskRow(tasks[i], now) },
		nothing: "no tasks",
	}
}

func asMessages[T proto.Message](list []T) []proto.Message {
	out := make([]proto.Message, len(list))
	for i, m := range list {
		out[i] = m
	}
	return out
}

func taskRow(task *soltiv1.TaskData, now time.Time) []cell {
	meta, spec, status := task.GetMetadata(), task.GetSpec(), task.GetStatus()
	row := plain(
		meta.GetId(),
		spec.GetSlot(),
		phaseName(status.GetPhase()),
		status.GetReason(),
		strconv.FormatUint(uint64(status.GetAttempt()), 10),
		exitText(status.ExitCode, status.Signal),
		nextText(status, now),
		age(now.Sub(time.UnixMilli(meta.GetCreatedAt()))),
		messages.KindName(spec),
		cut(commandText(spec), 60),
		status.GetNode(),
		labelText(spec.GetLabels()),
		status.GetError(),
	)
	row[2].tint = phaseTint(status.GetPhase())
	return row
}

// phaseName is a phase as people read it: Running, Succeeded, …
func phaseName(phase soltiv1.TaskStatus) string {
	name := strings.TrimPrefix(phase.String(), "TASK_STATUS_")
	return name[:1] + strings.ToLower(name[1:])
}

func phaseTint(phase soltiv1.TaskStatus) tint {
	switch phase {
	case soltiv1.TaskStatus_TASK_STATUS_RUNNING:
		return cyan
	case soltiv1.TaskStatus_TASK_STATUS_SUCCEEDED:
		return green
	case soltiv1.TaskStatus_TASK_STATUS_FAILED, soltiv1.TaskStatus_TASK_STATUS_TIMEOUT, soltiv1.TaskStatus_TASK_STATUS_EXHAUSTED:
		return red
	case soltiv1.TaskStatus_TASK_STATUS_CANCELED:
		return yellow
	default:
		return ""
	}
}

// exitText is an exit code, or the name of the signal that killed it.
func exitText(code, signal *int32) string {
	switch {
	case signal != nil:
		return signalText(*signal)
	case code != nil:
		return strconv.FormatInt(int64(*code), 10)
	default:
		return ""
	}
}

// signalText is a signal's short name, SIGKILL, or its number when it has none.
func signalText(number int32) string {
	if name := unix.SignalName(syscall.Signal(number)); name != "" {
		return name
	}
	return fmt.Sprintf("signal %d", number)
}

// nextText says what a task waits for.
func nextText(status *soltiv1.TaskStatusInfo, now time.Time) string {
	switch {
	case status.GetTerminal():
		return ""
	case status.NextAttemptAt != nil:
		return "attempt in " + age(time.UnixMilli(status.GetNextAttemptAt()).Sub(now))
	case status.QueuePosition != nil:
		return fmt.Sprintf("queue #%d", status.GetQueuePosition())
	default:
		return ""
	}
}

// commandText is what a task runs, for a person to recognize it.
func commandText(spec *soltiv1.CreateSpec) string {
	switch kind := spec.GetKind().GetKind().(type) {
	case *soltiv1.TaskKind_Subprocess:
		if script := kind.Subprocess.GetScript(); script != nil {
			return strings.Join(append([]string{scriptText(script)}, script.GetArgs()...), " ")
		}
		command := kind.Subprocess.GetCommand()
		return strings.Join(append([]string{command.GetCommand()}, command.GetArgs()...), " ")
	case *soltiv1.TaskKind_Wasm:
		return strings.Join(append([]string{kind.Wasm.GetModule()}, kind.Wasm.GetArgs()...), " ")
	case *soltiv1.TaskKind_Container:
		words := append([]string{kind.Container.GetImage()}, kind.Container.GetCommand()...)
		return strings.Join(append(words, kind.Container.GetArgs()...), " ")
	default:
		return ""
	}
}

func scriptText(script *soltiv1.ScriptMode) string {
	if custom := script.GetCustom(); custom != nil {
		return custom.GetCommand() + " script"
	}
	return strings.ToLower(strings.TrimPrefix(script.GetWellKnown().String(), "SCRIPT_RUNTIME_")) + " script"
}

func labelText(labels map[string]string) string {
	pairs := make([]string, 0, len(labels))
	for _, key := range slices.Sorted(maps.Keys(labels)) {
		pairs = append(pairs, key+"="+labels[key])
	}
	return strings.Join(pairs, ",")
}

// runListing shows the attempts of a task.
func (a *app) runListing(runs []*soltiv1.TaskRunInfo) listing {
	now := a.now()
	return listing{
		object:  &soltiv1.ListTaskRunsResponse{Runs: runs},
		items:   asMessages(runs),
		name:    func(i int) string { return strconv.FormatUint(uint64(runs[i].GetAttempt()), 10) },
		header:  []string{"ATTEMPT", "PHASE", "REASON", "EXIT", "AGE", "DURATION", "NODE", "ERROR"},
		narrow:  6,
		row:     func(i int) []cell { return runRow(runs[i], now) },
		nothing: "no attempt has begun",
	}
}

func runRow(run *soltiv1.TaskRunInfo, now time.Time) []cell {
	started, ended := time.UnixMilli(run.GetStartedAt()), now
	if run.FinishedAt != nil {
		ended = time.UnixMilli(run.GetFinishedAt())
	}
	row := plain(
		strconv.FormatUint(uint64(run.GetAttempt()), 10),
		phaseName(run.GetStatus()),
		run.GetReason(),
		exitText(run.ExitCode, run.Signal),
		age(now.Sub(started)),
		durationText(ended.Sub(started)),
		run.GetNode(),
		run.GetError(),
	)
	row[1].tint = phaseTint(run.GetStatus())
	return row
}

// durationText is how long an attempt took, with milliseconds while they matter.
func durationText(d time.Duration) string {
	if d < 10*time.Second {
		return max(0, d).Round(time.Millisecond).String()
	}
	return age(d)
}

// slotListing shows slots; object is what json and yaml show.
func (a *app) slotListing(slots []*slotdv1.SlotView, object proto.Message) listing {
	return listing{
		object: object,
		items:  asMessages(slots),
		name:   func(i int) string { return slots[i].GetSlot() },
		header: []string{
			"SLOT", "PHASE", "HOLDER", "REPLACEMENT", "WAITING",
			"KIND", "ADMITTED", "QUEUED", "REPLACED", "SUPERSEDED", "DROPPED", "FULL", "REPEATED",
		},
		narrow:  5,
		row:     func(i int) []cell { return slotRow(slots[i]) },
		nothing: "no slot is in use",
	}
}

func slotRow(slot *slotdv1.SlotView) []cell {
	n := slot.GetCounters()
	row := plain(slot.GetSlot(), slot.GetPhase(), slot.GetHolder(), slot.GetReplacement(), strconv.Itoa(len(slot.GetQueue())), slot.GetHolderKind())
	for _, count := range []uint64{
		n.GetAdmitted(), n.GetQueued(), n.GetReplaced(), n.GetSuperseded(), n.GetDropped(), n.GetQueueFull(), n.GetRepeated(),
	} {
		row = append(row, cell{text: strconv.FormatUint(count, 10)})
	}
	if slot.GetPhase() == "occupied" {
		row[1].tint = cyan
	}
	return row
}
