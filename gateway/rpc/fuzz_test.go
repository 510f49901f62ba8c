package rpc

import (
	"bytes"
	"errors"
	"testing"

	"google.golang.org/grpc/mem"
	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/reflect/protoregistry"

	"slotd/gateway/ask"
	"slotd/messages"
	slotdv1 "slotd/messages/slotd/v1"
	soltiv1 "slotd/messages/solti/v1"
)

// inputs are the requests of all methods, streams included.
func inputs() []protoreflect.MessageType {
	var types []protoreflect.MessageType
	for _, file := range []protoreflect.FileDescriptor{
		(*soltiv1.SubmitTaskRequest)(nil).ProtoReflect().Descriptor().ParentFile(),
		(*slotdv1.SubmitTasksRequest)(nil).ProtoReflect().Descriptor().ParentFile(),
	} {
		for i := range file.Services().Len() {
			methods := file.Services().Get(i).Methods()
			for j := range methods.Len() {
				types = append(types, typeOf(methods.Get(j).Input()))
			}
		}
	}
	return types
}

// FuzzRequest: bytes are a request of their method, or the client's mistake with a sentence that repeats none of them;
// what is taken has no field that its message has not, and a batch counts as many specs as it holds.
func FuzzRequest(f *testing.F) {
	types := inputs()
	if len(types) < 15 {
		f.Fatalf("only %d methods", len(types))
	}
	spec := &soltiv1.CreateSpec{Slot: "a", TimeoutMs: 1, Labels: map[string]string{"a": "b"}, Kind: &soltiv1.TaskKind{
		Kind: &soltiv1.TaskKind_Subprocess{Subprocess: &soltiv1.SubprocessTask{
			Mode: &soltiv1.SubprocessTask_Command{Command: &soltiv1.CommandMode{Command: "true"}},
			Env:  []*soltiv1.KeyValue{{Key: "PASSWORD", Value: "hunter2", Secret: true}},
		}},
	}}
	for i, request := range types {
		f.Add(uint8(i), []byte{0x0a, 0x01, 'a'})
		if spec := encodedSpec(f, request, spec); spec != nil {
			f.Add(uint8(i), spec)
			f.Add(uint8(i), bytes.Replace(spec, []byte("hunter"), []byte("\xffunter"), 1))
			f.Add(uint8(i), bytes.Repeat([]byte{0x0a, 0x00}, ask.MaxBatch+5))
			f.Add(uint8(i), append(spec, protowire.AppendString(protowire.AppendTag(nil, 999, protowire.BytesType), "later")...))
		}
	}
	f.Add(uint8(0), []byte{0x0a, 0xff})
	f.Add(uint8(0), []byte{0x00})
	c := newCodec()
	f.Fuzz(func(t *testing.T, method uint8, data []byte) {
		request := types[int(method)%len(types)]
		given := bytes.Clone(data)
		m := request.New().Interface()
		err := readInto(func(into any) error { return c.Unmarshal(mem.BufferSlice{mem.SliceBuffer(data)}, into) }, m)
		if !bytes.Equal(given, data) {
			t.Fatal("decoding has changed the request")
		}
		want := request.New().Interface()
		reference := proto.UnmarshalOptions{DiscardUnknown: true}.Unmarshal(data, want)
		batch, isBatch := m.(*slotdv1.SubmitTasksRequest)
		if err != nil {
			refusal, ok := messages.RefusalOf(err)
			if !ok || refusal.Rejection.GetLabel() != messages.LabelInvalidRequest || bytes.Contains([]byte(err.Error()), []byte("unter")) {
				t.Fatalf("%x: %v is not the client's mistake", data, err)
			}
			if reference == nil {
				t.Fatalf("%x is refused: %v", data, err)
			}
			return
		}
		if isBatch {
			all, _ := want.(*slotdv1.SubmitTasksRequest)
			if n := len(batch.GetSpecs()); n > ask.MaxBatch+1 || reference == nil && n != min(len(all.GetSpecs()), ask.MaxBatch+1) {
				t.Fatalf("%d specs of %d", n, len(all.GetSpecs()))
			}
			if len(batch.GetSpecs()) > ask.MaxBatch {
				return // refused by its number, whatever follows
			}
		}
		if reference != nil {
			t.Fatalf("%x is taken, and it is none: %v", data, reference)
		}
		if got, want := deterministic(t, m), deterministic(t, want); !bytes.Equal(got, want) {
			t.Fatalf("%x became %x, want %x", data, got, want)
		}
		if hasUnknown(m.ProtoReflect()) {
			t.Fatalf("%x: %v has unknown fields", data, m)
		}
	})
}

// TestABatchThatIsTooLargeIsSeenToBe: the specs behind the first too many are not read, even broken ones.
func TestABatchThatIsTooLargeIsSeenToBe(t *testing.T) {
	data := append(bytes.Repeat([]byte{0x0a, 0x00}, ask.MaxBatch+1), 0x0a, 0xff)
	m := &slotdv1.SubmitTasksRequest{}
	if err := readInto(func(into any) error { return newCodec().Unmarshal(mem.BufferSlice{mem.SliceBuffer(data)}, into) }, m); err != nil || len(m.GetSpecs()) != ask.MaxBatch+1 {
		t.Errorf("%d specs, %v", len(m.GetSpecs()), err)
	}
	m = &slotdv1.SubmitTasksRequest{}
	err := readInto(func(into any) error { return newCodec().Unmarshal(mem.BufferSlice{mem.SliceBuffer(data[2:])}, into) }, m)
	if !errors.Is(err, errMalformed) {
		t.Errorf("a batch that ends in the middle of a spec: %v", err)
	}
}

func typeOf(d protoreflect.MessageDescriptor) protoreflect.MessageType {
	t, err := protoregistry.GlobalTypes.FindMessageByName(d.FullName())
	if err != nil {
		panic(err) // the message is not linked in
	}
	return t
}

// encodedSpec is a request with the spec in it; nil when its message has no place for one.
func encodedSpec(f *testing.F, request protoreflect.MessageType, spec *soltiv1.CreateSpec) []byte {
	f.Helper()
	m := request.New()
	switch field := m.Descriptor().Fields().ByNumber(1); {
	case field == nil || field.Message() != spec.ProtoReflect().Descriptor():
		return nil
	case field.IsList():
		m.Mutable(field).List().Append(protoreflect.ValueOfMessage(spec.ProtoReflect()))
	default:
		m.Set(field, protoreflect.ValueOfMessage(spec.ProtoReflect()))
	}
	data, err := proto.Marshal(m.Interface())
	if err != nil {
		f.Fatal(err)
	}
	return data
}

func deterministic(t *testing.T, m proto.Message) []byte {
	t.Helper()
	data, err := proto.MarshalOptions{Deterministic: true}.Marshal(m)
	if err != nil {
		t.Fatal(err)
	}
	return data
}

func hasUnknown(m protoreflect.Message) (found bool) {
	if len(m.GetUnknown()) > 0 {
		return true
	}
	m.Range(func(field protoreflect.FieldDescriptor, v protoreflect.Value) bool {
		switch {
		case field.Message() == nil || field.IsMap():
		case field.IsList():
			for i := range v.List().Len() {
				found = found || hasUnknown(v.List().Get(i).Message())
			}
		default:
			found = found || hasUnknown(v.Message())
		}
		return !found
	})
	return found
}
