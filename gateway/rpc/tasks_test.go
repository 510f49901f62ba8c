package rpc_test

import (
	"context"
	"reflect"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/testing/protocmp"

	"slotd/messages"
	slotdv1 "slotd/messages/slotd/v1"
	soltiv1 "slotd/messages/solti/v1"
)

func TestSubmitSendsTheSpecWithItsDefaults(t *testing.T) {
	n := start(t)
	got, err := n.tasks.SubmitTask(within(t), &soltiv1.SubmitTaskRequest{Spec: spec("a"), IdempotencyKey: new("k")})
	if err != nil || got.GetTaskId() != "tsk_new" {
		t.Fatalf("got %v, %v", got, err)
	}
	want := spec("a")
	messages.Defaults(want)
	if diff := cmp.Diff(proto.Message(&slotdv1.Submit{Spec: want, IdempotencyKey: "k"}), n.last(), protocmp.Transform()); diff != "" {
		t.Errorf("command (-want +got):\n%s", diff)
	}
}

func TestRefusalsOfTheRegistryReachTheClient(t *testing.T) {
	n := start(t)
	for label, code := range map[string]codes.Code{
		messages.LabelSlotBusy: codes.AlreadyExists, messages.LabelQueueFull: codes.ResourceExhausted, messages.LabelNoRunner: codes.FailedPrecondition,
		messages.LabelIdempotencyKeyReused: codes.FailedPrecondition, messages.LabelUnavailable: codes.Unavailable,
	} {
		n.answers(messages.Reject(label, "because of tsk_1", 0))
		_, err := n.tasks.SubmitTask(within(t), &soltiv1.SubmitTaskRequest{Spec: spec("a")})
		refused(t, err, code, label, "because of tsk_1")
	}
}

func TestADeadlineEndsASubmissionThatIsNotAnswered(t *testing.T) {
	n := start(t)
	n.answers(nil)
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	if _, err := n.tasks.SubmitTask(ctx, &soltiv1.SubmitTaskRequest{Spec: spec("a")}); status.Code(err) != codes.DeadlineExceeded {
		t.Errorf("got %v, want DeadlineExceeded", err)
	}
}

func TestATaskIsShownWithoutItsSecrets(t *testing.T) {
	n := start(t)
	n.set(task("tsk_1", running, 3))
	got, err := n.tasks.GetTaskStatus(within(t), &soltiv1.GetTaskStatusRequest{TaskId: "tsk_1"})
	if err != nil || shown(got.GetTask()) != "PLAIN=visible TOKEN=***" || got.GetTask().GetMetadata().GetResourceVersion() != 3 {
		t.Errorf("got %v, %v", got, err)
	}
	list, err := n.tasks.ListTasks(within(t), &soltiv1.ListTasksRequest{})
	if err != nil || len(list.GetTasks()) != 1 || shown(list.GetTasks()[0]) != "PLAIN=*** TOKEN=***" || list.GetTotal() != 1 {
		t.Errorf("list %v, %v", list, err)
	}
	n.answers(&slotdv1.TaskEnded{TaskId: "tsk_1"})
	canceled, err := n.more.CancelTask(within(t), &slotdv1.CancelTaskRequest{TaskId: "tsk_1"})
	if err != nil || shown(canceled.GetTask()) != "PLAIN=visible TOKEN=***" {
		t.Errorf("cancel %v, %v", canceled, err)
	}
	if kept, _ := n.Task("tsk_1"); shown(kept) != "PLAIN=visible TOKEN=hunter2" {
		t.Errorf("the node's own task was changed: %s", shown(kept))
	}
}

func TestWaitAnswersWhenItHolds(t *testing.T) {
	n := start(t)
	pending := task("tsk_1", running, 1)
	pending.Status.Phase = soltiv1.TaskStatus_TASK_STATUS_PENDING
	n.set(pending)
	type outcome struct {
		version uint64
		err     error
	}
	ask := func(what string) <-chan outcome {
		done := make(chan outcome, 1)
		ctx := within(t)
		go func() {
			got, err := n.tasks.GetTaskStatus(ctx, &soltiv1.GetTaskStatusRequest{TaskId: "tsk_1", WaitMs: new(uint64(300_000)), WaitFor: &what})
			done <- outcome{got.GetTask().GetMetadata().GetResourceVersion(), err}
		}()
		receive(t, n.waiting, "the wait")
		return done
	}
	toRun := ask("running")
	toEnd := ask("terminal")
	n.set(task("tsk_1", running, 2))
	if got := receive(t, toRun, "the answer to a wait for running"); got.version != 2 || got.err != nil {
		t.Errorf("running: %+v", got)
	}
	receive(t, n.waiting, "the second wait for terminal")
	n.set(task("tsk_1", succeeded, 3))
	if got := receive(t, toEnd, "the answer to a wait for terminal"); got.version != 3 || got.err != nil {
		t.Errorf("terminal: %+v", got)
	}
}

