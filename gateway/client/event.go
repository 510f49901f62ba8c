package client

import (
	"bytes"
	"encoding/json"
	"fmt"
	"unicode/utf8"

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
	if chunk, ok := plainChunk(fr.data); ok {
		return &soltiv1.OutputEventProto{Id: fr.id, Kind: &soltiv1.OutputEventProto_Chunk{Chunk: chunk}}, nil
	}
	var e event
	if err := json.Unmarshal(fr.data, &e); err != nil {
		return nil, fmt.Errorf("log event %q: %w", fr.id, err)
	}
	return e.proto(fr.id), nil
}

// proto is the event as a message; nil when it is of a type that this client does not know.
func (e event) proto(id string) *soltiv1.OutputEventProto {
	out := &soltiv1.OutputEventProto{Id: id}
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
		return nil
	}
	return out
}

// plainChunk reads a chunk that is written exactly as daemons write it and has no escapes in its line, which most lines
// have not: several times as fast as encoding/json, to which everything else is left.
func plainChunk(data []byte) (*soltiv1.OutputChunkProto, bool) {
	s := scanner{rest: data, ok: true}
	chunk := &soltiv1.OutputChunkProto{}
	s.expect(`{"type":"chunk","attempt":`)
	chunk.Attempt = uint32(s.number(1<<32 - 1))
	s.expect(`,"stream":`)
	stream := s.text()
	s.expect(`,"seq":`)
	chunk.Seq = s.number(1<<63 - 1)
	s.expect(`,"ts":`)
	chunk.Ts = int64(s.number(1<<63 - 1))
	s.expect(`,"line":`)
	line := s.text()
	if bytes.HasPrefix(s.rest, []byte(`,"truncated":true`)) {
		s.expect(`,"truncated":true`)
		chunk.Truncated = true
	}
	s.expect(`}`)
	if !s.ok || len(s.rest) > 0 {
		return nil, false
	}
	chunk.Stream, chunk.Line = streamOf(string(stream)), bytes.Clone(line)
	return chunk, true
}

// scanner reads JSON of a known form from the front of rest; ok ends with the first thing that is not as expected.
type scanner struct {
	rest []byte
	ok   bool
}

func (s *scanner) expect(text string) {
	if !s.ok || len(s.rest) < len(text) || string(s.rest[:len(text)]) != text {
		s.ok = false
		return
	}
	s.rest = s.rest[len(text):]
}

// number reads a number of at most 18 digits that is not greater than most.
func (s *scanner) number(most uint64) uint64 {
	n, digits := uint64(0), 0
	for digits < len(s.rest) && s.rest[digits] >= '0' && s.rest[digits] <= '9' && digits < 19 {
		n = n*10 + uint64(s.rest[digits]-'0')
		digits++
	}
	if digits == 0 || digits == 19 || n > most || digits > 1 && s.rest[0] == '0' {
		s.ok = false
		return 0
	}
	s.rest = s.rest[digits:]
	return n
}

// text reads a string without escapes.
func (s *scanner) text() []byte {
	s.expect(`"`)
	end := bytes.IndexByte(s.rest, '"')
	if !s.ok || end < 0 {
		s.ok = false
		return nil
	}
	text := s.rest[:end]
	for _, c := range text {
		if c == '\\' || c < ' ' {
			s.ok = false
			return nil
		}
	}
	s.ok = utf8.Valid(text)
	s.rest = s.rest[end+1:]
	return text
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
