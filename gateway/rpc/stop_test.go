package rpc_test

import (
	"context"
	"testing"
	"time"

	"google.golang.org/grpc/codes"
	healthpb "google.golang.org/grpc/health/grpc_health_v1"
	reflectionpb "google.golang.org/grpc/reflection/grpc_reflection_v1"

	slotdv1 "slotd/messages/slotd/v1"
	soltiv1 "slotd/messages/solti/v1"
)

func TestADrainingServerAdmitsNothingAndDoesAllElse(t *testing.T) {
	n := start(t)
	n.set(task("tsk_1", succeeded, 2))
	n.server.Drain()
	_, err := n.tasks.SubmitTask(within(t), &soltiv1.SubmitTaskRequest{Spec: spec("a")})
	refused(t, err, codes.Unavailable, "Unavailable", "admits nothing new")
	_, err = n.more.SubmitTasks(within(t), &slotdv1.SubmitTasksRequest{Specs: []*soltiv1.CreateSpec{spec("a")}})
	refused(t, err, codes.Unavailable, "Unavailable", "admits nothing new")
	health, err := healthpb.NewHealthClient(n.conn).Check(within(t), &healthpb.HealthCheckRequest{})
	if err != nil || health.GetStatus() != healthpb.HealthCheckResponse_NOT_SERVING {
		t.Errorf("health %v, %v; want NOT_SERVING", health, err)
	}
	if n.last() != nil {
		t.Errorf("%v was sent", n.last())
	}
	n.answers(&slotdv1.TaskEnded{TaskId: "tsk_1"})
	if _, err := n.more.CancelTask(within(t), &slotdv1.CancelTaskRequest{TaskId: "tsk_1"}); err != nil {
		t.Errorf("cancel: %v", err)
	}
	if _, err := n.tasks.GetTaskStatus(within(t), &soltiv1.GetTaskStatusRequest{TaskId: "tsk_1"}); err != nil {
		t.Errorf("get: %v", err)
	}
}

func TestWaitsAreAnsweredWhenTheServerEnds(t *testing.T) {
	n := start(t)
	n.set(task("tsk_1", running, 6))
	type outcome struct {
		version uint64
		err     error
	}
	done := make(chan outcome, 1)
	ctx := within(t)
	go func() {
		got, err := n.tasks.GetTaskStatus(ctx, &soltiv1.GetTaskStatusRequest{TaskId: "tsk_1", WaitMs: new(uint64(300_000))})
		done <- outcome{got.GetTask().GetMetadata().GetResourceVersion(), err}
	}()
	receive(t, n.waiting, "the wait")
	if err := n.server.Shutdown(within(t)); err != nil {
		t.Errorf("shutdown: %v", err)
	}
	if got := receive(t, done, "the answer"); got.version != 6 || got.err != nil {
		t.Errorf("got %+v, want the present state", got)
	}
}

func TestShutdownSaysThatItCutACallOff(t *testing.T) {
	n := start(t)
	n.answers(nil)
	done := make(chan error, 1)
	ctx := within(t)
	go func() {
		_, err := n.more.CancelTask(ctx, &slotdv1.CancelTaskRequest{TaskId: "tsk_1"})
		done <- err
	}()
	receive(t, n.asked, "the command")
	bound, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	if err := n.server.Shutdown(bound); err == nil {
		t.Error("shutdown cut a call off and said nothing")
	}
	if err := receive(t, done, "the end of the call"); err == nil {
		t.Error("the call was answered")
	}
}

// Neither a client that reads nothing nor one that keeps a stream of its own open holds the daemon up, and that they
// were cut off is no failure of the daemon.
func TestShutdownCutsStreamsThatDoNotEnd(t *testing.T) {
	n := start(t)
	feed := n.follow()
	stuck, err := n.tasks.StreamTaskLogs(within(t), &soltiv1.StreamTaskLogsRequest{TaskId: "tsk_1"})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := stuck.Header(); err != nil {
		t.Fatal(err)
	}
	fill(t, feed)
	open, err := reflectionpb.NewServerReflectionClient(n.conn).ServerReflectionInfo(within(t))
	if err != nil {
		t.Fatal(err)
	}
	if err := open.Send(&reflectionpb.ServerReflectionRequest{MessageRequest: &reflectionpb.ServerReflectionRequest_ListServices{}}); err != nil {
		t.Fatal(err)
	}
	answer, err := open.Recv()
	if err != nil || len(answer.GetListServicesResponse().GetService()) != 5 {
		t.Errorf("reflection: %v, %v; want five services", answer, err)
	}
	bound, cancel := context.WithTimeout(t.Context(), patience/2)
	defer cancel()
	if err := n.server.Shutdown(bound); err != nil {
		t.Errorf("shutdown: %v", err)
	}
	receive(t, feed.closed, "the end of the cursor")
	if _, err := open.Recv(); err == nil {
		t.Error("the stream of the client goes on")
	}
}
