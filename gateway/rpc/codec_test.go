package rpc_test

import (
	"bytes"
	"runtime"
	"testing"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/encoding"
	_ "google.golang.org/grpc/encoding/proto" // registers the codec that plain stands on
	"google.golang.org/grpc/mem"
	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"

	"slotd/messages"
	slotdv1 "slotd/messages/slotd/v1"
	soltiv1 "slotd/messages/solti/v1"
)

// plain sends bytes as they are.
type plain struct{ encoding.CodecV2 }

func (p plain) Marshal(v any) (mem.BufferSlice, error) {
	if data, ok := v.([]byte); ok {
		return mem.BufferSlice{mem.SliceBuffer(data)}, nil
	}
	return p.CodecV2.Marshal(v)
}

// send calls a method with bytes for a request.
func (n *node) send(method string, request []byte) error {
	n.t.Helper()
	return n.conn.Invoke(within(n.t), method, request, &soltiv1.SubmitTaskResponse{}, grpc.ForceCodecV2(plain{encoding.GetCodecV2("proto")}))
}

func TestRequestsThatCannotBeReadAreTheClientsMistake(t *testing.T) {
	n := start(t)
	badText, err := proto.Marshal(spec("a"))
	if err != nil {
		t.Fatal(err)
	}
	badText = protowire.AppendBytes(protowire.AppendTag(nil, 1, protowire.BytesType), bytes.Replace(badText, []byte("visible"), []byte("vis\xffble"), 1))
	for what, request := range map[string][]byte{
		"a broken field": {0x0a, 0xff}, "a tag of field 0": {0x00}, "text that is not UTF-8": badText, "an endless number": bytes.Repeat([]byte{0xff}, 20),
	} {
		for _, method := range []string{"/solti.v1.SoltiApi/SubmitTask", "/solti.v1.SoltiApi/StreamTaskLogs", "/slotd.v1.Supervisor/SubmitTasks"} {
			t.Log(what, method)
			refused(t, n.send(method, request), codes.InvalidArgument, "InvalidRequest", "the request is not a protobuf message of its type")
		}
	}
	if n.last() != nil {
		t.Errorf("%v was sent", n.last())
	}
	long := protowire.AppendBytes(protowire.AppendTag(nil, 15, protowire.BytesType), make([]byte, 5<<20))
	refused(t, n.send("/solti.v1.SoltiApi/SubmitTask", long), codes.ResourceExhausted, "PayloadTooLarge", "the request exceeds 4194304 bytes")
}

// What a message does not have would otherwise be stored with the spec, and make equal specs look different.
func TestUnknownFieldsAreDropped(t *testing.T) {
	n := start(t)
	data, err := proto.Marshal(spec("a"))
	if err != nil {
		t.Fatal(err)
	}
	data = protowire.AppendString(protowire.AppendTag(data, 999, protowire.BytesType), "from the future")
	if err := n.send("/solti.v1.SoltiApi/SubmitTask", protowire.AppendBytes(protowire.AppendTag(nil, 1, protowire.BytesType), data)); err != nil {
		t.Fatal(err)
	}
	want := spec("a")
	messages.Defaults(want)
	if got, ok := n.last().(*slotdv1.Submit); !ok || !proto.Equal(got.GetSpec(), want) {
		t.Errorf("got %v, want %v", n.last(), want)
	}
}

// Four MiB of empty specs must not become hundreds in memory before they are counted.
func TestAnEndlessBatchIsNotDecoded(t *testing.T) {
	n := start(t)
	batch := bytes.Repeat([]byte{0x0a, 0x00}, 2<<20-100)
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	err := n.send("/slotd.v1.Supervisor/SubmitTasks", batch)
	runtime.ReadMemStats(&after)
	refused(t, err, codes.InvalidArgument, "InvalidRequest", "a batch has at most 1000 specs")
	if used := after.TotalAlloc - before.TotalAlloc; used > 64<<20 {
		t.Errorf("%d MiB were allocated", used>>20)
	}
}
