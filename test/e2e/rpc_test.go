package e2e

import (
	"context"
	"errors"
	"io"
	"slices"
	"syscall"
	"testing"

	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	healthpb "google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/encoding/protojson"

	slotdv1 "slotd/messages/slotd/v1"
	soltiv1 "slotd/messages/solti/v1"
)

// caller is a client of the gRPC port.
type caller struct {
	*grpc.ClientConn

	t     testing.TB
	tasks soltiv1.SoltiApiClient
	more  slotdv1.SupervisorClient
}

// call connects to the gRPC port; the connection is closed at the end of the test.
func (d *daemon) call() *caller {
	d.t.Helper()
	conn, err := grpc.NewClient(d.grpc, grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		d.t.Fatal(err)
	}
	d.t.Cleanup(func() {
		if err := conn.Close(); err != nil {
			d.t.Error(err)
		}
	})
	return &caller{conn, d.t, soltiv1.NewSoltiApiClient(conn), slotdv1.NewSupervisorClient(conn)}
}

// ctx bounds one call.
func (c *caller) ctx() context.Context {
	ctx, cancel := context.WithTimeout(contextOf(c.t), 2*patience)
	c.t.Cleanup(cancel)
	return ctx
}

func (c *caller) submit(spec object) string {
	c.t.Helper()
	got, err := c.tasks.SubmitTask(c.ctx(), &soltiv1.SubmitTaskRequest{Spec: specOf(c.t, spec)})
	if err != nil {
		c.t.Fatal(err)
	}
	return got.GetTaskId()
}

// wait waits until the task runs or is terminal.
func (c *caller) wait(id, want string) *soltiv1.TaskData {
	c.t.Helper()
	got, err := c.tasks.GetTaskStatus(c.ctx(), &soltiv1.GetTaskStatusRequest{TaskId: id, WaitMs: new(uint64(120_000)), WaitFor: &want})
	if err != nil {
		c.t.Fatal(err)
	}
	return got.GetTask()
}

// works fails the test unless the daemon answers.
func (c *caller) works() {
	c.t.Helper()
	if _, err := c.more.GetVersion(c.ctx(), &slotdv1.GetVersionRequest{}); err != nil {
		c.t.Errorf("the daemon does not answer: %v", err)
	}
}

func specOf(t testing.TB, spec object) *soltiv1.CreateSpec {
	t.Helper()
	var message soltiv1.CreateSpec
	if err := protojson.Unmarshal([]byte(spec.String()), &message); err != nil {
		t.Fatal(err)
	}
	return &message
}

// labelOf is what HTTP calls the error.
func labelOf(err error) string {
	for _, detail := range status.Convert(err).Details() {
		if info, ok := detail.(*errdetails.ErrorInfo); ok && info.GetDomain() == "slotd" {
			return info.GetReason()
		}
	}
	return ""
}

// refusedAs fails the test unless err is that refusal.
func refusedAs(t testing.TB, err error, code codes.Code, label string) {
	t.Helper()
	if status.Code(err) != code || labelOf(err) != label {
		t.Errorf("got %v (%s), want %v (%s)", err, labelOf(err), code, label)
	}
}

// brief is an event of a log in short, as in outline.
func brief(e *soltiv1.OutputEventProto) string {
	switch {
	case e.GetRunStarted() != nil:
		return "+" + itoa(int(e.GetRunStarted().GetAttempt()))
	case e.GetRunFinished() != nil:
		return "-" + itoa(int(e.GetRunFinished().GetAttempt()))
	case e.GetChunk() != nil:
		return string(e.GetChunk().GetLine())
	default:
		return "?" + e.String()
	}
}

// received reads a log to its end.
func received(t testing.TB, stream grpc.ServerStreamingClient[soltiv1.OutputEventProto]) []string {
	t.Helper()
	lines := []string{}
	for {
		e, err := stream.Recv()
		if errors.Is(err, io.EOF) {
			return lines
		}
		if err != nil {
			t.Fatalf("the log broke off after %q: %v", lines, err)
		}
		lines = append(lines, brief(e))
	}
}

