package ask_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/asynkron/protoactor-go/actor"
	"github.com/google/go-cmp/cmp"
	"google.golang.org/protobuf/proto"

	"slotd/gateway/ask"
	"slotd/messages"
	slotdv1 "slotd/messages/slotd/v1"
	soltiv1 "slotd/messages/solti/v1"
)

// registry starts an actor that answers each command with what reply returns; nil = no answer.
func registry(t *testing.T, reply func(command any) any) (*ask.Registry, *actor.ActorSystem, *actor.PID) {
	t.Helper()
	system := actor.NewActorSystem()
	pid := system.Root.Spawn(actor.PropsFromFunc(func(c actor.Context) {
		if many, ok := c.Message().(*slotdv1.SubmitTasks); ok {
			for i, submit := range many.GetSubmits() {
				asker := many.GetAskers()[i]
				c.Send(&actor.PID{Address: c.Self().GetAddress(), Id: asker.GetId(), RequestId: asker.GetRequest()}, reply(submit))
			}
			return
		}
		if command, ok := c.Message().(proto.Message); ok && c.Sender() != nil {
			if answer := reply(command); answer != nil {
				c.Respond(answer)
			}
		}
	}))
	t.Cleanup(func() {
		if err := system.Root.StopFuture(pid).Wait(); err != nil && !errors.Is(err, actor.ErrDeadLetter) {
			t.Errorf("stop the registry: %v", err)
		}
		system.Shutdown()
	})
	return ask.New(system.Root, pid), system, pid
}

func spec(slot string) *soltiv1.CreateSpec {
	return &soltiv1.CreateSpec{
		Slot: slot, TimeoutMs: 1000,
		Kind: &soltiv1.TaskKind{Kind: &soltiv1.TaskKind_Subprocess{Subprocess: &soltiv1.SubprocessTask{
			Mode: &soltiv1.SubprocessTask_Command{Command: &soltiv1.CommandMode{Command: "true"}},
		}}},
	}
}

func label(err error) string {
	if rejection, ok := errors.AsType[*messages.RejectionError](err); ok {
		return rejection.Rejection.GetLabel()
	}
	return ""
}

func TestSubmitSendsTheSpecWithDefaultsAndTheKey(t *testing.T) {
	var got *slotdv1.Submit
	r, _, _ := registry(t, func(command any) any {
		got, _ = command.(*slotdv1.Submit)
		return &slotdv1.Submitted{TaskId: "tsk_1"}
	})
	id, err := r.Submit(t.Context(), spec("a"), new("key"))
	if err != nil || id != "tsk_1" {
		t.Fatalf("Submit = %q, %v; want tsk_1", id, err)
	}
	if got.GetIdempotencyKey() != "key" || got.GetSpec().GetStopGraceMs() != messages.DefaultStopGraceMs {
		t.Errorf("sent %v, want the key and the default grace", got)
	}
}

func TestSubmitRefusesBeforeSending(t *testing.T) {
	r, _, _ := registry(t, func(command any) any {
		t.Errorf("the registry was sent %v", command)
		return &slotdv1.Submitted{}
	})
	noSlot := spec("")
	for name, c := range map[string]struct {
		spec *soltiv1.CreateSpec
		key  *string
		says string
	}{
		"no spec":   {nil, nil, "missing spec"},
		"no slot":   {noSlot, nil, "slot cannot be empty"},
		"empty key": {spec("a"), new(""), "idempotency_key"},
		"long key":  {spec("a"), new(strings.Repeat("k", 256)), "idempotency_key"},
	} {
		_, err := r.Submit(t.Context(), c.spec, c.key)
		if label(err) != messages.LabelInvalidRequest || !strings.Contains(err.Error(), c.says) {
			t.Errorf("%s: %v, want InvalidRequest about %q", name, err, c.says)
		}
	}
}

func TestARejectionIsAnError(t *testing.T) {
	r, _, _ := registry(t, func(any) any {
		return messages.Reject(messages.LabelSlotBusy, "held by tsk_2", 0)
	})
	if _, err := r.Submit(t.Context(), spec("a"), nil); label(err) != messages.LabelSlotBusy {
		t.Errorf("Submit: %v, want SlotBusy", err)
	}
	if err := r.Cancel(t.Context(), "tsk_1", nil); label(err) != messages.LabelSlotBusy {
		t.Errorf("Cancel: %v, want SlotBusy", err)
	}
}

func TestAnAnswerOfTheWrongTypeIsAFaultOfOurs(t *testing.T) {
	r, _, _ := registry(t, func(any) any { return &slotdv1.Drained{} })
	_, submit := r.Submit(t.Context(), spec("a"), nil)
	_, purge := r.PurgeSlot(t.Context(), "a", false)
	for name, err := range map[string]error{
		"submit": submit, "purge": purge,
		"cancel": r.Cancel(t.Context(), "tsk_1", nil), "delete": r.Delete(t.Context(), "tsk_1", nil),
	} {
		if label(err) != messages.LabelInternal {
			t.Errorf("%s: %v, want Internal", name, err)
		}
	}
}

func TestAStoppedRegistryIsUnavailable(t *testing.T) {
	r, system, pid := registry(t, func(any) any { return nil })
	if err := system.Root.StopFuture(pid).Wait(); err != nil {
		t.Fatal(err)
	}
	if _, err := r.Submit(t.Context(), spec("a"), nil); label(err) != messages.LabelUnavailable {
		t.Errorf("Submit: %v, want Unavailable", err)
	}
	results, err := r.SubmitBatch(t.Context(), []*soltiv1.CreateSpec{spec(""), spec("a"), spec("b"), spec("")})
	if err != nil {
		t.Fatal(err)
	}
	for i, want := range []string{messages.LabelInvalidRequest, messages.LabelUnavailable, messages.LabelUnavailable, messages.LabelInvalidRequest} {
		if label(results[i].Err) != want {
			t.Errorf("result %d is %v, want %s", i, results[i].Err, want)
		}
	}
}

