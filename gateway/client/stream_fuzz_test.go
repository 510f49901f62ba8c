package client

import (
	"bytes"
	"errors"
	"io"
	"strings"
	"testing"
	"testing/iotest"

	"google.golang.org/protobuf/proto"
)

// framesOf is what next gives, by the plain reading of the event stream format.
func framesOf(stream string) (frames []frame, id string, whole bool) {
	var data []string
	var current string
	begun := false
	lines := strings.SplitAfter(stream, "\n")
	for _, line := range lines[:len(lines)-1] {
		line = strings.TrimSuffix(strings.TrimSuffix(line, "\n"), "\r")
		if line == "" {
			if current != "" {
				id = current
			}
			if data != nil {
				frames = append(frames, frame{id: current, data: []byte(strings.Join(data, "\n"))})
				current = ""
			}
			data, begun = nil, false
			continue
		}
		name, value, _ := strings.Cut(line, ":")
		value = strings.TrimPrefix(value, " ")
		switch name {
		case "id":
			current = value
		case "data":
			data = append(data, value)
		}
		begun = begun || name != ""
	}
	return frames, id, !begun && lines[len(lines)-1] == ""
}

// FuzzFrames: a stream gives the frames that are in it, however its bytes arrive; one that breaks off inside a frame says
// so and does not give that frame.
func FuzzFrames(f *testing.F) {
	for _, stream := range []string{
		"", "\n\n", "id: 1\nevent: chunk\ndata: {}\n\n", "id:1\r\ndata:a\r\ndata: b\r\n\r\n: alive\n\ndata\n\n", "data: a", "data: a\n", "id: 7\n\ndata: x\n\n",
		": \n\n: \n", "id\ndata: x\n\n", "data:  two blanks\n\n", "retry: 5\n\n", ":\n", "\xef\xbb\xbfdata: a\n\n", "data: a\r\rdata: b\n\n", "id: a\x00b\ndata:\n\n",
	} {
		f.Add(stream)
	}
	f.Fuzz(func(t *testing.T, stream string) {
		want, id, whole := framesOf(stream)
		for name, reader := range map[string]io.Reader{
			"at once": strings.NewReader(stream), "by bytes": iotest.OneByteReader(strings.NewReader(stream)),
			"with its end": iotest.DataErrReader(strings.NewReader(stream)),
		} {
			lines := 0
			frames := newFrameReader(reader, func() { lines++ })
			for i := 0; ; i++ {
				fr, err := frames.next()
				if err != nil {
					if i != len(want) || frames.id != id || lines != strings.Count(stream, "\n") {
						t.Fatalf("%q %s: %d frames of %d, id %q, want %q, %d lines", stream, name, i, len(want), frames.id, id, lines)
					}
					if end := map[bool]error{true: io.EOF, false: io.ErrUnexpectedEOF}[whole]; !errors.Is(err, end) {
						t.Fatalf("%q %s: ends with %v, want %v", stream, name, err, end)
					}
					break
				}
				if i >= len(want) || fr.id != want[i].id || !bytes.Equal(fr.data, want[i].data) {
					t.Fatalf("%q %s: frame %d is %q, %q", stream, name, i, fr.id, fr.data)
				}
			}
		}
	})
}

// FuzzLogEvent: an event that is understood is written so that it is understood the same.
func FuzzLogEvent(f *testing.F) {
	for _, data := range []string{
		`{"type":"runStarted","attempt":1,"startedAt":1712750400000}`,
		`{"type":"chunk","attempt":1,"stream":"stderr","seq":0,"ts":1712750400123,"line":"hi \u0000 \ud800 é","truncated":true}`,
		`{"type":"runFinished","attempt":4294967295,"exitCode":-1,"signal":9,"finishedAt":-1}`,
		`{"type":"lagged","skipped":18446744073709551615}`, `{"type":"later"}`, `{"type":"lagged","skipped":-1}`, `{"TYPE":"lagged"}`, `null`, `[]`, `{"type":`, `{}{}`,
	} {
		f.Add([]byte(data))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		first, err := eventOf(frame{id: "1-2-3", data: data})
		if err != nil || first == nil {
			return
		}
		written, err := MarshalEvent(first)
		if err != nil || bytes.ContainsAny(written, "\r\n") {
			t.Fatalf("%q became %q, %v", data, written, err)
		}
		again, err := eventOf(frame{id: "1-2-3", data: written})
		if err != nil || !proto.Equal(first, again) {
			t.Fatalf("%q became %q, which is %v and not %v: %v", data, written, again, first, err)
		}
	})
}

// FuzzTransition is the same for events of tasks and slots.
func FuzzTransition(f *testing.F) {
	for _, data := range []string{
		`{"type":"task","slot":"a","taskId":"tsk_1","phase":"TASK_STATUS_RUNNING","attempt":1,"time":5,"terminal":false,"resourceVersion":2,"deleted":false}`,
		`{"type":"task","slot":"a","taskId":"tsk_1","phase":"LATER","reason":"","exitCode":0,"signal":-9,"nextAttemptAt":1,"node":"n","time":-1}`,
		`{"type":"slot","slot":"a","phase":"idle","replacement":"","queued":18446744073709551615}`,
		`{"type":"gap","skipped":3,"time":1}`, `{"type":"gap","skipped":null}`, `{"type":"later"}`, `{"type":"gap","time":1.5}`, `null`, `"gap"`, `{`,
	} {
		f.Add([]byte(data))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		first, err := transitionOf(frame{id: "1-2", data: data})
		if err != nil || first == nil {
			return
		}
		written, err := MarshalTransition(first)
		if err != nil || bytes.ContainsAny(written, "\r\n") {
			t.Fatalf("%q became %q, %v", data, written, err)
		}
		again, err := transitionOf(frame{id: "1-2", data: written})
		if err != nil || !proto.Equal(first, again) {
			t.Fatalf("%q became %q, which is %v and not %v: %v", data, written, again, first, err)
		}
	})
}
