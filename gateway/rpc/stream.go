package rpc

import (
	"bytes"
	"context"
	"errors"
	"io"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/encoding/protowire"

	"slotd/gateway/ask"
	"slotd/messages"
	slotdv1 "slotd/messages/slotd/v1"
	soltiv1 "slotd/messages/solti/v1"
)

// A stream is one goroutine that takes events from a cursor and sends them. The node never waits for it. A client that
// does not read blocks the goroutine in its next Send, once 64 KiB wait for it, with at most one batch in hand; it is let
// go when the client leaves, when the connection is found dead (see the limits in server.go), or when the server ends: who
// reads gets what is there already, and has a second for it.

var errEnding = rejection(messages.LabelUnavailable, "the node is stopping, so the stream ends; open it again after the last event received when the node is back")

// errLeft ends a stream whose client has gone before it was open. The library's own error would pass for a fault of ours.
var errLeft = status.Error(codes.Canceled, "the client has left")

// StreamTaskLogs sends a task's output.
func (s taskService) StreamTaskLogs(r *soltiv1.StreamTaskLogsRequest, stream grpc.ServerStreamingServer[soltiv1.OutputEventProto]) error {
	if err := ask.TaskID(r.GetTaskId()); err != nil {
		return err
	}
	q, err := messages.LogQueryOf(r)
	if err != nil {
		return err
	}
	q.Encoding = messages.EncodeProto
	ctx := stream.Context()
	cursor, err := s.deps.Logs.Open(ctx, r.GetTaskId(), q)
	switch {
	case errors.Is(err, io.EOF):
		return nil
	case err != nil:
		return s.ended(err)
	}
	defer cursor.Close()
	if stream.SendHeader(nil) != nil {
		return errLeft
	}
	for {
		over := ctx.Err() != nil // then Next gives what is there, and does not wait
		batch, err := cursor.Next(ctx)
		switch {
		case err == nil:
			err = sendBatch(stream, batch.Data)
		case errors.Is(err, io.EOF):
			return nil
		case !over && ctx.Err() != nil:
			continue
		}
		if err != nil {
			return s.ended(err)
		}
	}
}

// sendBatch sends the messages of a batch, each of which has its length before it. What is sent is copied first, all of it
// at once: the transport still has it when the cursor makes the next batch.
func sendBatch(stream grpc.ServerStream, batch []byte) error {
	batch = bytes.Clone(batch)
	for len(batch) > 0 {
		message, n := protowire.ConsumeBytes(batch)
		if n < 0 {
			return protowire.ParseError(n)
		}
		if err := stream.SendMsg(encoded(message)); err != nil {
			return err
		}
		batch = batch[n:]
	}
	return nil
}

// StreamEvents sends transitions until the client leaves or the node stops.
func (s supervisorService) StreamEvents(r *slotdv1.StreamEventsRequest, stream grpc.ServerStreamingServer[slotdv1.Event]) error {
	if s.deps.Events == nil {
		return status.Error(codes.Unimplemented, "this node keeps no events")
	}
	q, err := messages.EventQueryOf(r)
	if err != nil {
		return err
	}
	cursor, err := s.deps.Events.Open(q)
	if err != nil {
		return err
	}
	defer cursor.Close()
	if stream.SendHeader(nil) != nil {
		return errLeft
	}
	ctx := stream.Context()
	for {
		over := ctx.Err() != nil // as for logs
		events, err := cursor.Next(ctx)
		switch {
		case err == nil:
			err = sendEvents(stream, events)
		case !over && ctx.Err() != nil:
			continue
		}
		if err != nil {
			return s.ended(err)
		}
	}
}

func sendEvents(stream grpc.ServerStreamingServer[slotdv1.Event], events []*slotdv1.Event) error {
	for _, event := range events {
		if err := stream.Send(event); err != nil {
			return err
		}
	}
	return nil
}

// ended is why a stream ended: that the server ends looks to the stream as if its client had left.
func (s *Server) ended(err error) error {
	if errors.Is(err, context.Canceled) && s.ending.Err() != nil {
		return errEnding
	}
	return err
}
