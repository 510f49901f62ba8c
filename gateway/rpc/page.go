package rpc

import (
	"fmt"
	"slices"
	"strings"

	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"

	"slotd/messages"
	soltiv1 "slotd/messages/solti/v1"
)

// page answers with as many of the tasks as one message holds, values hidden: from the first on, or from the newest back.
func page(tasks []*soltiv1.TaskData, total int, newest bool) (*soltiv1.ListTasksResponse, error) {
	answer := &soltiv1.ListTasksResponse{Total: uint32(total)}
	room := MaxMessage - proto.Size(answer)
	for i := range tasks {
		if newest {
			i = len(tasks) - 1 - i
		}
		shown := messages.RedactTask(tasks[i], false)
		if room -= tagBytes + protowire.SizeBytes(proto.Size(shown)); room < 0 {
			break
		}
		answer.Tasks = append(answer.Tasks, shown)
	}
	if len(tasks) > 0 && len(answer.Tasks) == 0 {
		next := tasks[0]
		if newest {
			next = tasks[len(tasks)-1]
		}
		return nil, rejection(messages.LabelPayloadTooLarge, fmt.Sprintf(
			"the page exceeds %d bytes, the most that a gRPC message holds, with its first task alone, %s; raise offset by one to pass over it, or list over HTTP",
			MaxMessage, next.GetMetadata().GetId()))
	}
	if newest {
		slices.Reverse(answer.Tasks)
	}
	return answer, nil
}

// tagBytes is what the number of a field below 16 takes.
const tagBytes = 1

// maxRunError is what is left of a run's error text in an answer that would be too large, bytes.
const maxRunError = 1 << 10

// shorten cuts the error texts of runs if the answer would be too large. The runs given are shared and left alone.
func shorten(answer *soltiv1.ListTaskRunsResponse) *soltiv1.ListTaskRunsResponse {
	if proto.Size(answer) <= MaxMessage {
		return answer
	}
	short := &soltiv1.ListTaskRunsResponse{Runs: make([]*soltiv1.TaskRunInfo, len(answer.GetRuns()))}
	for i, run := range answer.GetRuns() {
		short.Runs[i] = run
		if text := run.GetError(); len(text) > maxRunError {
			short.Runs[i] = proto.CloneOf(run)
			short.Runs[i].Error = new(strings.ToValidUTF8(text[:maxRunError], "") + "…")
		}
	}
	return short
}
