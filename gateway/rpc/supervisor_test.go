package rpc_test

import (
	"context"
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/testing/protocmp"

	"slotd/messages"
	slotdv1 "slotd/messages/slotd/v1"
	soltiv1 "slotd/messages/solti/v1"
)

func TestABatchIsAnsweredSpecBySpec(t *testing.T) {
	n := start(t)
	n.change(func() {
		n.answer = func(command proto.Message) proto.Message {
			submit, ok := command.(*slotdv1.Submit)
			if !ok || submit.GetSpec().GetSlot() == "busy" {
				return messages.Reject(messages.LabelSlotBusy, "held by tsk_1", 0)
			}
			return &slotdv1.Submitted{TaskId: "tsk_" + submit.GetSpec().GetSlot()}
		}
	})
	got, err := n.more.SubmitTasks(within(t), &slotdv1.SubmitTasksRequest{Specs: []*soltiv1.CreateSpec{spec("a"), spec("busy"), {}, spec("b")}})
	if err != nil || len(got.GetResults()) != 4 {
		t.Fatalf("got %v, %v", got, err)
	}
	third := got.GetResults()[2]
	if third.TaskId != nil || third.GetError() != "InvalidRequest" || !strings.Contains(third.GetMessage(), "spec.slot cannot be empty") {
		t.Errorf("an invalid spec: %v", third)
	}
	got.Results[2] = nil
	want := &slotdv1.SubmitTasksResponse{Results: []*slotdv1.SubmitTasksResult{
		{TaskId: new("tsk_a")}, {Error: new("SlotBusy"), Message: new("held by tsk_1")}, nil, {TaskId: new("tsk_b")},
	}}
	if diff := cmp.Diff(want, got, protocmp.Transform()); diff != "" {
		t.Errorf("results (-want +got):\n%s", diff)
	}
}

func TestABatchHasAThousandSpecs(t *testing.T) {
	n := start(t)
	specs := make([]*soltiv1.CreateSpec, 1001)
	for i := range specs {
		specs[i] = &soltiv1.CreateSpec{}
	}
	if got, err := n.more.SubmitTasks(within(t), &slotdv1.SubmitTasksRequest{Specs: specs[:1000]}); err != nil || len(got.GetResults()) != 1000 {
		t.Errorf("1000: %d results, %v", len(got.GetResults()), err)
	}
	_, err := n.more.SubmitTasks(within(t), &slotdv1.SubmitTasksRequest{Specs: specs})
	refused(t, err, codes.InvalidArgument, "InvalidRequest", "specs: a batch has at most 1000 specs; send several batches")
	_, err = n.more.SubmitTasks(within(t), &slotdv1.SubmitTasksRequest{})
	refused(t, err, codes.InvalidArgument, "InvalidRequest", "specs: a batch has 1 to 1000 specs, this one has none")
}

func TestManyLongSentencesFitTheAnswerOfABatch(t *testing.T) {
	n := start(t)
	bad := spec("a")
	bad.Labels = map[string]string{}
	for i := range 80 {
		bad.Labels[fmt.Sprintf("!%d", i)] = "!"
	}
	if err := messages.Validate(bad); err == nil || len(err.Error()) < 5<<10 {
		t.Fatalf("the sentence is too short for this test: %v", err)
	}
	specs := []*soltiv1.CreateSpec{spec("a")}
	for range 999 {
		specs = append(specs, bad)
	}
	got, err := n.more.SubmitTasks(within(t), &slotdv1.SubmitTasksRequest{Specs: specs})
	if err != nil || len(got.GetResults()) != 1000 || got.GetResults()[0].GetTaskId() != "tsk_new" {
		t.Errorf("%d results, %v", len(got.GetResults()), err)
	}
	if last := got.GetResults()[999]; last.GetError() != "InvalidRequest" || len(last.GetMessage()) > 2<<10 {
		t.Errorf("%s with a sentence of %d bytes", last.GetError(), len(last.GetMessage()))
	}
}

