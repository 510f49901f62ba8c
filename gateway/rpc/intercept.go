package rpc

import (
	"context"
	"fmt"
	"runtime/debug"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
)

// unary is around every simple call: it turns refusals into codes and a panic into INTERNAL.
func (s *Server) unary(ctx context.Context, request any, info *grpc.UnaryServerInfo, handle grpc.UnaryHandler) (answer any, err error) {
	defer func() { err = s.outcome(info.FullMethod, recover(), err) }()
	arrived(ctx)
	conn := connectionOf(ctx).counted
	conn.Begin()
	defer conn.End()
	return handle(ctx, request)
}

// stream does the same for streams, and ends them when the server ends.
func (s *Server) stream(service any, stream grpc.ServerStream, info *grpc.StreamServerInfo, handle grpc.StreamHandler) (err error) {
	defer func() { err = s.outcome(info.FullMethod, recover(), err) }()
	conn := connectionOf(stream.Context()).counted
	conn.Begin()
	defer conn.End()
	ctx, cancel := context.WithCancel(stream.Context())
	defer cancel()
	defer context.AfterFunc(s.ending, cancel)()
	return handle(service, &endingStream{ServerStream: stream, ctx: ctx})
}

// outcome is what a call ends with. A fault of ours is logged and never shown.
func (s *Server) outcome(method string, panicked any, err error) error {
	if panicked != nil {
		s.deps.Logger.Error("call panicked", "method", method, "panic", fmt.Sprint(panicked), "stack", string(debug.Stack()))
		return status.Error(codes.Internal, internalMessage)
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

// endingStream is a stream whose context is done when the server ends, too, and whose first message has to arrive in time.
type endingStream struct {
	grpc.ServerStream
	ctx context.Context //nolint:containedctx // the interface asks for it
}

func (s *endingStream) Context() context.Context { return s.ctx }

// RecvMsg implements grpc.ServerStream.
func (s *endingStream) RecvMsg(message any) error {
	err := s.ServerStream.RecvMsg(message)
	arrived(s.ctx)
	return err
}
