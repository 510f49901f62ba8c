package client

import (
	"encoding/json"
	"fmt"

	soltiv1 "slotd/messages/solti/v1"
)

// event is the data of one frame of a log stream: plain JSON, numbers are numbers.
type event struct {
	Type       string `json:"type"`
	Attempt    uint32 `json:"attempt"`
	Stream     string `json:"stream"`
	Seq        uint64 `json:"seq"`
	TS         int64  `json:"ts"`
	Line       string `json:"line"`
	Truncated  bool   `json:"truncated"`
	StartedAt  int64  `json:"startedAt"`
	FinishedAt int64  `json:"finishedAt"`
	ExitCode   *int32 `json:"exitCode"`
	Signal     *int32 `json:"signal"`
	Skipped    uint64 `json:"skipped"`
}

// eventOf decodes a frame; nil when it is of a type that this client does not know.
func eventOf(fr frame) (*soltiv1.OutputEventProto, error) {
	var e event
	if err := json.Unmarshal(fr.data, &e); err != nil {
		return nil, fmt.Errorf("log event %q: %w", fr.id, err)
	}
	out := &soltiv1.OutputEventProto{Id: fr.id}
	switch e.Type {
	case "chunk":
		out.Kind = &soltiv1.OutputEventProto_Chunk{Chunk: &soltiv1.OutputChunkProto{
			Attempt:   e.Attempt,
			Stream:    streamOf(e.Stream),
			Seq:       e.Seq,
			Ts:        e.TS,
			Line:      []byte(e.Line),
			Truncated: e.Truncated,
		}}
	case "runStarted":
		out.Kind = &soltiv1.OutputEventProto_RunStarted{RunStarted: &soltiv1.RunStartedProto{
			Attempt:   e.Attempt,
			StartedAt: e.StartedAt,
		}}
	case "runFinished":
		out.Kind = &soltiv1.OutputEventProto_RunFinished{RunFinished: &soltiv1.RunFinishedProto{
			Attempt:    e.Attempt,
			ExitCode:   e.ExitCode,
			FinishedAt: e.FinishedAt,
			Signal:     e.Signal,
		}}
	case "lagged":
		out.Kind = &soltiv1.OutputEventProto_Lagged{Lagged: &soltiv1.LaggedProto{Skipped: e.Skipped}}
	default:
		return nil, nil
	}
	return out, nil
}

func streamOf(name string) soltiv1.OutputStreamKind {
	if name == "stderr" {
		return soltiv1.OutputStreamKind_OUTPUT_STREAM_KIND_STDERR
	}
	return soltiv1.OutputStreamKind_OUTPUT_STREAM_KIND_STDOUT
}

// MarshalEvent writes a log event as the daemon's stream does: plain JSON on one line, told apart by "type".
func MarshalEvent(e *soltiv1.OutputEventProto) ([]byte, error) {
	switch kind := e.GetKind().(type) {
	case *soltiv1.OutputEventProto_Chunk:
		return json.Marshal(struct {
			Type      string `json:"type"`
			Attempt   uint32 `json:"attempt"`
			Stream    string `json:"stream"`
			Seq       uint64 `json:"seq"`
			TS        int64  `json:"ts"`
			Line      string `json:"line"`
			Truncated bool   `json:"truncated,omitempty"`
		}{
			"chunk", kind.Chunk.GetAttempt(), streamName(kind.Chunk.GetStream()), kind.Chunk.GetSeq(), kind.Chunk.GetTs(),
			string(kind.Chunk.GetLine()), kind.Chunk.GetTruncated(),
		})
	case *soltiv1.OutputEventProto_RunStarted:
		return json.Marshal(struct {
			Type      string `json:"type"`
			Attempt   uint32 `json:"attempt"`
			StartedAt int64  `json:"startedAt"`
		}{"runStarted", kind.RunStarted.GetAttempt(), kind.RunStarted.GetStartedAt()})
	case *soltiv1.OutputEventProto_RunFinished:
		return json.Marshal(struct {
			Type       string `json:"type"`
			Attempt    uint32 `json:"attempt"`
			ExitCode   *int32 `json:"exitCode,omitempty"`
			Signal     *int32 `json:"signal,omitempty"`
			FinishedAt int64  `json:"finishedAt"`
		}{"runFinished", kind.RunFinished.GetAttempt(), kind.RunFinished.ExitCode, kind.RunFinished.Signal, kind.RunFinished.GetFinishedAt()})
	case *soltiv1.OutputEventProto_Lagged:
		return json.Marshal(struct {
			Type    string `json:"type"`
			Skipped uint64 `json:"skipped"`
		}{"lagged", kind.Lagged.GetSkipped()})
	default:
		return nil, fmt.Errorf("log event %q has no kind", e.GetId())
	}
}

func streamName(stream soltiv1.OutputStreamKind) string {
	if stream == soltiv1.OutputStreamKind_OUTPUT_STREAM_KIND_STDERR {
		return "stderr"
	}
	return "stdout"
}
