package rpc_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"google.golang.org/grpc/codes"
	"google.golang.org/protobuf/proto"

	"slotd/gateway/rpc"
	slotdv1 "slotd/messages/slotd/v1"
	soltiv1 "slotd/messages/solti/v1"
)

// large returns tasks whose commands have these sizes.
func large(sizes ...int) []*soltiv1.TaskData {
	var tasks []*soltiv1.TaskData
	for i, size := range sizes {
		k := task(fmt.Sprintf("tsk_%02d", i), running, 1)
		k.GetSpec().GetKind().GetSubprocess().GetCommand().Command = strings.Repeat("x", size)
		tasks = append(tasks, k)
	}
	return tasks
}

// A client that follows the rule of the .proto reads every task once, however large they are.
func TestPagesAreCutToWhatFits(t *testing.T) {
	const mega = 1 << 20
	tasks := large(10, 3*mega, 10, mega, mega, mega, mega-1000, 4*mega-1000, 10)
	var want []string
	for _, k := range tasks {
		want = append(want, k.GetMetadata().GetId())
	}
	for _, newest := range []bool{false, true} {
		n := start(t)
		n.set(tasks...)
		var got []string
		for pages := 1; ; pages++ {
			answer, err := n.tasks.ListTasks(within(t), &soltiv1.ListTasksRequest{Offset: uint32(len(got)), Newest: &newest})
			if err != nil {
				t.Fatal(err)
			}
			if size := proto.Size(answer); size > rpc.MaxMessage || answer.GetTotal() != uint32(len(tasks)) {
				t.Errorf("a page of %d bytes says that there are %d tasks", size, answer.GetTotal())
			}
			var ids []string
			for _, k := range answer.GetTasks() {
				ids = append(ids, k.GetMetadata().GetId())
			}
			if !slices.IsSorted(ids) {
				t.Errorf("a page out of order: %v", ids)
			}
			if newest {
				got = append(slices.Clone(ids), got...)
			} else {
				got = append(got, ids...)
			}
			if len(ids) == 0 || pages > len(tasks) || len(got) == len(tasks) {
				break
			}
		}
		if !slices.Equal(got, want) {
			t.Errorf("newest %v: read %v, want %v", newest, got, want)
		}
	}
}

func TestATaskThatFitsNoAnswerIsNamed(t *testing.T) {
	n := start(t)
	n.set(large(10, rpc.MaxMessage)...)
	_, err := n.tasks.GetTaskStatus(within(t), &soltiv1.GetTaskStatusRequest{TaskId: "tsk_01"})
	refused(t, err, codes.ResourceExhausted, "PayloadTooLarge", "its answer exceeds 4194304 bytes")
	_, err = n.tasks.ListTasks(within(t), &soltiv1.ListTasksRequest{Offset: 1})
	refused(t, err, codes.ResourceExhausted, "PayloadTooLarge", "with its first task alone, tsk_01")
	_, err = n.tasks.ListTasks(within(t), &soltiv1.ListTasksRequest{Newest: new(true)})
	refused(t, err, codes.ResourceExhausted, "PayloadTooLarge", "with its first task alone, tsk_01")
	if answer, err := n.tasks.ListTasks(within(t), &soltiv1.ListTasksRequest{}); err != nil || len(answer.GetTasks()) != 1 {
		t.Errorf("the page before it: %d tasks, %v", len(answer.GetTasks()), err)
	}
}

func TestLongErrorsOfRunsAreCutWhereTheyMustBe(t *testing.T) {
	n := start(t)
	n.set(task("tsk_1", succeeded, 2))
	const long = 20 << 10
	for count, want := range map[int]int{100: long, 256: 1<<10 + len("…")} {
		runs := make([]*soltiv1.TaskRunInfo, count)
		for i := range runs {
			runs[i] = &soltiv1.TaskRunInfo{Attempt: uint32(i + 1), Error: new(strings.Repeat("e", long))}
		}
		n.change(func() { n.runs = runs })
		got, err := n.tasks.ListTaskRuns(within(t), &soltiv1.ListTaskRunsRequest{TaskId: "tsk_1"})
		if err != nil || len(got.GetRuns()) != count {
			t.Fatalf("%d runs: got %d, %v", count, len(got.GetRuns()), err)
		}
		for i, run := range got.GetRuns() {
			if run.GetAttempt() != uint32(i+1) || len(run.GetError()) != want || len(runs[i].GetError()) != long {
				t.Fatalf("%d runs: attempt %d has an error of %d bytes, want %d; the node's own has %d", count, run.GetAttempt(), len(run.GetError()), want, len(runs[i].GetError()))
			}
		}
	}
}

func TestAnAnswerThatFitsNoMessageIsRefusedInWords(t *testing.T) {
	n := start(t)
	queue := make([]string, 150)
	for i := range queue {
		queue[i] = strings.Repeat("q", 30)
	}
	n.change(func() {
		for i := range 1000 {
			n.slots = append(n.slots, &slotdv1.SlotView{Slot: fmt.Sprint(i), Queue: queue})
		}
	})
	_, err := n.more.ListSlots(within(t), &slotdv1.ListSlotsRequest{})
	refused(t, err, codes.ResourceExhausted, "PayloadTooLarge", "its answer exceeds 4194304 bytes")
}
