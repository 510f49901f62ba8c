package logs

import (
	"encoding/json"
	"errors"
	"io"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/testing/protocmp"

	"slotd/messages"
	soltiv1 "slotd/messages/solti/v1"
)

func TestFramesOfTextEventStream(t *testing.T) {
	b := &block{header: header{first: 7, seq: 2, ts: 1712750400123, started: 9, attempt: 1, count: 2, kind: kindStdout}, epoch: 40}
	b.payload = appendLine(appendLine(nil, []byte("hi"), false), []byte("cut"), true)
	lost := *startedBlock(12, 40, 3, 1712750400000)
	code, signal := int32(0), int32(9)
	tests := []struct {
		name string
		got  []byte
		want string
	}{
		{"chunks", b.encoded(messages.EncodeSSE), `event: chunk
id: 14-7-1
data: {"type":"chunk","attempt":1,"stream":"stdout","seq":2,"ts":1712750400123,"line":"hi"}

event: chunk
id: 14-8-1
data: {"type":"chunk","attempt":1,"stream":"stdout","seq":3,"ts":1712750400123,"line":"cut","truncated":true}

`},
		{"from within", b.appendTo(nil, messages.EncodeSSE, 8), `event: chunk
id: 14-8-1
data: {"type":"chunk","attempt":1,"stream":"stdout","seq":3,"ts":1712750400123,"line":"cut","truncated":true}

`},
		{"run-started", lost.encoded(messages.EncodeSSE), `event: run-started
id: 14-12-3
data: {"type":"runStarted","attempt":3,"startedAt":1712750400000}

`},
		{"run-started of a silent task", startedBlock(5, 40, 3, 1).encoded(messages.EncodeSSE), `event: run-started
id: 0-5-3
data: {"type":"runStarted","attempt":3,"startedAt":1}

`},
		{
			"run-finished, exit code", finishedBlock(9, 40, 1, 0, 1712750400456, finish{exitCode: &code}).encoded(messages.EncodeSSE),
			`event: run-finished
id: 14-9-1
data: {"type":"runFinished","attempt":1,"exitCode":0,"finishedAt":1712750400456}

`,
		},
		{
			"run-finished, signal", finishedBlock(9, 40, 1, 0, 3, finish{signal: &signal}).encoded(messages.EncodeSSE),
			`event: run-finished
id: 14-9-1
data: {"type":"runFinished","attempt":1,"signal":9,"finishedAt":3}

`,
		},
		{"run-finished, neither", finishedBlock(9, 40, 1, 0, 3, finish{}).encoded(messages.EncodeSSE), `event: run-finished
id: 14-9-1
data: {"type":"runFinished","attempt":1,"finishedAt":3}

`},
		{"lagged", appendLaggedSSE(nil, eventID{40, 9, 1}, 42), `event: lagged
id: 14-9-1
data: {"type":"lagged","skipped":42}

`},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if diff := cmp.Diff(tt.want, string(tt.got)); diff != "" {
				t.Errorf("frame (-want +got):\n%s", diff)
			}
		})
	}
}

var texts = []string{
	"", "hi", `"`, `\`, `"\`, "\x00", "\x1f\x20\x7f", "\b\f\n\r\t", "a\u2028b\u2029c", "é", "日本語", "😀", "\xff", "\xc3",
	"\xe2\x80", "\xed\xa0\x80", "\xf5\x80\x80\x80", "1234567\"", "12345678\"", "123456789\\abcdefgh\x01ijklmno", "\xc0\xaf",
	"aaaaaaa\xe2\x82\xacbbbbbbb", "\x80aaaaaaa", "\x01\x80\x1f\xa0\"\\ \x1e", "\ufffd", strings.Repeat("x", 1000) + "\x02",
}

func checkText(t *testing.T, s string) {
	t.Helper()
	out := append(appendText([]byte{'"'}, []byte(s)), '"')
	var got string
	if err := json.Unmarshal(out, &got); err != nil {
		t.Fatalf("%q became %q: %v", s, out, err)
	}
	if want := asText(s); got != want {
		t.Errorf("%q became %q, want %q", s, got, want)
	}
	if strings.ContainsAny(string(out), "\n\r\u2028\u2029") {
		t.Errorf("%q became %q, which ends a line", s, out)
	}
}

func TestTextIsEscaped(t *testing.T) {
	for _, s := range texts {
		for shift := range 9 {
			checkText(t, strings.Repeat("-", shift)+s)
			checkText(t, s+strings.Repeat("-", shift))
		}
	}
	for c := range 256 {
		for at := range 8 {
			s := []byte("abcdefgh")
			s[at] = byte(c)
			checkText(t, string(s))
		}
	}
}

