package rpc_test

import (
	"context"
	"errors"
	"io"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/testing/protocmp"

	"slotd/gateway"
	"slotd/messages"
	slotdv1 "slotd/messages/slotd/v1"
	soltiv1 "slotd/messages/solti/v1"
)

func chunk(id, line string) *soltiv1.OutputEventProto {
	return &soltiv1.OutputEventProto{Id: id, Kind: &soltiv1.OutputEventProto_Chunk{Chunk: &soltiv1.OutputChunkProto{
		Attempt: 1, Stream: soltiv1.OutputStreamKind_OUTPUT_STREAM_KIND_STDOUT, Line: []byte(line),
	}}}
}

// batch is what a cursor of logs hands out: each message with its length before it.
func batch(t testing.TB, events ...*soltiv1.OutputEventProto) []byte {
	t.Helper()
	var data []byte
	for _, event := range events {
		message, err := proto.Marshal(event)
		if err != nil {
			t.Fatal(err)
		}
		data = protowire.AppendBytes(data, message)
	}
	return data
}

func TestLogsAreSentByteForByte(t *testing.T) {
	n := start(t)
	feed := n.follow()
	stream, err := n.tasks.StreamTaskLogs(within(t), &soltiv1.StreamTaskLogsRequest{TaskId: "tsk_1", Tail: new(uint64(5)), After: "1-2-3"})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := stream.Header(); err != nil { // before there is any event
		t.Fatal(err)
	}
	want := []*soltiv1.OutputEventProto{chunk("1", "a"), chunk("2", "\xff\x00\xfe"), chunk("3", "")}
	first := batch(t, want[:2]...)
	feed.batches <- first
	feed.batches <- batch(t, want[2])
	clear(first) // the cursor's memory is its own again
	close(feed.batches)
	var got []*soltiv1.OutputEventProto
	for {
		event, err := stream.Recv()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		got = append(got, event)
	}
	if diff := cmp.Diff(want, got, protocmp.Transform()); diff != "" {
		t.Errorf("events (-want +got):\n%s", diff)
	}
	receive(t, feed.closed, "the end of the cursor")
	var q messages.LogQuery
	n.change(func() { q = n.logQuery })
	if want := (messages.LogQuery{Tail: 5, HasTail: true, Follow: true, After: "1-2-3", Encoding: messages.EncodeProto}); q != want {
		t.Errorf("query %+v, want %+v", q, want)
	}
}

func TestALogThatCannotBeOpenedSaysWhy(t *testing.T) {
	n := start(t)
	n.change(func() {
		n.open = func(id string) (gateway.Cursor, error) {
			switch id {
			case "ended":
				return nil, io.EOF
			case "broken":
				return nil, errors.New("secret cause")
			}
			return nil, &messages.RejectionError{Rejection: messages.TaskNotFound(id)}
		}
	})
	refused(t, n.logError("gone"), codes.NotFound, "TaskNotFound", "gone")
	refused(t, n.logError("broken"), codes.Internal, "Internal", "the daemon's log has the cause")
	if err := n.logError("ended"); !errors.Is(err, io.EOF) {
		t.Errorf("a log that was read to its end: %v", err)
	}
	stream, err := n.tasks.StreamTaskLogs(within(t), &soltiv1.StreamTaskLogsRequest{TaskId: "tsk_1", Attempt: new(uint32(0)), Stream: 9})
	if err == nil {
		_, err = stream.Recv()
	}
	refused(t, err, codes.InvalidArgument, "InvalidRequest", "attempt must be ≥ 1: attempts are counted from 1; stream has the unknown value 9")
}

func TestALogThatBreaksIsNoEnd(t *testing.T) {
	n := start(t)
	feed := n.follow()
	feed.broken <- errors.New("secret cause")
	refused(t, n.logError("tsk_1"), codes.Internal, "Internal", "the daemon's log has the cause")
	receive(t, feed.closed, "the end of the cursor")
}

func TestALogIsLetGoWhenItsClientLeaves(t *testing.T) {
	n := start(t)
	feed := n.follow()
	ctx, leave := context.WithCancel(within(t))
	stream, err := n.tasks.StreamTaskLogs(ctx, &soltiv1.StreamTaskLogsRequest{TaskId: "tsk_1"})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := stream.Header(); err != nil {
		t.Fatal(err)
	}
	leave()
	receive(t, feed.closed, "the end of the cursor")
}

