package main

import (
	"context"
	"fmt"

	"slotd/gateway/client"
	"slotd/messages"
	soltiv1 "slotd/messages/solti/v1"
)

// outcome is a terminal task as an exit code. It asks for the runs only when the task alone does not tell.
func outcome(ctx context.Context, c *client.Client, task *soltiv1.TaskData) (int, error) {
	status := task.GetStatus()
	var last *soltiv1.TaskRunInfo
	if status.GetPhase() == soltiv1.TaskStatus_TASK_STATUS_EXHAUSTED && status.ExitCode == nil && status.Signal == nil {
		runs, err := c.Runs(ctx, task.GetMetadata().GetId())
		if err != nil {
			return 0, err
		}
		if len(runs) > 0 {
			last = runs[len(runs)-1]
		}
	}
	return exitOfTask(status, last), nil
}

// ending says in words how a task ended, for what an exit code leaves open; empty when the code says it all.
func ending(task *soltiv1.TaskData) string {
	id, status := task.GetMetadata().GetId(), task.GetStatus()
	switch messages.Reason(status.GetReason()) {
	case messages.ReasonCompleted, messages.ReasonNonZeroExit:
		return ""
	case messages.ReasonRetriesExhausted:
		return fmt.Sprintf("%s: gave up after attempt %d: %s", id, status.GetAttempt(), status.GetError())
	case messages.ReasonCanceled:
		return id + ": was canceled"
	case messages.ReasonReplaced:
		return id + ": was replaced by a newer task in its slot"
	case messages.ReasonSuperseded:
		return id + ": gave way to a newer task before it started"
	case messages.ReasonShutdown:
		return id + ": was stopped because the daemon stopped"
	default:
		if status.Error != nil {
			return id + ": " + status.GetError()
		}
		return id + ": " + phaseName(status.GetPhase())
	}
}