func FuzzText(f *testing.F) {
	for _, s := range texts {
		f.Add(s)
	}
	f.Fuzz(checkText)
}

func decodeProto(t *testing.T, data []byte) []*soltiv1.OutputEventProto {
	t.Helper()
	var events []*soltiv1.OutputEventProto
	for len(data) > 0 {
		m, n := protowire.ConsumeBytes(data)
		if n < 0 {
			t.Fatal(protowire.ParseError(n))
		}
		data = data[n:]
		e := new(soltiv1.OutputEventProto)
		if err := proto.Unmarshal(m, e); err != nil {
			t.Fatal(err)
		}
		events = append(events, e)
	}
	return events
}

func TestProtoKeepsRawBytes(t *testing.T) {
	h := newHouse(t)
	h.begin(1)
	h.print(1, stdout, "a", "\xff\x00")
	h.print(1, stderr, "", text(70000))
	signal := int32(15)
	run := h.task.runs[0]
	h.hangUp()
	finished := proto.CloneOf(run)
	finished.FinishedAt, finished.Signal = 1500, &signal
	h.logs.Record(finished)
	c := h.cursor(query(func(q *messages.LogQuery) { q.Encoding = messages.EncodeProto }))
	var got []*soltiv1.OutputEventProto
	for {
		b, err := c.Next(deadline(t))
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		events := decodeProto(t, b.Data)
		if len(events) != b.Events {
			t.Fatalf("%d events, says %d", len(events), b.Events)
		}
		got = append(got, events...)
	}
	chunk := func(id string, s soltiv1.OutputStreamKind, seq uint64, line string, cut bool) *soltiv1.OutputEventProto {
		return &soltiv1.OutputEventProto{Id: id, Kind: &soltiv1.OutputEventProto_Chunk{Chunk: &soltiv1.OutputChunkProto{
			Attempt: 1, Stream: s, Seq: seq, Ts: 5000, Line: []byte(line), Truncated: cut,
		}}}
	}
	want := []*soltiv1.OutputEventProto{
		{Id: "0-1-1", Kind: &soltiv1.OutputEventProto_RunStarted{RunStarted: &soltiv1.RunStartedProto{Attempt: 1, StartedAt: 1000}}},
		chunk("1-2-1", stdout, 0, "a", false),
		chunk("1-3-1", stdout, 1, "\xff\x00", false),
		chunk("1-4-1", stderr, 0, "", false),
		chunk("1-5-1", stderr, 1, text(65536), true),
		{Id: "1-6-1", Kind: &soltiv1.OutputEventProto_RunFinished{RunFinished: &soltiv1.RunFinishedProto{
			Attempt: 1, FinishedAt: 1500, Signal: &signal,
		}}},
	}
	if diff := cmp.Diff(want, got, protocmp.Transform()); diff != "" {
		t.Errorf("events (-want +got):\n%.3000s", diff)
	}
	lagged := decodeProto(t, appendLaggedProto(nil, eventID{1, 9, 1}, 300))
	if len(lagged) != 1 || lagged[0].GetLagged().GetSkipped() != 300 || lagged[0].GetId() != "1-9-1" {
		t.Errorf("lagged is %v", lagged)
	}
}

func TestEventIDs(t *testing.T) {
	for _, s := range []string{"0-1-1", "14-7-0", "mbz1c0ab-18446744-9", "1y2p0ij32e8e7-9223372036854775807-4294967295"} {
		id, err := parseID(s)
		if err != nil || string(id.append(nil)) != s {
			t.Errorf("%q became %+v, %v", s, id, err)
		}
	}
	for _, s := range []string{
		"-", "1", "1-1", "1--1", "-1-1", "01-1-1", "1-01-1", "1-1-01", "A-1-1", "1-1--1", "+1-1-1", "1-+1-1", "1-1-1-1", "--",
		" 1-1-1", "1-1-1 ", "1-1-1\n", "1_0-1-1", "1-1_0-1", "zzzzzzzzzzzzzz-1-1", "1-9223372036854775808-1",
		"1-1-4294967296", strings.Repeat("9", 10000), "\xff-1-1",
	} {
		_, err := parseID(s)
		if _, ok := errors.AsType[*messages.InvalidError](err); !ok || len(err.Error()) > 400 {
			t.Errorf("%.40q: %v", s, err)
		}
	}
}

func FuzzID(f *testing.F) {
	for _, s := range []string{"0-1-1", "mbz1c0ab-18446744-7", "", "--", "1-01-1", "A-1-1", "zzzzzzzzzzzzzz-1-1", "1-1-4294967296"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		id, err := parseID(s)
		if err == nil && string(id.append(nil)) != s {
			t.Errorf("%q became %+v", s, id)
		}
	})
}
