package catalog

import (
	"context"
	"fmt"

	"slotd/messages"
	slotdv1 "slotd/messages/slotd/v1"
	soltiv1 "slotd/messages/solti/v1"
)

// Runs returns a task's kept runs, oldest first. An unknown id is a *messages.RejectionError, TaskNotFound; any other
// error is the store's.
func (c *Catalog) Runs(ctx context.Context, id string) ([]*soltiv1.TaskRunInfo, error) {
	if _, _, ok := c.SlotOf(id); !ok {
		return nil, &messages.RejectionError{Rejection: messages.TaskNotFound(id)}
	}
	recs, err := c.runs(ctx, id)
	if err != nil {
		return nil, fmt.Errorf("read the runs of %s: %w", id, err)
	}
	runs := make([]*soltiv1.TaskRunInfo, len(recs))
	for i, rec := range recs {
		runs[i] = runOf(rec)
	}
	return runs, nil
}

func runOf(rec *slotdv1.RunRecord) *soltiv1.TaskRunInfo {
	run := &soltiv1.TaskRunInfo{
		Attempt:   rec.GetAttempt(),
		Status:    rec.GetStatus(),
		StartedAt: rec.GetStartedAt(),
		Error:     rec.Error,
		ExitCode:  rec.ExitCode,
		Signal:    rec.Signal,
	}
	if rec.FinishedAt != 0 {
		run.FinishedAt = &rec.FinishedAt
	}
	if rec.Reason != "" {
		run.Reason = &rec.Reason
	}
	if rec.Node != "" {
		run.Node = &rec.Node
	}
	return run
}