func TestCancelAnswersWithTheTask(t *testing.T) {
	n := start(t)
	n.set(task("tsk_1", succeeded, 4))
	n.answers(&slotdv1.TaskEnded{TaskId: "tsk_1"})
	for _, grace := range []*uint64{nil, new(uint64(0)), new(uint64(2000)), new(uint64(3_600_000))} {
		got, err := n.more.CancelTask(within(t), &slotdv1.CancelTaskRequest{TaskId: "tsk_1", GraceMs: grace})
		if err != nil || got.GetTask().GetMetadata().GetResourceVersion() != 4 {
			t.Errorf("got %v, %v", got, err)
		}
		if diff := cmp.Diff(proto.Message(&slotdv1.Cancel{TaskId: "tsk_1", GraceMs: grace}), n.last(), protocmp.Transform()); diff != "" {
			t.Errorf("command (-want +got):\n%s", diff)
		}
	}
	_, err := n.more.CancelTask(within(t), &slotdv1.CancelTaskRequest{TaskId: "tsk_1", GraceMs: new(uint64(3_600_001))})
	refused(t, err, codes.InvalidArgument, "InvalidRequest", "grace_ms must be ≤ 3600000, not 3600001")
	_, err = n.more.CancelTask(within(t), &slotdv1.CancelTaskRequest{TaskId: "gone"})
	refused(t, err, codes.NotFound, "TaskNotFound", "gone")
}

// What was sent to the registry is not taken back when nobody waits for the answer any more.
func TestAClientThatHangsUpDoesNotUndoWhatItAskedFor(t *testing.T) {
	n := start(t)
	n.answers(nil)
	for what, ask := range map[string]func(ctx context.Context) error{
		"cancel": func(ctx context.Context) error {
			_, err := n.more.CancelTask(ctx, &slotdv1.CancelTaskRequest{TaskId: "tsk_1"})
			return err
		},
		"purge": func(ctx context.Context) error {
			_, err := n.more.PurgeSlotTasks(ctx, &slotdv1.PurgeSlotTasksRequest{Slot: "a", Holder: true})
			return err
		},
	} {
		ctx, hangUp := context.WithCancel(within(t))
		done := make(chan error, 1)
		go func() { done <- ask(ctx) }()
		receive(t, n.asked, "the command of "+what)
		hangUp()
		if err := receive(t, done, "the end of "+what); status.Code(err) != codes.Canceled {
			t.Errorf("%s: %v", what, err)
		}
	}
}

func TestSlotsAreShownAndPurged(t *testing.T) {
	n := start(t)
	view := &slotdv1.SlotView{Slot: "a", Phase: "occupied", Holder: new("tsk_1"), Queue: []string{"tsk_2"}}
	n.change(func() { n.slots = []*slotdv1.SlotView{view} })
	list, err := n.more.ListSlots(within(t), &slotdv1.ListSlotsRequest{})
	if err != nil || len(list.GetSlots()) != 1 || !proto.Equal(list.GetSlots()[0], view) {
		t.Errorf("list %v, %v", list, err)
	}
	one, err := n.more.GetSlot(within(t), &slotdv1.GetSlotRequest{Slot: "b"})
	if err != nil || one.GetSlot().GetPhase() != "idle" || one.GetSlot().GetSlot() != "b" {
		t.Errorf("get %v, %v", one, err)
	}
	n.answers(&slotdv1.SlotPurged{TaskIds: []string{"tsk_2"}})
	purged, err := n.more.PurgeSlotTasks(within(t), &slotdv1.PurgeSlotTasksRequest{Slot: "a", Holder: true})
	if err != nil || fmt.Sprint(purged.GetTaskIds()) != "[tsk_2]" || !proto.Equal(n.last(), &slotdv1.PurgeSlot{Slot: "a", Holder: true}) {
		t.Errorf("purge %v, %v; sent %v", purged, err, n.last())
	}
	for _, bad := range []string{"", " ", "..", "a/b", strings.Repeat("x", 65)} {
		_, get := n.more.GetSlot(within(t), &slotdv1.GetSlotRequest{Slot: bad})
		refused(t, get, codes.InvalidArgument, "InvalidRequest", "slot ")
		_, purge := n.more.PurgeSlotTasks(within(t), &slotdv1.PurgeSlotTasksRequest{Slot: bad})
		refused(t, purge, codes.InvalidArgument, "InvalidRequest", "slot ")
	}
}

func TestTheNodeIsDescribed(t *testing.T) {
	n := start(t)
	nodes, err := n.more.ListNodes(within(t), &slotdv1.ListNodesRequest{})
	if err != nil || len(nodes.GetNodes()) != 1 || nodes.GetNodes()[0].GetName() != "here" {
		t.Errorf("nodes %v, %v", nodes, err)
	}
	figures, err := n.more.Introspect(within(t), &slotdv1.IntrospectRequest{})
	if err != nil || figures.GetNode() != "here" || figures.GetGoroutines() != 12 {
		t.Errorf("introspect %v, %v", figures, err)
	}
	version, err := n.more.GetVersion(within(t), &slotdv1.GetVersionRequest{})
	if err != nil || version.GetVersion() != "1.2.3" || version.GetApi() != "v1" {
		t.Errorf("version %v, %v", version, err)
	}
}