func TestAReaderThatStopsBlocksOnlyItself(t *testing.T) {
	n := start(t)
	feed := n.follow()
	ctx, leave := context.WithCancel(within(t))
	stream, err := n.tasks.StreamTaskLogs(ctx, &soltiv1.StreamTaskLogsRequest{TaskId: "tsk_1"})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := stream.Header(); err != nil {
		t.Fatal(err)
	}
	if taken := fill(t, feed); taken > 64 {
		t.Errorf("%d batches of 64 KiB were taken for a client that reads nothing", taken)
	}
	if _, err := n.more.GetVersion(within(t), &slotdv1.GetVersionRequest{}); err != nil {
		t.Errorf("another call on the same connection: %v", err)
	}
	leave()
	receive(t, feed.closed, "the end of the cursor")
}

// fill feeds batches until the stream takes no more of them, and returns how many it took.
func fill(t testing.TB, feed *logFeed) int {
	t.Helper()
	const stuck = 200 * time.Millisecond // a stream that takes nothing for so long waits for its client
	data := batch(t, chunk("1", string(make([]byte, 64<<10))))
	for taken := 0; ; taken++ {
		select {
		case feed.batches <- data:
		case <-time.After(stuck):
			return taken
		}
	}
}

func TestEventsAreStreamed(t *testing.T) {
	n := start(t)
	stream, err := n.more.StreamEvents(within(t), &slotdv1.StreamEventsRequest{Slot: new("a"), TaskId: new("tsk_1"), After: "1-5"})
	if err != nil {
		t.Fatal(err)
	}
	q := receive(t, n.feed.opened, "the opening")
	if q.Slot != "a" || q.Task != "tsk_1" || q.After != "1-5" {
		t.Errorf("query %+v", q)
	}
	if _, err := stream.Header(); err != nil {
		t.Fatal(err)
	}
	want := []*slotdv1.Event{
		{Id: "1-6", Kind: &slotdv1.Event_Task{Task: &slotdv1.TaskEvent{Slot: "a", TaskId: "tsk_1", Phase: running}}},
		{Id: "1-7", Kind: &slotdv1.Event_Slot{Slot: &slotdv1.SlotEvent{Slot: "a", Phase: "idle"}}},
	}
	n.feed.events <- want
	for _, w := range want {
		if got, err := stream.Recv(); err != nil || !proto.Equal(got, w) {
			t.Errorf("got %v, %v; want %v", got, err, w)
		}
	}
	for _, bad := range []*slotdv1.StreamEventsRequest{{Slot: new("")}, {TaskId: new("")}, {LabelSelector: "!!"}, {After: "nonsense"}} {
		refusedStream, err := n.more.StreamEvents(within(t), bad)
		if err == nil {
			_, err = refusedStream.Recv()
		}
		refused(t, err, codes.InvalidArgument, "InvalidRequest", "")
	}
}

func TestStreamsEndWithTheServer(t *testing.T) {
	n := start(t)
	feed := n.follow()
	logs, err := n.tasks.StreamTaskLogs(within(t), &soltiv1.StreamTaskLogsRequest{TaskId: "tsk_1"})
	if err != nil {
		t.Fatal(err)
	}
	events, err := n.more.StreamEvents(within(t), &slotdv1.StreamEventsRequest{})
	if err != nil {
		t.Fatal(err)
	}
	for _, opened := range []grpc.ClientStream{logs, events} {
		if _, err := opened.Header(); err != nil {
			t.Fatal(err)
		}
	}
	if err := n.server.Shutdown(within(t)); err != nil {
		t.Errorf("shutdown: %v", err)
	}
	_, err = logs.Recv()
	refused(t, err, codes.Unavailable, "Unavailable", "the node is stopping, so the stream ends")
	_, err = events.Recv()
	refused(t, err, codes.Unavailable, "Unavailable", "the node is stopping, so the stream ends")
	receive(t, feed.closed, "the end of the cursor")
	receive(t, n.feed.closed, "the end of the cursor of events")
	if status.Code(n.logError("tsk_1")) != codes.Unavailable {
		t.Error("a stopped server opens streams")
	}
}