func TestTheCallersContextEndsTheWaitingAndLeavesNoProcess(t *testing.T) {
	asked := make(chan *actor.PID, 1)
	system := actor.NewActorSystem()
	pid := system.Root.Spawn(actor.PropsFromFunc(func(c actor.Context) {
		if _, ok := c.Message().(*slotdv1.Cancel); ok {
			asked <- c.Sender()
		}
	}))
	t.Cleanup(func() {
		if err := system.Root.StopFuture(pid).Wait(); err != nil {
			t.Errorf("stop the registry: %v", err)
		}
		system.Shutdown()
	})
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- ask.New(system.Root, pid).Cancel(ctx, "tsk_1", nil) }()
	sender := <-asked
	cancel()
	if err := <-done; !errors.Is(err, context.Canceled) {
		t.Errorf("Cancel: %v, want context.Canceled", err)
	}
	if _, known := system.ProcessRegistry.Get(sender); known {
		t.Error("the reply is still registered")
	}
}

func TestBatchKeepsTheOrderAndSparesTheValid(t *testing.T) {
	r, _, _ := registry(t, func(command any) any {
		submit, _ := command.(*slotdv1.Submit)
		if submit.GetSpec().GetSlot() == "busy" {
			return messages.Reject(messages.LabelSlotBusy, "held", 0)
		}
		return &slotdv1.Submitted{TaskId: "id-" + submit.GetSpec().GetSlot()}
	})
	results, err := r.SubmitBatch(t.Context(), []*soltiv1.CreateSpec{spec("a"), spec(""), spec("busy"), spec("b")})
	if err != nil {
		t.Fatal(err)
	}
	got := make([]string, len(results))
	for i, result := range results {
		got[i] = result.TaskID + label(result.Err)
	}
	if diff := cmp.Diff(got, []string{"id-a", "InvalidRequest", "SlotBusy", "id-b"}); diff != "" {
		t.Errorf("results (-got +want):\n%s", diff)
	}
	for _, n := range []int{0, ask.MaxBatch + 1} {
		if _, err := r.SubmitBatch(t.Context(), make([]*soltiv1.CreateSpec, n)); label(err) != messages.LabelInvalidRequest {
			t.Errorf("batch of %d: %v, want InvalidRequest", n, err)
		}
	}
}

func TestStopsCarryTheirConditions(t *testing.T) {
	var got []string
	r, _, _ := registry(t, func(command any) any {
		switch m := command.(type) {
		case *slotdv1.Cancel:
			if m.GraceMs == nil {
				got = append(got, "cancel")
			} else {
				got = append(got, "cancel "+time.Duration(m.GetGraceMs()*uint64(time.Millisecond)).String())
			}
			return &slotdv1.TaskEnded{TaskId: m.GetTaskId()}
		case *slotdv1.Delete:
			if m.GetResourceVersion() == 7 {
				got = append(got, "delete 7")
			}
			return &slotdv1.TaskEnded{TaskId: m.GetTaskId()}
		case *slotdv1.PurgeSlot:
			if m.GetHolder() && m.GetSlot() == "a" {
				got = append(got, "purge a")
			}
			return &slotdv1.SlotPurged{TaskIds: []string{"x"}}
		}
		return nil
	})
	ids, purge := r.PurgeSlot(t.Context(), "a", true)
	for name, err := range map[string]error{"purge": purge, "delete": r.Delete(t.Context(), "t", new(uint64(7)))} {
		if err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
	for _, grace := range []*time.Duration{nil, new(time.Duration(0)), new(time.Second), new(time.Microsecond)} {
		if err := r.Cancel(t.Context(), "t", grace); err != nil {
			t.Errorf("cancel: %v", err)
		}
	}
	if diff := cmp.Diff(got, []string{"purge a", "delete 7", "cancel", "cancel 0s", "cancel 1s", "cancel 1ms"}); diff != "" {
		t.Errorf("commands (-got +want):\n%s", diff)
	}
	if diff := cmp.Diff(ids, []string{"x"}); diff != "" {
		t.Errorf("purged (-got +want):\n%s", diff)
	}
}

// A reply takes the next command's answer after its own. What comes twice, or too late, reaches nobody.
func TestAnAnswerGoesToItsOwnCommandOnly(t *testing.T) {
	var before *actor.PID
	system := actor.NewActorSystem()
	pid := system.Root.Spawn(actor.PropsFromFunc(func(c actor.Context) {
		command, ok := c.Message().(*slotdv1.PurgeSlot)
		if !ok {
			return
		}
		if before != nil {
			c.Send(before, &slotdv1.SlotPurged{TaskIds: []string{"late"}})
		}
		before = c.Sender()
		c.Respond(&slotdv1.SlotPurged{TaskIds: []string{command.GetSlot()}})
		c.Respond(&slotdv1.SlotPurged{TaskIds: []string{"twice"}})
	}))
	t.Cleanup(func() {
		if err := system.Root.StopFuture(pid).Wait(); err != nil {
			t.Errorf("stop the registry: %v", err)
		}
		system.Shutdown()
	})
	r := ask.New(system.Root, pid)
	var group sync.WaitGroup
	for _, askers := range []int{1, 8} {
		for i := range askers {
			group.Go(func() {
				for n := range 100 {
					name := fmt.Sprint(i, "-", n)
					if got, err := r.PurgeSlot(t.Context(), name, false); err != nil || len(got) != 1 || got[0] != name {
						t.Errorf("%s was answered with %v, %v", name, got, err)
					}
				}
			})
		}
		group.Wait()
	}
}
