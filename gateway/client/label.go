package client

import "slotd/messages"

// Refusals to switch on with [errors.Is]. An [*Error] is the one that has its label, whatever its sentence:
//
//	_, err := c.Submit(ctx, spec, "")
//	switch {
//	case errors.Is(err, client.ErrSlotBusy): // somebody else is at it
//	case errors.Is(err, client.ErrQueueFull): // later
//	}
const (
	// ErrInvalidRequest: a field breaks a rule; the message names all of them.
	ErrInvalidRequest = refused(messages.LabelInvalidRequest)

	// ErrUnauthenticated: there is no token, or not a known one.
	ErrUnauthenticated = refused(messages.LabelUnauthenticated)

	// ErrPermissionDenied: the token's role may not do that.
	ErrPermissionDenied = refused(messages.LabelPermissionDenied)

	// ErrTaskNotFound: no task has that id, or it is not kept any more.
	ErrTaskNotFound = refused(messages.LabelTaskNotFound)

	// ErrSlotBusy: another task holds the slot, and the admission is to drop.
	ErrSlotBusy = refused(messages.LabelSlotBusy)

	// ErrQueueFull: the slot's queue takes no more for now.
	ErrQueueFull = refused(messages.LabelQueueFull)

	// ErrTooManyTasks: the node takes no more tasks for now.
	ErrTooManyTasks = refused(messages.LabelTooManyTasks)

	// ErrPreconditionFailed: the task has changed since the version that was given.
	ErrPreconditionFailed = refused(messages.LabelPreconditionFailed)

	// ErrPayloadTooLarge: the request has more than 4 MiB.
	ErrPayloadTooLarge = refused(messages.LabelPayloadTooLarge)

	// ErrNoRunner: no runner is there for the kind, or for the runner selector.
	ErrNoRunner = refused(messages.LabelNoRunner)

	// ErrUnenforceable: the host cannot enforce a limit of the spec.
	ErrUnenforceable = refused(messages.LabelUnenforceable)

	// ErrIdempotencyKeyReused: the key belongs to a task with another spec.
	ErrIdempotencyKeyReused = refused(messages.LabelIdempotencyKeyReused)

	// ErrInternal: a fault of the daemon's, whose log has the cause.
	ErrInternal = refused(messages.LabelInternal)

	// ErrUnavailable: the daemon stops, or cannot write; nothing was admitted.
	ErrUnavailable = refused(messages.LabelUnavailable)
)

// refused is the label of a refusal.
type refused string

func (r refused) Error() string { return "refused: " + string(r) }

// Is makes a refusal equal to the constant of its label.
func (e *Error) Is(target error) bool {
	label, ok := target.(refused)
	return ok && string(label) == e.Label
}
