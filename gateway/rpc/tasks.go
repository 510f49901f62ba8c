package rpc

import (
	"context"

	"slotd/gateway/ask"
	"slotd/gateway/auth"
	"slotd/messages"
	soltiv1 "slotd/messages/solti/v1"
)

// taskService is solti.v1.SoltiApi.
type taskService struct {
	soltiv1.UnsafeSoltiApiServer // a method that is missing does not compile

	*Server
}

func (s taskService) SubmitTask(ctx context.Context, r *soltiv1.SubmitTaskRequest) (*soltiv1.SubmitTaskResponse, error) {
	if s.draining.Load() {
		return nil, ask.ErrDraining
	}
	id, err := s.deps.Registry.Submit(ctx, r.GetSpec(), r.IdempotencyKey)
	if err != nil {
		return nil, err
	}
	return &soltiv1.SubmitTaskResponse{TaskId: id}, nil
}

func (s taskService) GetTaskStatus(ctx context.Context, r *soltiv1.GetTaskStatusRequest) (*soltiv1.GetTaskStatusResponse, error) {
	if err := ask.TaskID(r.GetTaskId()); err != nil {
		return nil, err
	}
	wait, err := messages.WaitOf(r)
	if err != nil {
		return nil, err
	}
	waiting, cancel := s.untilEnding(ctx)
	defer cancel()
	task, err := ask.Task(waiting, s.deps.Reader, r.GetTaskId(), wait)
	switch {
	case ctx.Err() != nil:
		return nil, ctx.Err()
	case err != nil:
		return nil, err
	}
	return &soltiv1.GetTaskStatusResponse{Task: messages.RedactTask(task, showValues(ctx))}, nil
}

// showValues decides whether who calls may see environment values that are not secret.
func showValues(ctx context.Context) bool { return auth.From(ctx).Role.May(auth.Submit) }

func (s taskService) ListTasks(_ context.Context, r *soltiv1.ListTasksRequest) (*soltiv1.ListTasksResponse, error) {
	q, err := messages.QueryOf(r)
	if err != nil {
		return nil, err
	}
	tasks, total := s.deps.Reader.Tasks(q)
	return page(tasks, total, q.Newest)
}

func (s taskService) ListTaskRuns(ctx context.Context, r *soltiv1.ListTaskRunsRequest) (*soltiv1.ListTaskRunsResponse, error) {
	if err := ask.TaskID(r.GetTaskId()); err != nil {
		return nil, err
	}
	runs, err := s.deps.Reader.Runs(ctx, r.GetTaskId())
	if err != nil {
		return nil, err
	}
	return shorten(&soltiv1.ListTaskRunsResponse{Runs: runs}), nil
}

// DeleteTask answers once nothing of the task is left. A client that hangs up does not undo it.
func (s taskService) DeleteTask(ctx context.Context, r *soltiv1.DeleteTaskRequest) (*soltiv1.DeleteTaskResponse, error) {
	if err := ask.TaskID(r.GetTaskId()); err != nil {
		return nil, err
	}
	if err := s.deps.Registry.Delete(ctx, r.GetTaskId(), r.ResourceVersion); err != nil {
		return nil, err
	}
	return &soltiv1.DeleteTaskResponse{}, nil
}
