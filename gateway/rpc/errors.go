package rpc

import (
	"context"
	"errors"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"slotd/messages"
)

// codeOf maps each label of a refusal to its gRPC code.
var codeOf = map[string]codes.Code{
	messages.LabelInvalidRequest:       codes.InvalidArgument,
	messages.LabelUnauthenticated:      codes.Unauthenticated,
	messages.LabelPermissionDenied:     codes.PermissionDenied,
	messages.LabelTaskNotFound:         codes.NotFound,
	messages.LabelNotFound:             codes.NotFound,
	messages.LabelMethodNotAllowed:     codes.Unimplemented,
	messages.LabelSlotBusy:             codes.AlreadyExists,
	messages.LabelPreconditionFailed:   codes.FailedPrecondition,
	messages.LabelPayloadTooLarge:      codes.ResourceExhausted,
	messages.LabelUnsupportedMediaType: codes.InvalidArgument,
	messages.LabelNoRunner:             codes.FailedPrecondition,
	messages.LabelUnenforceable:        codes.FailedPrecondition,
	messages.LabelIdempotencyKeyReused: codes.FailedPrecondition,
	messages.LabelQueueFull:            codes.ResourceExhausted,
	messages.LabelTooManyTasks:         codes.ResourceExhausted,
	messages.LabelInternal:             codes.Internal,
	messages.LabelUnavailable:          codes.Unavailable,
}

const internalMessage = "something inside slotd failed and the call was given up; the daemon's log has the cause"

// statusOf returns the status that err stands for, and whether it is one that a client may see. nil is OK.
func statusOf(err error) (*status.Status, bool) {
	var rejection *messages.RejectionError
	var invalid *messages.InvalidError
	switch {
	case errors.As(err, &rejection):
		if code, ok := codeOf[rejection.Rejection.GetLabel()]; ok {
			return status.New(code, rejection.Rejection.GetMessage()), true
		}
	case errors.As(err, &invalid):
		return status.New(codes.InvalidArgument, invalid.Error()), true
	case errors.Is(err, context.Canceled), errors.Is(err, context.DeadlineExceeded):
		return status.FromContextError(err), true
	default:
		if known, ok := status.FromError(err); ok {
			return known, true
		}
	}
	return status.New(codes.Internal, internalMessage), false
}
