package rpc

import (
	"context"
	"errors"
	"fmt"
	"testing"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"slotd/messages"
)

func TestEveryLabelHasItsCode(t *testing.T) {
	for label, want := range map[string]codes.Code{
		"InvalidRequest": codes.InvalidArgument, "Unauthenticated": codes.Unauthenticated, "PermissionDenied": codes.PermissionDenied,
		"TaskNotFound": codes.NotFound, "NotFound": codes.NotFound, "SlotBusy": codes.AlreadyExists, "PreconditionFailed": codes.FailedPrecondition,
		"PayloadTooLarge": codes.ResourceExhausted, "NoRunner": codes.FailedPrecondition, "Unenforceable": codes.FailedPrecondition,
		"IdempotencyKeyReused": codes.FailedPrecondition, "QueueFull": codes.ResourceExhausted, "TooManyTasks": codes.ResourceExhausted,
		"Internal": codes.Internal, "Unavailable": codes.Unavailable,
	} {
		refusal := fmt.Errorf("submit: %w", &messages.RejectionError{Rejection: messages.Reject(label, "because", 0)})
		if got, shown := statusOf(refusal); got.Code() != want || got.Message() != "because" || !shown {
			t.Errorf("%s: got %v, shown %v; want %v", label, got, shown, want)
		}
	}
}

func TestOtherErrorsHaveTheirCode(t *testing.T) {
	for name, c := range map[string]struct {
		err   error
		code  codes.Code
		says  string
		shown bool
	}{
		"invalid":       {&messages.InvalidError{Problems: []string{"a", "b"}}, codes.InvalidArgument, "a; b", true},
		"canceled":      {fmt.Errorf("x: %w", context.Canceled), codes.Canceled, "x: context canceled", true},
		"deadline":      {context.DeadlineExceeded, codes.DeadlineExceeded, "context deadline exceeded", true},
		"status":        {status.Error(codes.NotFound, "gone"), codes.NotFound, "gone", true},
		"fault":         {errors.New("secret cause"), codes.Internal, internalMessage, false},
		"unknown label": {&messages.RejectionError{Rejection: messages.Reject("NoSuchLabel", "x", 0)}, codes.Internal, internalMessage, false},
	} {
		if got, shown := statusOf(c.err); got.Code() != c.code || got.Message() != c.says || shown != c.shown {
			t.Errorf("%s: got %v %q, shown %v", name, got.Code(), got.Message(), shown)
		}
	}
}
