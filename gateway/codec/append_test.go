package codec_test

import (
	"bytes"
	"encoding/json"
	"math"
	"testing"

	"github.com/google/go-cmp/cmp"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"

	"slotd/gateway/codec"
	slotdv1 "slotd/messages/slotd/v1"
	soltiv1 "slotd/messages/solti/v1"
)

func TestAppendWritesTheDocumentedForm(t *testing.T) {
	for name, c := range map[string]struct {
		message proto.Message
		want    string
	}{
		"nil": {nil, `{}`},
		"plain fields are always present, optional ones and messages only when set": {
			&soltiv1.TaskData{Status: &soltiv1.TaskStatusInfo{ExitCode: new(int32(0))}},
			`{"status":{"phase":"TASK_STATUS_UNSPECIFIED","attempt":0,"exitCode":0,"terminal":false}}`,
		},
		"64-bit integers are strings": {
			&soltiv1.ObjectMeta{Id: "x", CreatedAt: -1, ResourceVersion: math.MaxUint64},
			`{"id":"x","createdAt":"-1","updatedAt":"0","resourceVersion":"18446744073709551615"}`,
		},
		"lists and maps are present when empty": {
			&soltiv1.RunnerSelector{},
			`{"matchLabels":{},"matchExpressions":[]}`,
		},
		"map keys are sorted": {
			&soltiv1.RunnerSelector{MatchLabels: map[string]string{"b": "2", "a": "1", "c": "3"}},
			`{"matchLabels":{"a":"1","b":"2","c":"3"},"matchExpressions":[]}`,
		},
		"an enum number without a name stays a number": {
			&soltiv1.SelectorRequirement{Operator: 99},
			`{"key":"","operator":99,"values":[]}`,
		},
		"strings are escaped, and made UTF-8": {
			&soltiv1.CustomRuntime{Command: "a\"\\\n\r\t\x00\x1fé€😀", Flag: "x\xffy\xc3"},
			`{"command":"a\"\\\n\r\t\u0000\u001fé€😀","flag":"x` + "\uFFFD" + `y` + "\uFFFD" + `"}`,
		},
		"bytes are base64": {
			&soltiv1.OutputChunkProto{Line: []byte{0xff, 0xfe}},
			`{"attempt":0,"stream":"OUTPUT_STREAM_KIND_UNSPECIFIED","seq":"0","ts":"0","line":"//4=","truncated":false}`,
		},
		"doubles are short": {
			&soltiv1.BackoffStrategy{Factor: 1.5e-9},
			`{"jitter":"JITTER_STRATEGY_UNSPECIFIED","firstMs":"0","maxMs":"0","factor":1.5e-09}`,
		},
		"doubles that are no number are strings": {
			&soltiv1.BackoffStrategy{Factor: math.Inf(-1)},
			`{"jitter":"JITTER_STRATEGY_UNSPECIFIED","firstMs":"0","maxMs":"0","factor":"-Infinity"}`,
		},
	} {
		if diff := cmp.Diff(string(codec.Append(nil, c.message)), c.want); diff != "" {
			t.Errorf("%s (-got +want):\n%s", name, diff)
		}
	}
}

