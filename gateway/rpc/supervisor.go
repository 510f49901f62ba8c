package rpc

import (
	"context"

	"slotd/gateway/ask"
	"slotd/messages"
	slotdv1 "slotd/messages/slotd/v1"
)

// supervisorService is slotd.v1.Supervisor.
type supervisorService struct {
	slotdv1.UnsafeSupervisorServer // a method that is missing does not compile

	*Server
}

// SubmitTasks answers one result for each spec; a spec that is refused spoils no other.
func (s supervisorService) SubmitTasks(ctx context.Context, r *slotdv1.SubmitTasksRequest) (*slotdv1.SubmitTasksResponse, error) {
	if s.draining.Load() {
		return nil, ask.ErrDraining
	}
	results, err := s.deps.Registry.SubmitBatch(ctx, r.GetSpecs())
	if err != nil {
		return nil, err
	}
	answer := &slotdv1.SubmitTasksResponse{Results: make([]*slotdv1.SubmitTasksResult, len(results))}
	for i, result := range results {
		answer.Results[i] = s.result(result)
	}
	return answer, nil
}

func (s supervisorService) result(r ask.Result) *slotdv1.SubmitTasksResult {
	if r.Err == nil {
		return &slotdv1.SubmitTasksResult{TaskId: &r.TaskID}
	}
	refusal, ok := messages.RefusalOf(r.Err)
	if !ok {
		s.deps.Logger.Error("batch item failed", "error", r.Err)
		refusal = rejection(messages.LabelInternal, internalMessage)
	}
	// The sentences of a thousand bad specs must not keep the ids of the good ones from the client.
	return &slotdv1.SubmitTasksResult{Error: new(refusal.Rejection.GetLabel()), Message: new(sentence(refusal.Rejection.GetMessage()))}
}

// CancelTask answers once the task is terminal. A client that hangs up does not undo it.
func (s supervisorService) CancelTask(ctx context.Context, r *slotdv1.CancelTaskRequest) (*slotdv1.CancelTaskResponse, error) {
	if err := ask.TaskID(r.GetTaskId()); err != nil {
		return nil, err
	}
	grace, err := messages.GraceOf(r)
	if err != nil {
		return nil, err
	}
	if err := s.deps.Registry.Cancel(ctx, r.GetTaskId(), grace); err != nil {
		return nil, err
	}
	task, err := ask.Task(ctx, s.deps.Reader, r.GetTaskId(), messages.Wait{})
	if err != nil {
		return nil, err
	}
	return &slotdv1.CancelTaskResponse{Task: messages.RedactTask(task, showValues(ctx))}, nil
}

func (s supervisorService) ListSlots(context.Context, *slotdv1.ListSlotsRequest) (*slotdv1.ListSlotsResponse, error) {
	return &slotdv1.ListSlotsResponse{Slots: s.deps.Reader.Slots()}, nil
}

func (s supervisorService) GetSlot(_ context.Context, r *slotdv1.GetSlotRequest) (*slotdv1.GetSlotResponse, error) {
	if err := messages.ValidateSlot(r.GetSlot()); err != nil {
		return nil, err
	}
	return &slotdv1.GetSlotResponse{Slot: s.deps.Reader.Slot(r.GetSlot())}, nil
}

// PurgeSlotTasks answers with the ids of the tasks that it cancelled. A client that hangs up does not undo it.
func (s supervisorService) PurgeSlotTasks(ctx context.Context, r *slotdv1.PurgeSlotTasksRequest) (*slotdv1.PurgeSlotTasksResponse, error) {
	if err := messages.ValidateSlot(r.GetSlot()); err != nil {
		return nil, err
	}
	ids, err := s.deps.Registry.PurgeSlot(ctx, r.GetSlot(), r.GetHolder())
	if err != nil {
		return nil, err
	}
	return &slotdv1.PurgeSlotTasksResponse{TaskIds: ids}, nil
}

func (s supervisorService) ListNodes(context.Context, *slotdv1.ListNodesRequest) (*slotdv1.ListNodesResponse, error) {
	return &slotdv1.ListNodesResponse{Nodes: s.deps.Reader.Nodes()}, nil
}

func (s supervisorService) Introspect(context.Context, *slotdv1.IntrospectRequest) (*slotdv1.IntrospectResponse, error) {
	return s.deps.Reader.Introspect(), nil
}

func (s supervisorService) GetVersion(context.Context, *slotdv1.GetVersionRequest) (*slotdv1.VersionResponse, error) {
	return s.deps.Version, nil
}