func TestWaitAnswersTheStateWhenItsTimeIsOver(t *testing.T) {
	n := start(t)
	n.set(task("tsk_1", running, 1))
	got, err := n.tasks.GetTaskStatus(within(t), &soltiv1.GetTaskStatusRequest{TaskId: "tsk_1", WaitMs: new(uint64(20))})
	if err != nil || got.GetTask().GetStatus().GetPhase() != running {
		t.Errorf("got %v, %v", got, err)
	}
	_, err = n.tasks.GetTaskStatus(within(t), &soltiv1.GetTaskStatusRequest{TaskId: "gone", WaitMs: new(uint64(20))})
	refused(t, err, codes.NotFound, "TaskNotFound", `"gone"`)
}

func TestADeadlineBeforeTheEndOfAWaitIsKept(t *testing.T) {
	n := start(t)
	n.set(task("tsk_1", running, 1))
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	_, err := n.tasks.GetTaskStatus(ctx, &soltiv1.GetTaskStatusRequest{TaskId: "tsk_1", WaitMs: new(uint64(300_000))})
	if status.Code(err) != codes.DeadlineExceeded {
		t.Errorf("got %v, want DeadlineExceeded", err)
	}
}

func TestListFiltersAreRead(t *testing.T) {
	n := start(t)
	_, err := n.tasks.ListTasks(within(t), &soltiv1.ListTasksRequest{
		Slot: new("a"), Status: new(running), Limit: 7, Offset: 3, LabelSelector: "team=x", IdPrefix: new("tsk_0"), Terminal: new(false), Newest: new(true),
	})
	if err != nil {
		t.Fatal(err)
	}
	selector, err := messages.ParseSelector("team=x")
	if err != nil {
		t.Fatal(err)
	}
	want := messages.Query{Slot: "a", Status: running, Selector: selector, IDPrefix: "tsk_0", Terminal: new(false), Limit: 7, Offset: 3, Newest: true}
	var got messages.Query
	n.change(func() { got = n.query })
	if diff := cmp.Diff(want, got, cmp.Exporter(func(reflect.Type) bool { return true })); diff != "" {
		t.Errorf("query (-want +got):\n%s", diff)
	}
}

func TestRunsAreListed(t *testing.T) {
	n := start(t)
	n.set(task("tsk_1", succeeded, 2))
	n.change(func() { n.runs = []*soltiv1.TaskRunInfo{{Attempt: 1, Status: succeeded, StartedAt: 5}} })
	got, err := n.tasks.ListTaskRuns(within(t), &soltiv1.ListTaskRunsRequest{TaskId: "tsk_1"})
	if err != nil || len(got.GetRuns()) != 1 || got.GetRuns()[0].GetStartedAt() != 5 {
		t.Errorf("got %v, %v", got, err)
	}
	_, err = n.tasks.ListTaskRuns(within(t), &soltiv1.ListTaskRunsRequest{TaskId: "gone"})
	refused(t, err, codes.NotFound, "TaskNotFound", "gone")
	n.change(func() { n.runs = nil })
	_, err = n.tasks.ListTaskRuns(within(t), &soltiv1.ListTaskRunsRequest{TaskId: "tsk_1"})
	refused(t, err, codes.Internal, "Internal", "the daemon's log has the cause")
}

func TestDeleteSendsTheVersion(t *testing.T) {
	n := start(t)
	n.answers(&slotdv1.TaskEnded{})
	for _, version := range []*uint64{nil, new(uint64(0)), new(uint64(7))} {
		if _, err := n.tasks.DeleteTask(within(t), &soltiv1.DeleteTaskRequest{TaskId: "tsk_1", ResourceVersion: version}); err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(proto.Message(&slotdv1.Delete{TaskId: "tsk_1", ResourceVersion: version}), n.last(), protocmp.Transform()); diff != "" {
			t.Errorf("command (-want +got):\n%s", diff)
		}
	}
	n.answers(messages.Reject(messages.LabelPreconditionFailed, "changed", 0))
	_, err := n.tasks.DeleteTask(within(t), &soltiv1.DeleteTaskRequest{TaskId: "tsk_1", ResourceVersion: new(uint64(7))})
	refused(t, err, codes.FailedPrecondition, "PreconditionFailed", "changed")
}

func TestBlankIDsAreRefused(t *testing.T) {
	n := start(t)
	for _, id := range []string{"", " \t"} {
		_, get := n.tasks.GetTaskStatus(within(t), &soltiv1.GetTaskStatusRequest{TaskId: id})
		_, runs := n.tasks.ListTaskRuns(within(t), &soltiv1.ListTaskRunsRequest{TaskId: id})
		_, remove := n.tasks.DeleteTask(within(t), &soltiv1.DeleteTaskRequest{TaskId: id})
		_, cancel := n.more.CancelTask(within(t), &slotdv1.CancelTaskRequest{TaskId: id})
		for what, err := range map[string]error{"get": get, "runs": runs, "delete": remove, "cancel": cancel, "logs": n.logError(id)} {
			t.Log(what)
			refused(t, err, codes.InvalidArgument, "InvalidRequest", "task_id cannot be empty")
		}
	}
	if sent := n.last(); sent != nil {
		t.Errorf("%v was sent", sent)
	}
}

// logError opens a log and returns how the stream ends.
func (n *node) logError(id string) error {
	stream, err := n.tasks.StreamTaskLogs(within(n.t), &soltiv1.StreamTaskLogsRequest{TaskId: id})
	if err == nil {
		_, err = stream.Recv()
	}
	return err
}