// samples are messages with every field of the API set.
func samples() []proto.Message {
	spec := &soltiv1.CreateSpec{
		Slot: "build", TimeoutMs: 60000, Restart: soltiv1.RestartStrategy_RESTART_STRATEGY_ALWAYS, RestartIntervalMs: new(uint64(5)),
		Backoff:   &soltiv1.BackoffStrategy{Jitter: soltiv1.JitterStrategy_JITTER_STRATEGY_FULL, FirstMs: 1, MaxMs: 2, Factor: 1.25},
		Admission: soltiv1.AdmissionStrategy_ADMISSION_STRATEGY_QUEUE, Labels: map[string]string{"app": "x", "a.b/c": ""},
		MaxRetries: new(uint32(3)), StopGraceMs: new(uint64(0)),
		RunnerSelector: &soltiv1.RunnerSelector{MatchExpressions: []*soltiv1.SelectorRequirement{{Key: "k", Operator: soltiv1.SelectorOperator_SELECTOR_OPERATOR_IN, Values: []string{"v"}}}},
		Limits:         &soltiv1.ResourceLimits{MemoryBytes: new(uint64(1 << 40)), Pids: new(uint64(9))},
		Kind: &soltiv1.TaskKind{Kind: &soltiv1.TaskKind_Subprocess{Subprocess: &soltiv1.SubprocessTask{
			Mode: &soltiv1.SubprocessTask_Script{Script: &soltiv1.ScriptMode{
				Runtime: &soltiv1.ScriptMode_WellKnown{WellKnown: soltiv1.ScriptRuntime_SCRIPT_RUNTIME_BASH}, Body: "ZQ==", Args: []string{"a", "", "\u2028"},
			}},
			Env: []*soltiv1.KeyValue{{Key: "K", Value: "v"}, {Key: "S", Value: "***", Secret: true}}, Cwd: new("/tmp"), FailOnNonZero: new(false),
		}}},
	}
	return []proto.Message{
		&soltiv1.ListTasksResponse{Total: 1, Tasks: []*soltiv1.TaskData{{
			Metadata: &soltiv1.ObjectMeta{Id: "tsk_1", CreatedAt: 1, UpdatedAt: 2, ResourceVersion: 3}, Spec: spec,
			Status: &soltiv1.TaskStatusInfo{Phase: soltiv1.TaskStatus_TASK_STATUS_FAILED, Attempt: 2, Error: new("x"), Signal: new(int32(9)), Terminal: true, NextAttemptAt: new(int64(4))},
		}}},
		&soltiv1.SubmitTaskRequest{Spec: &soltiv1.CreateSpec{Kind: &soltiv1.TaskKind{Kind: &soltiv1.TaskKind_Container{Container: &soltiv1.ContainerTask{
			Image: "i", Mounts: []*soltiv1.Mount{{Source: "/a", Target: "/b", ReadOnly: true}}, Network: new("host"), Pull: new("never"),
		}}}}, IdempotencyKey: new("k")},
		&slotdv1.IntrospectResponse{
			Node: "n", Tasks: map[string]uint64{"running": 1}, Decisions: &slotdv1.DecisionCounters{Queued: 4},
			Latencies: map[string]*slotdv1.LatencyView{"commit": {Count: 1, Max: 2}, "attempt_spawn": {}},
			Queues:    []*slotdv1.QueueDepth{{Slot: "a", Depth: 2}},
		},
		&slotdv1.SlotView{Slot: "a", Phase: "idle", Holder: new("t"), Queue: []string{"u"}, Counters: &slotdv1.DecisionCounters{}},
	}
}

func TestAppendSaysTheSameAsProtojson(t *testing.T) {
	for _, m := range samples() {
		theirs, err := protojson.MarshalOptions{EmitDefaultValues: true}.Marshal(m)
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(generic(t, codec.Append(nil, m)), generic(t, theirs)); diff != "" {
			t.Errorf("%T (-ours +protojson):\n%s", m, diff)
		}
	}
}

func TestWhatIsWrittenIsReadBack(t *testing.T) {
	for _, m := range samples() {
		text := codec.Append(nil, m)
		back := m.ProtoReflect().New().Interface()
		if err := codec.Decode(text, back); err != nil {
			t.Errorf("%T: %v", m, err)
		}
		if !proto.Equal(back, m) {
			t.Errorf("%T: got %v, want %v", m, back, m)
		}
		if again := codec.Append(nil, back); !bytes.Equal(again, text) {
			t.Errorf("%T is not deterministic:\n%s\n%s", m, text, again)
		}
	}
}

func generic(t *testing.T, text []byte) any {
	t.Helper()
	decoder := json.NewDecoder(bytes.NewReader(text))
	decoder.UseNumber()
	var v any
	if err := decoder.Decode(&v); err != nil {
		t.Fatalf("%v in %s", err, text)
	}
	return v
}

// TestEveryMessageSuitsTheCodec guards what reading takes for granted: at most 64 fields, string keys, no recursion, and
// no kind that is left out.
func TestEveryMessageSuitsTheCodec(t *testing.T) {
	var walk func(md protoreflect.MessageDescriptor, above []protoreflect.FullName)
	walk = func(md protoreflect.MessageDescriptor, above []protoreflect.FullName) {
		for _, name := range above {
			if name == md.FullName() {
				t.Fatalf("%s contains itself", name)
			}
		}
		if md.Fields().Len() > 64 {
			t.Errorf("%s has more than 64 fields", md.FullName())
		}
		for i := range md.Fields().Len() {
			fd := md.Fields().Get(i)
			switch {
			case fd.IsMap() && fd.MapKey().Kind() != protoreflect.StringKind:
				t.Errorf("%s has keys that are no strings", fd.FullName())
			case fd.Kind() == protoreflect.FloatKind, fd.Kind() == protoreflect.GroupKind:
				t.Errorf("%s is a %s", fd.FullName(), fd.Kind())
			case fd.Message() != nil:
				walk(fd.Message(), append(above, md.FullName()))
			}
		}
	}
	for _, file := range []protoreflect.FileDescriptor{soltiv1.File_solti_v1_api_proto, soltiv1.File_solti_v1_task_proto, slotdv1.File_slotd_v1_supervisor_proto} {
		for i := range file.Messages().Len() {
			walk(file.Messages().Get(i), nil)
		}
	}
}

func BenchmarkAppendTask(b *testing.B) {
	page, _ := samples()[0].(*soltiv1.ListTasksResponse)
	var out []byte
	for b.Loop() {
		out = codec.Append(out[:0], page.GetTasks()[0])
	}
	b.SetBytes(int64(len(out)))
}
