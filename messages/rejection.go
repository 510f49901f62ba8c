package messages

import (
	"errors"
	"strconv"
	"time"

	slotdv1 "slotd/messages/slotd/v1"
)

// The labels a refusal can carry. The set is closed: clients switch on it, and the gateway maps each to one HTTP status
// and one gRPC code.
const (
	LabelInvalidRequest       = "InvalidRequest"
	LabelUnauthenticated      = "Unauthenticated"
	LabelPermissionDenied     = "PermissionDenied"
	LabelTaskNotFound         = "TaskNotFound"
	LabelNotFound             = "NotFound"
	LabelMethodNotAllowed     = "MethodNotAllowed"
	LabelSlotBusy             = "SlotBusy"
	LabelPreconditionFailed   = "PreconditionFailed"
	LabelPayloadTooLarge      = "PayloadTooLarge"
	LabelUnsupportedMediaType = "UnsupportedMediaType"
	LabelNoRunner             = "NoRunner"
	LabelUnenforceable        = "Unenforceable"
	LabelIdempotencyKeyReused = "IdempotencyKeyReused"
	LabelQueueFull            = "QueueFull"
	LabelTooManyTasks         = "TooManyTasks"
	LabelInternal             = "Internal"
	LabelUnavailable          = "Unavailable"
)

// RejectionError is a refusal as a Go error.
type RejectionError struct{ Rejection *slotdv1.Rejection }

func (e *RejectionError) Error() string {
	return e.Rejection.GetLabel() + ": " + e.Rejection.GetMessage()
}

// RetryAfter is how long a client should wait before it tries again; 0 = waiting makes no difference.
func (e *RejectionError) RetryAfter() time.Duration {
	return millis(e.Rejection.GetRetryAfterMs())
}

// RefusalOf finds in err what a client is told: a refusal as it is, an [InvalidError] as InvalidRequest. It returns false
// when err is something else, which is a fault of ours or the end of somebody's patience.
func RefusalOf(err error) (*RejectionError, bool) {
	if refusal, ok := errors.AsType[*RejectionError](err); ok {
		return refusal, true
	}
	if invalid, ok := errors.AsType[*InvalidError](err); ok {
		return &RejectionError{Reject(LabelInvalidRequest, invalid.Error(), 0)}, true
	}
	return nil, false
}

// TaskNotFound is the refusal of whatever is asked of a task that is not here.
func TaskNotFound(id string) *slotdv1.Rejection {
	const most = 64 // bytes of the id that are repeated; a real one is shorter
	shown := strconv.QuoteToASCII(id[:min(len(id), most)])
	if len(id) > most {
		shown += "…"
	}
	return Reject(LabelTaskNotFound, "there is no task "+shown+
		": it was deleted, its retention is over, or the id is wrong; list the tasks to see what is kept", 0)
}

// Reject makes a refusal: one of the labels, a sentence that says what, why and what to do, and how long to wait before
// the next try (0 = waiting makes no difference; a part of a millisecond counts as one).
func Reject(label, message string, retryAfter time.Duration) *slotdv1.Rejection {
	return &slotdv1.Rejection{
		Label:        label,
		Message:      message,
		RetryAfterMs: ceilMillis(max(0, retryAfter)),
	}
}

func ceilMillis(d time.Duration) uint64 {
	ms := uint64(d / time.Millisecond)
	if d%time.Millisecond > 0 {
		ms++
	}
	return ms
}
