package messages

import (
	"bytes"
	"errors"
	"fmt"
	"strings"
	"testing"

	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"

	soltiv1 "slotd/messages/solti/v1"
)

func FuzzParseSelector(f *testing.F) {
	for _, s := range []string{
		"", "a", "!a", "a=b", "a==b,c!=d", "a in (b,c),d notin (,e)", "in in (in)", "x.io/a= ,b", "a in (", "a,,b", "!!a", "a=\xff", "a>1", "é=ü",
	} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, text string) {
		s, err := ParseSelector(text)
		if err != nil {
			if got := problemsOf(t, err); len(got) != 1 || !strings.HasPrefix(got[0], "label_selector: at position ") {
				t.Fatalf("got %q", got)
			}
			return
		}
		again, err := ParseSelector(s.String())
		if err != nil || fmt.Sprint(again.requirements) != fmt.Sprint(s.requirements) {
			t.Fatalf("%q became %q and then %q, %v", text, s, again, err)
		}
		labels := map[string]string{}
		for _, r := range s.requirements {
			if r.op == in {
				labels[r.key] = r.values[0]
			}
			if r.op == exists && labels[r.key] == "" {
				labels[r.key] = ""
			}
		}
		if s.Matches(labels) != again.Matches(labels) {
			t.Fatalf("%q and %q differ on %v", s, again, labels)
		}
	})
}

func FuzzParseID(f *testing.F) {
	for _, s := range []string{
		"", "tsk_", "tsk_01JAAAAAAAAAAAAAAAAAAAAA70", "tsk_01jaaaaaaaaaaaaaaaaaaaaa70", "tsk_7ZZZZZZZZZZZZZZZZZZZZZZZZZ", "tsk_00000000000000000000000000", "01JAAAAAAAAAAAAAAAAAAAAA70",
	} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, text string) {
		id, err := ParseID(text)
		if err != nil {
			return
		}
		if id.Shard >= shards || id.Time.UnixMilli() < 0 {
			t.Fatalf("%q: got %v", text, id)
		}
		if !ValidIDPrefix(text) || !ValidIDPrefix(text[:len(text)-1]) {
			t.Fatalf("%q is an id, but no id begins so", text)
		}
		if strings.HasPrefix(text, "tsk_7ZZZZZZZZZ") {
			return // the last millisecond has no room above
		}
		next := NewMinter(text).Mint(id.Time, "a")
		if next <= text {
			t.Fatalf("%s follows %s", next, text)
		}
	})
}

func FuzzParseStatus(f *testing.F) {
	for _, s := range []string{"", "running", "TASK_STATUS_FAILED", "Task_Status_Timeout", "task_status_", "unspecified", "1", "ſucceeded", "runnıng", "fa\xffiled"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, text string) {
		status, err := ParseStatus(text)
		if err != nil {
			if got := problemsOf(t, err); status != 0 || !strings.Contains(got[0], "invalid status") {
				t.Fatalf("%q: got %v, %q", text, status, got)
			}
			return
		}
		if !strings.EqualFold(strings.TrimPrefix(status.String(), statusPrefix), text) && !strings.EqualFold(status.String(), text) {
			t.Fatalf("%q: got %v", text, status)
		}
	})
}

// What Validate lets through can be completed, hashed, stored, shown and sent again, and stays valid.
func FuzzValidateSpec(f *testing.F) {
	for _, s := range []string{
		`{}`,
		`{"slot":"build","timeoutMs":"1000","kind":{"subprocess":{"command":{"command":"echo","args":["hi"]},"env":[{"key":"A","value":"1","secret":true}],"cwd":"/"}}}`,
		`{"slot":"s","timeout_ms":1,"kind":{"subprocess":{"script":{"wellKnown":"SCRIPT_RUNTIME_BASH","body":"ZWNobyBoaQ=="},"failOnNonZero":false}},"maxRetries":0}`,
		`{"slot":"s","timeoutMs":1,"kind":{"subprocess":{"script":{"custom":{"command":"perl","flag":"-e"},"body":"/w=="}}}}`,
		`{"slot":"s","timeoutMs":1,"kind":{"wasm":{"module":"a.wasm","mounts":[{"source":"/a","target":"/b","readOnly":true}]}},"backoff":{"jitter":9,"firstMs":1,"maxMs":2,"factor":"NaN"}}`,
		`{"slot":"s","timeoutMs":1,"kind":{"container":{"image":"busybox","network":"host","pull":"never","env":[{"key":"A"},{"key":"A"}]}},"labels":{"a/b":"c"},"limits":{"pids":"0"}}`,
		`{"slot":"..","restart":3,"admission":2,"stopGraceMs":"3600001","runnerSelector":{"matchLabels":{"":"x"},"matchExpressions":[{"key":"a","operator":1}]}}`,
		`{"kind":{"subprocess":{"command":{"command":"a\u0000"}}},"timeoutMs":"18446744073709551615","backoff":{}}`,
	} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		spec := new(soltiv1.CreateSpec)
		if protojson.Unmarshal(data, spec) != nil {
			return
		}
		given := proto.CloneOf(spec)
		err := Validate(spec)
		if !sameBytes(t, spec, given) {
			t.Fatal("Validate changed the spec")
		}
		Defaults(spec)
		if again := Validate(spec); (again == nil) != (err == nil) {
			t.Fatalf("got %v, and with defaults %v", err, again)
		}
		if err != nil {
			var invalid *InvalidError
			if !errors.As(err, &invalid) || len(invalid.Problems) == 0 {
				t.Fatalf("got %T without problems", err)
			}
			return
		}
		hash := SpecHash(spec)
		sent, err := protojson.Marshal(spec)
		if err != nil {
			t.Fatal(err)
		}
		got := new(soltiv1.CreateSpec)
		if err := protojson.Unmarshal(sent, got); err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(SpecHash(got), hash) {
			t.Fatalf("%s: another spec after a trip through JSON", sent)
		}
		for _, kv := range EnvOf(Redact(spec, false)) {
			if kv.GetValue() != Redacted {
				t.Fatal("a value is shown")
			}
		}
		if !bytes.Equal(SpecHash(spec), hash) {
			t.Fatal("Redact changed the spec")
		}
		if b := BackoffOf(spec); b.First <= 0 || b.First > b.Max || b.Base(1) > b.Max {
			t.Fatalf("got %+v", b)
		}
	})
}

// sameBytes compares encodings, since a factor that is no number equals nothing, itself included.
func sameBytes(t *testing.T, a, b proto.Message) bool {
	t.Helper()
	deterministic := proto.MarshalOptions{Deterministic: true}
	left, err := deterministic.Marshal(a)
	if err != nil {
		t.Fatal(err)
	}
	right, err := deterministic.Marshal(b)
	if err != nil {
		t.Fatal(err)
	}
	return bytes.Equal(left, right)
}