func TestATaskIsDrivenOverGRPC(t *testing.T) {
	t.Parallel()
	d := serve(t)
	c := d.call()
	id := c.submit(shell("lane", `printf 'raw \377\376 \n'; echo second; exec sleep 1000`))
	if k := c.wait(id, "running"); k.GetStatus().GetPhase() != soltiv1.TaskStatus_TASK_STATUS_RUNNING || k.GetStatus().GetTerminal() {
		t.Fatalf("the task does not run: %v", k.GetStatus())
	}
	logs, err := c.tasks.StreamTaskLogs(c.ctx(), &soltiv1.StreamTaskLogsRequest{TaskId: id, Tail: new(^uint64(0))})
	if err != nil {
		t.Fatal(err)
	}
	var ids []string
	for _, want := range []string{"+1", "raw \xff\xfe ", "second"} {
		e, err := logs.Recv()
		if err != nil || brief(e) != want {
			t.Fatalf("got %v, %v; want %q", e, err, want)
		}
		ids = append(ids, e.GetId())
	}
	_, err = c.tasks.SubmitTask(c.ctx(), &soltiv1.SubmitTaskRequest{Spec: specOf(t, command("lane", "true"))})
	refusedAs(t, err, codes.AlreadyExists, "SlotBusy")
	list, err := c.tasks.ListTasks(c.ctx(), &soltiv1.ListTasksRequest{Slot: new("lane"), Terminal: new(false)})
	if err != nil || list.GetTotal() != 1 || list.GetTasks()[0].GetMetadata().GetId() != id {
		t.Errorf("list %v, %v", list, err)
	}
	canceled, err := c.more.CancelTask(c.ctx(), &slotdv1.CancelTaskRequest{TaskId: id, GraceMs: new(uint64(0))})
	if err != nil || canceled.GetTask().GetStatus().GetReason() != "Canceled" || !canceled.GetTask().GetStatus().GetTerminal() {
		t.Errorf("cancel %v, %v", canceled, err)
	}
	if rest := received(t, logs); !slices.Equal(rest, []string{"-1"}) {
		t.Errorf("the log ends with %q", rest)
	}
	after, err := c.tasks.StreamTaskLogs(c.ctx(), &soltiv1.StreamTaskLogsRequest{TaskId: id, After: ids[1]})
	if err != nil {
		t.Fatal(err)
	}
	if rest := received(t, after); !slices.Equal(rest, []string{"second", "-1"}) {
		t.Errorf("after %s come %q", ids[1], rest)
	}
	runs, err := c.tasks.ListTaskRuns(c.ctx(), &soltiv1.ListTaskRunsRequest{TaskId: id})
	if err != nil || len(runs.GetRuns()) != 1 || runs.GetRuns()[0].GetStatus() != soltiv1.TaskStatus_TASK_STATUS_CANCELED {
		t.Errorf("runs %v, %v", runs, err)
	}
	version := canceled.GetTask().GetMetadata().GetResourceVersion()
	_, err = c.tasks.DeleteTask(c.ctx(), &soltiv1.DeleteTaskRequest{TaskId: id, ResourceVersion: new(version + 1)})
	refusedAs(t, err, codes.FailedPrecondition, "PreconditionFailed")
	if got := d.task(id).ended(); got != "CANCELED Canceled" { // over HTTP it is the same task
		t.Errorf("after a delete that was refused: %s", got)
	}
	for _, resource := range []*uint64{&version, nil} { // and once more, when it is gone
		if _, err := c.tasks.DeleteTask(c.ctx(), &soltiv1.DeleteTaskRequest{TaskId: id, ResourceVersion: resource}); err != nil {
			t.Errorf("delete: %v", err)
		}
	}
	_, err = c.tasks.GetTaskStatus(c.ctx(), &soltiv1.GetTaskStatusRequest{TaskId: id})
	refusedAs(t, err, codes.NotFound, "TaskNotFound")
}

