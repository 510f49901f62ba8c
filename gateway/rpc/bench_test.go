package rpc_test

import (
	"context"
	"errors"
	"io"
	"net"
	"strings"
	"testing"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/test/bufconn"
	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"

	"slotd/gateway"
	soltiv1 "slotd/messages/solti/v1"
)

// benchLines is what a stream of a benchmark carries, of lines as a build prints them.
const benchLines = 100_000

func benchEvent() *soltiv1.OutputEventProto { return chunk("1-123456-1", strings.Repeat("x", 100)) }

// lines is a cursor of benchLines lines in batches of about 64 KiB.
type lines struct {
	batch []byte
	each  int
	left  int
}

func (l *lines) Next(context.Context) (gateway.LogBatch, error) {
	if l.left <= 0 {
		return gateway.LogBatch{}, io.EOF
	}
	l.left -= l.each
	return gateway.LogBatch{Data: l.batch, Events: l.each}, nil
}

func (l *lines) Close() {}

// BenchmarkStreamTaskLogs reads a log of 100 000 lines; see BenchmarkBareStream for its floor.
func BenchmarkStreamTaskLogs(b *testing.B) {
	n := start(b)
	message, err := proto.Marshal(benchEvent())
	if err != nil {
		b.Fatal(err)
	}
	const each = 400
	var data []byte
	for range each {
		data = protowire.AppendBytes(data, message)
	}
	n.change(func() {
		n.open = func(string) (gateway.Cursor, error) { return &lines{data, each, benchLines}, nil }
	})
	b.ReportAllocs()
	for b.Loop() {
		stream, err := n.tasks.StreamTaskLogs(b.Context(), &soltiv1.StreamTaskLogsRequest{TaskId: "tsk_1"})
		if err != nil {
			b.Fatal(err)
		}
		drainLog(b, stream)
	}
}

// bare sends one message again and again, as any gRPC server does.
type bare struct {
	soltiv1.UnimplementedSoltiApiServer
}

func (bare) StreamTaskLogs(_ *soltiv1.StreamTaskLogsRequest, stream grpc.ServerStreamingServer[soltiv1.OutputEventProto]) error {
	event := benchEvent()
	for range benchLines {
		if err := stream.Send(event); err != nil {
			return err
		}
	}
	return nil
}

func BenchmarkBareStream(b *testing.B) {
	server, l := grpc.NewServer(), bufconn.Listen(1<<20)
	soltiv1.RegisterSoltiApiServer(server, bare{})
	served := make(chan error, 1)
	go func() { served <- server.Serve(l) }()
	conn, err := grpc.NewClient("passthrough:///bare", grpc.WithTransportCredentials(insecure.NewCredentials()),
		grpc.WithContextDialer(func(ctx context.Context, _ string) (net.Conn, error) { return l.DialContext(ctx) }))
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() {
		if err := conn.Close(); err != nil {
			b.Error(err)
		}
		server.Stop()
		if err := <-served; err != nil {
			b.Error(err)
		}
	})
	client := soltiv1.NewSoltiApiClient(conn)
	b.ReportAllocs()
	for b.Loop() {
		stream, err := client.StreamTaskLogs(b.Context(), &soltiv1.StreamTaskLogsRequest{TaskId: "tsk_1"})
		if err != nil {
			b.Fatal(err)
		}
		drainLog(b, stream)
	}
}

// drainLog reads a stream to its end.
func drainLog(b *testing.B, stream grpc.ServerStreamingClient[soltiv1.OutputEventProto]) {
	b.Helper()
	count := 0
	for ; ; count++ {
		if _, err := stream.Recv(); err != nil {
			if !errors.Is(err, io.EOF) || count != benchLines {
				b.Fatalf("%v after %d events", err, count)
			}
			return
		}
	}
}
