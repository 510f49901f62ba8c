package rpc

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"google.golang.org/genproto/googleapis/rpc/errdetails"
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

func TestRefusalsCarryTheirLabelAndWhenToComeBack(t *testing.T) {
	for label, c := range map[string]struct{ given, want time.Duration }{
		messages.LabelSlotBusy:    {0, 0},
		messages.LabelQueueFull:   {1500 * time.Millisecond, 1500 * time.Millisecond},
		messages.LabelUnavailable: {0, time.Second}, // as HTTP, which never leaves Retry-After out of a 503
	} {
		got, _ := statusOf(&messages.RejectionError{Rejection: messages.Reject(label, "because", c.given)})
		var info *errdetails.ErrorInfo
		var retry *errdetails.RetryInfo
		for _, detail := range got.Details() {
			switch detail := detail.(type) {
			case *errdetails.ErrorInfo:
				info = detail
			case *errdetails.RetryInfo:
				retry = detail
			}
		}
		if info.GetReason() != label || info.GetDomain() != "slotd" || retry.GetRetryDelay().AsDuration() != c.want || (retry != nil) != (c.want > 0) {
			t.Errorf("%s: got %v, %v; want %v", label, info, retry, c.want)
		}
	}
}

func TestALongSentenceIsCutBetweenCharacters(t *testing.T) {
	got, _ := statusOf(&messages.InvalidError{Problems: []string{strings.Repeat("≥", maxSentence)}})
	if text := got.Message(); len(text) > maxSentence || len(text) < maxSentence-8 || !utf8.ValidString(text) || !strings.HasSuffix(text, "≥…") {
		t.Errorf("%d bytes: …%q", len(text), text[len(text)-10:])
	}
	if len(got.Details()) != 1 {
		t.Errorf("details %v, want the label", got.Details())
	}
}