func TestIdempotencyKeysHoldOverGRPCAndHTTP(t *testing.T) {
	t.Parallel()
	d := serve(t)
	c := d.call()
	first := d.submit(command("lane", "true"), "Idempotency-Key", "k")
	again, err := c.tasks.SubmitTask(c.ctx(), &soltiv1.SubmitTaskRequest{Spec: specOf(t, command("lane", "true")), IdempotencyKey: new("k")})
	if err != nil || again.GetTaskId() != first {
		t.Errorf("got %v, %v; want %s", again, err, first)
	}
	_, err = c.tasks.SubmitTask(c.ctx(), &soltiv1.SubmitTaskRequest{Spec: specOf(t, command("lane", "false")), IdempotencyKey: new("k")})
	refusedAs(t, err, codes.FailedPrecondition, "IdempotencyKeyReused")
}

func TestABatchAndItsSlotsOverGRPC(t *testing.T) {
	t.Parallel()
	d := serve(t)
	c := d.call()
	waits := specOf(t, shell("lane", "exec sleep 1000").with("admission", queue))
	got, err := c.more.SubmitTasks(c.ctx(), &slotdv1.SubmitTasksRequest{Specs: []*soltiv1.CreateSpec{waits, {}, waits, specOf(t, shell("lane", "true"))}})
	if err != nil || len(got.GetResults()) != 4 {
		t.Fatalf("got %v, %v", got, err)
	}
	holder, queued := got.GetResults()[0].GetTaskId(), got.GetResults()[2].GetTaskId()
	if holder == "" || queued == "" || got.GetResults()[1].GetError() != "InvalidRequest" || got.GetResults()[3].GetError() != "SlotBusy" {
		t.Fatalf("results %v", got.GetResults())
	}
	slots, err := c.more.ListSlots(c.ctx(), &slotdv1.ListSlotsRequest{})
	if err != nil || len(slots.GetSlots()) != 1 || slots.GetSlots()[0].GetHolder() != holder || !slices.Equal(slots.GetSlots()[0].GetQueue(), []string{queued}) {
		t.Errorf("slots %v, %v", slots, err)
	}
	purged, err := c.more.PurgeSlotTasks(c.ctx(), &slotdv1.PurgeSlotTasksRequest{Slot: "lane", Holder: true})
	slices.Sort(purged.GetTaskIds())
	if err != nil || !slices.Equal(purged.GetTaskIds(), []string{holder, queued}) {
		t.Errorf("purged %v, %v", purged, err)
	}
	slot, err := c.more.GetSlot(c.ctx(), &slotdv1.GetSlotRequest{Slot: "lane"})
	if err != nil || slot.GetSlot().GetPhase() != "idle" {
		t.Errorf("slot %v, %v", slot, err)
	}
}

func TestStreamsEndWhenTheDaemonStops(t *testing.T) {
	t.Parallel()
	d := serve(t)
	c := d.call()
	health, err := healthpb.NewHealthClient(c).Check(c.ctx(), &healthpb.HealthCheckRequest{})
	if err != nil || health.GetStatus() != healthpb.HealthCheckResponse_SERVING {
		t.Errorf("health %v, %v", health, err)
	}
	id := c.submit(shell("lane", "exec sleep 1000").with("restart", "RESTART_STRATEGY_ALWAYS"))
	c.wait(id, "running")
	logs, err := c.tasks.StreamTaskLogs(c.ctx(), &soltiv1.StreamTaskLogsRequest{TaskId: id})
	if err != nil {
		t.Fatal(err)
	}
	if e, err := logs.Recv(); err != nil || brief(e) != "+1" {
		t.Fatalf("got %v, %v", e, err)
	}
	if code := d.stop(syscall.SIGTERM); code != 0 {
		t.Errorf("exit code %d", code)
	}
	if e, err := logs.Recv(); err != nil || brief(e) != "-1" {
		t.Fatalf("got %v, %v", e, err)
	}
	_, err = logs.Recv()
	refusedAs(t, err, codes.Unavailable, "Unavailable")
}
