package main

import (
	"errors"
	"fmt"
	"strings"
	"syscall"
	"testing"

	"google.golang.org/protobuf/proto"

	"slotd/gateway/client"
	"slotd/messages"
	soltiv1 "slotd/messages/solti/v1"
)

func TestExitCodeOfAnError(t *testing.T) {
	label := func(l string) error { return fmt.Errorf("wrapped: %w", &client.Error{Label: l}) }
	for _, tc := range []struct {
		name string
		err  error
		want int
	}{
		{"none", nil, 0},
		{"plain", errors.New("x"), 1},
		{"usage", usagef("x"), 2},
		{"invalid spec", &messages.InvalidError{}, 2},
		{"invalid request", label(messages.LabelInvalidRequest), 2},
		{"payload too large", label(messages.LabelPayloadTooLarge), 2},
		{"unknown task", label(messages.LabelTaskNotFound), 3},
		{"unknown route", label(messages.LabelNotFound), 1},
		{"slot busy", label(messages.LabelSlotBusy), 4},
		{"queue full", label(messages.LabelQueueFull), 4},
		{"too many tasks", label(messages.LabelTooManyTasks), 4},
		{"no runner", label(messages.LabelNoRunner), 4},
		{"unenforceable", label(messages.LabelUnenforceable), 4},
		{"key reused", label(messages.LabelIdempotencyKeyReused), 4},
		{"wait timed out", &codeError{code: exitWaitTimeout}, 5},
		{"unauthenticated", label(messages.LabelUnauthenticated), 6},
		{"permission denied", label(messages.LabelPermissionDenied), 6},
		{"no server", fmt.Errorf("wrapped: %w", &client.UnreachableError{Err: errors.New("x")}), 7},
		{"unavailable", label(messages.LabelUnavailable), 1},
		{"internal", label(messages.LabelInternal), 1},
		{"not slotd", label(""), 1},
		{"ambiguous", &client.AmbiguousError{}, 1},
		{"interrupt", signaled(syscall.SIGINT), 130},
		{"terminate", signaled(syscall.SIGTERM), 143},
	} {
		if got := exitOf(tc.err); got != tc.want {
			t.Errorf("%s: got %d, want %d", tc.name, got, tc.want)
		}
	}
}

func TestExitCodeOfATask(t *testing.T) {
	const (
		succeeded = soltiv1.TaskStatus_TASK_STATUS_SUCCEEDED
		failed    = soltiv1.TaskStatus_TASK_STATUS_FAILED
		timeout   = soltiv1.TaskStatus_TASK_STATUS_TIMEOUT
		canceled  = soltiv1.TaskStatus_TASK_STATUS_CANCELED
		exhausted = soltiv1.TaskStatus_TASK_STATUS_EXHAUSTED
	)
	last := func(status soltiv1.TaskStatus) *soltiv1.TaskRunInfo { return &soltiv1.TaskRunInfo{Status: status} }
	for _, tc := range []struct {
		name   string
		status *soltiv1.TaskStatusInfo
		last   *soltiv1.TaskRunInfo
		want   int
	}{
		{"success", &soltiv1.TaskStatusInfo{Phase: succeeded, ExitCode: proto.Int32(0)}, nil, 0},
		{"success without a code", &soltiv1.TaskStatusInfo{Phase: succeeded}, nil, 0},
		{"success with a code that is allowed", &soltiv1.TaskStatusInfo{Phase: succeeded, ExitCode: proto.Int32(3)}, nil, 3},
		{"failure", &soltiv1.TaskStatusInfo{Phase: failed, ExitCode: proto.Int32(255)}, nil, 255},
		{"not found", &soltiv1.TaskStatusInfo{Phase: failed, ExitCode: proto.Int32(127)}, nil, 127},
		{"not executable", &soltiv1.TaskStatusInfo{Phase: failed, ExitCode: proto.Int32(126)}, nil, 126},
		{"signal", &soltiv1.TaskStatusInfo{Phase: failed, Signal: proto.Int32(9)}, nil, 137},
		{"signal and code", &soltiv1.TaskStatusInfo{Phase: failed, Signal: proto.Int32(15), ExitCode: proto.Int32(1)}, nil, 143},
		{"code beyond a byte", &soltiv1.TaskStatusInfo{Phase: failed, ExitCode: proto.Int32(256)}, nil, 255},
		{"negative code", &soltiv1.TaskStatusInfo{Phase: failed, ExitCode: proto.Int32(-1)}, nil, 255},
		{"signal beyond a byte", &soltiv1.TaskStatusInfo{Phase: failed, Signal: proto.Int32(200)}, nil, 255},
		{"node lost", &soltiv1.TaskStatusInfo{Phase: failed, Reason: new("NodeLost")}, nil, 125},
		{"runner unavailable", &soltiv1.TaskStatusInfo{Phase: failed, Reason: new("RunnerUnavailable")}, nil, 125},
		{"timeout", &soltiv1.TaskStatusInfo{Phase: timeout}, nil, 124},
		{"canceled", &soltiv1.TaskStatusInfo{Phase: canceled}, nil, 143},
		{"canceled after an attempt with a code", &soltiv1.TaskStatusInfo{Phase: canceled, ExitCode: proto.Int32(1)}, nil, 143},
		{"exhausted", &soltiv1.TaskStatusInfo{Phase: exhausted, ExitCode: proto.Int32(4)}, nil, 4},
		{"exhausted by a signal", &soltiv1.TaskStatusInfo{Phase: exhausted, Signal: proto.Int32(11)}, nil, 139},
		{"exhausted by a timeout", &soltiv1.TaskStatusInfo{Phase: exhausted}, last(timeout), 124},
		{"exhausted otherwise", &soltiv1.TaskStatusInfo{Phase: exhausted}, last(failed), 125},
	} {
		if got := exitOfTask(tc.status, tc.last); got != tc.want {
			t.Errorf("%s: got %d, want %d", tc.name, got, tc.want)
		}
	}
}

