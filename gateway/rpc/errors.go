package rpc

import (
	"context"
	"errors"
	"strings"
	"time"

	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/protoadapt"
	"google.golang.org/protobuf/types/known/durationpb"

	"slotd/messages"
)

// domain is that of every google.rpc.ErrorInfo; its reasons are the labels of refusals.
const domain = "slotd"

// maxSentence bounds the message of a status, bytes. It travels twice, in headers, of which some clients take 8 KiB.
const maxSentence = 2 << 10

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
	refusal, refused := messages.RefusalOf(err)
	switch {
	case refused:
		if _, ok := codeOf[refusal.Rejection.GetLabel()]; ok {
			return refusalStatus(refusal), true
		}
	case errors.Is(err, context.Canceled), errors.Is(err, context.DeadlineExceeded):
		return status.FromContextError(err), true
	default:
		if known, ok := status.FromError(err); ok {
			return known, true
		}
	}
	return refusalStatus(rejection(messages.LabelInternal, internalMessage)), false
}

// refusalStatus tells a refusal whose label has a code. Clients that switch on more than the code find the label in the
// ErrorInfo, and what HTTP says as Retry-After in the RetryInfo.
func refusalStatus(refusal *messages.RejectionError) *status.Status {
	label := refusal.Rejection.GetLabel()
	plain := status.New(codeOf[label], sentence(refusal.Rejection.GetMessage()))
	details := []protoadapt.MessageV1{&errdetails.ErrorInfo{Reason: label, Domain: domain}}
	switch label {
	case messages.LabelQueueFull, messages.LabelTooManyTasks, messages.LabelUnavailable:
		after := refusal.RetryAfter()
		if after == 0 {
			after = time.Second
		}
		details = append(details, &errdetails.RetryInfo{RetryDelay: durationpb.New(after)})
	}
	told, err := plain.WithDetails(details...)
	if err != nil {
		return plain
	}
	return told
}

// sentence is a text as it fits a status.
func sentence(text string) string {
	const more = "…"
	if len(text) > maxSentence {
		text = text[:maxSentence-len(more)] + more
	}
	return strings.ToValidUTF8(text, "")
}

func rejection(label, message string) *messages.RejectionError {
	return &messages.RejectionError{Rejection: messages.Reject(label, message, 0)}
}
