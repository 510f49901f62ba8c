package ask

import (
	"context"

	"slotd/gateway"
	"slotd/messages"
	soltiv1 "slotd/messages/solti/v1"
)

// ErrDraining refuses a submission while the node stops.
var ErrDraining = reject(messages.LabelUnavailable, "the node is stopping and admits nothing new; try again when it is back", 0)

// Task returns a task, after a wait as soon as what is waited for holds, or as it is when the time is over or ctx is
// done. The error is a *messages.RejectionError, TaskNotFound, also when the task is deleted meanwhile.
func Task(ctx context.Context, reader gateway.Reader, id string, wait messages.Wait) (*soltiv1.TaskData, error) {
	task, ok := lookUp(ctx, reader, id, wait)
	if !ok {
		return nil, &messages.RejectionError{Rejection: messages.TaskNotFound(id)}
	}
	return task, nil
}

func lookUp(ctx context.Context, reader gateway.Reader, id string, wait messages.Wait) (*soltiv1.TaskData, bool) {
	if wait.Most == 0 {
		return reader.Task(id)
	}
	ctx, cancel := context.WithTimeout(ctx, wait.Most)
	defer cancel()
	if wait.Running {
		return reader.Wait(ctx, id, gateway.WantRunning)
	}
	return reader.Wait(ctx, id, gateway.WantTerminal)
}