func TestMistakesOfUsage(t *testing.T) {
	for _, tc := range []struct {
		args []string
		code int
		says string
	}{
		{[]string{"sumbit"}, 2, `unknown command "sumbit" for "slotd"; did you mean submit?`},
		{[]string{"rnu", "--slot", "x", "--", "true"}, 2, `unknown command "rnu" for "slotd"; did you mean rm or run or runs?`},
		{[]string{"zzzzzz"}, 2, "unknown command \"zzzzzz\" for \"slotd\"\n"},
		{[]string{"config", "contxets"}, 2, "did you mean contexts?"},
		{[]string{"help", "sumbit"}, 2, "did you mean submit?"},
		{[]string{"--nope"}, 2, "unknown flag: --nope\n"},
		{[]string{"ls", "--limt", "3"}, 2, "unknown flag: --limt; did you mean --limit?"},
		{[]string{"submit", "--slto", "x", "--", "true"}, 2, "unknown flag: --slto; did you mean --slot?"},
		{[]string{"ls", "--status", "runnning"}, 2, "; did you mean running?"},
		{[]string{"submit", "--admission", "qeue", "--", "true"}, 2, "must be one of drop, replace, queue; did you mean queue?"},
		{[]string{"submit", "--restart", "on-falure", "--", "true"}, 2, "always:INTERVAL; did you mean on-failure?"},
		{[]string{"submit", "--backoff", "jitter=eqaul", "--", "true"}, 2, "jitter must be one of none, full, equal, decorrelated; did you mean equal?"},
		{[]string{"wait", "x", "--for", "runnning"}, 2, "must be running or terminal; did you mean running?"},
		{[]string{"ls", "-o", "jsno"}, 2, "; did you mean json or jsonl?"},
		{[]string{"ls", "--limit", "0"}, 2, `invalid argument "0" for "--limit" flag: must be a whole number from 1 to 1000`},
		{[]string{"ls", "--status", "done"}, 2, "invalid status"},
		{[]string{"ls", "-o", "xml"}, 2, "must be one of table, wide, json, jsonl, yaml, name"},
		{[]string{"ls", "--addr", "https://h:1", "--ca", "/does/not/exist"}, 2, "slotd: CA file: open /does/not/exist"},
		{[]string{"ls", "--addr", "https://h:1", "--client-cert", "/does/not/exist"}, 2, "slotd: client certificate: "},
		{[]string{"ls", "--limit", "3", "-a"}, 2, "[all limit]"},
		{[]string{"get"}, 2, "`slotd get` takes the id of one task, not 0 arguments"},
		{[]string{"cancel"}, 2, "`slotd cancel` takes the ids of one or more tasks"},
		{[]string{"logs", "x", "-n", "-3"}, 2, "must be a number of lines, or all"},
		{[]string{"logs", "x", "-o", "yaml"}, 2, "--output"},
		{[]string{"wait", "x", "--timeout", "0s"}, 2, "must be more than zero"},
		{[]string{"wait", "x", "--for", "ever"}, 2, "must be running or terminal"},
		{[]string{"--addr", "ftp://x", "ls"}, 2, "--addr: address \"ftp://x\": must be http://host:port"},
		{[]string{"submit"}, 2, "nothing to run"},
		{[]string{"submit", "--timeout", "soon", "--", "true"}, 2, `invalid argument "soon" for "--timeout" flag: must be a duration`},
		{[]string{"run"}, 125, "nothing to run"},
		{[]string{"run", "--nope"}, 125, "unknown flag: --nope"},
		{[]string{"run", "-d", "--local", "--", "true"}, 125, "[detach local]"},
		{[]string{"run", "--slot", "a/b", "--", "true"}, 125, "spec.slot"},
		{[]string{"serve", "extra"}, 2, "unknown command \"extra\" for \"slotd serve\""},
		{[]string{"completion", "tcsh"}, 2, "invalid argument \"tcsh\""},
	} {
		w := newWorld(t)
		code := w.run(t, tc.args...)
		if got := w.talk.String(); code != tc.code || !strings.Contains(got, tc.says) {
			t.Errorf("%v: got exit %d, want %d, and %q in:\n%s", tc.args, code, tc.code, tc.says, got)
		}
		if got := w.out.String(); got != "" {
			t.Errorf("%v: stdout is data, got %q", tc.args, got)
		}
	}
}
