package rpc

import (
	"context"
	"fmt"
	"runtime/debug"

	"google.golang.org/grpc"
	"google.golang.org/protobuf/proto"

	"slotd/messages"
)

// unary is around every simple call: it turns refusals into codes and a panic into INTERNAL.
func (s *Server) unary(ctx context.Context, request any, info *grpc.UnaryServerInfo, handle grpc.UnaryHandler) (answer any, err error) {
	s.unanswered.Add(1)
	defer s.unanswered.Add(-1)
	defer func() { err = s.outcome(info.FullMethod, recover(), err) }()
	arrived(ctx)
	conn := connectionOf(ctx).counted
	conn.Begin()
	defer conn.End()
	answer, err = handle(ctx, request)
	if err == nil {
		err = fits(answer)
	}
	return answer, err
}

// stream does the same for streams, and ends them when the server ends.
func (s *Server) stream(service any, stream grpc.ServerStream, info *grpc.StreamServerInfo, handle grpc.StreamHandler) (err error) {
	defer func() { err = s.outcome(info.FullMethod, recover(), err) }()
	conn := connectionOf(stream.Context()).counted
	conn.Begin()
	defer conn.End()
	ctx, cancel := s.untilEnding(stream.Context())
	defer cancel()
	return handle(service, &endingStream{ServerStream: stream, ctx: ctx})
}

// untilEnding returns a context that is done when ctx is, and when streams have to end and waits to be answered.
func (s *Server) untilEnding(ctx context.Context) (context.Context, context.CancelFunc) {
	ctx, cancel := context.WithCancel(ctx)
	release := context.AfterFunc(s.ending, cancel)
	return ctx, func() { release(); cancel() }
}

// outcome is what a call ends with. A fault of ours is logged and never shown.
func (s *Server) outcome(method string, panicked any, err error) error {
	if panicked != nil {
		s.deps.Logger.Error("call panicked", "method", method, "panic", fmt.Sprint(panicked), "stack", string(debug.Stack()))
		return refusalStatus(rejection(messages.LabelInternal, internalMessage)).Err()
	}
	if err == nil {
		return nil
	}
	known, shown := statusOf(err)
	if !shown {
		s.deps.Logger.Error("call failed", "method", method, "error", err)
	}
	return known.Err()
}

// fits refuses an answer that no client would take. What could be made smaller has been, see page.go.
func fits(answer any) error {
	if m, ok := answer.(proto.Message); ok && proto.Size(m) > MaxMessage {
		return errAnswerTooLarge
	}
	return nil
}

var errAnswerTooLarge = rejection(messages.LabelPayloadTooLarge,
	fmt.Sprintf("the call was carried out, but its answer exceeds %d bytes, the most that a gRPC message holds; HTTP has no such limit for answers", MaxMessage))

// endingStream is a stream whose context is done when the server ends, too, and whose first message has to arrive in time.
type endingStream struct {
	grpc.ServerStream
	ctx context.Context //nolint:containedctx // the interface asks for it
}

func (s *endingStream) Context() context.Context { return s.ctx }

// RecvMsg implements grpc.ServerStream.
func (s *endingStream) RecvMsg(m any) error {
	err := readInto(s.ServerStream.RecvMsg, m)
	arrived(s.ctx)
	return err
}
