package messages

import (
	"testing"

	"github.com/google/go-cmp/cmp"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/testing/protocmp"

	soltiv1 "slotd/messages/solti/v1"
)

// filled gives every field of a message a value, to some depth; of oneofs the chosen members.
func filled(m protoreflect.Message, depth int, choose map[protoreflect.Name]bool) {
	fields := m.Descriptor().Fields()
	for i := range fields.Len() {
		field := fields.Get(i)
		if oneof := field.ContainingOneof(); oneof != nil && !oneof.IsSynthetic() && !choose[field.Name()] {
			continue
		}
		switch {
		case field.IsMap():
			m.Mutable(field).Map().Set(protoreflect.ValueOfString("k").MapKey(), protoreflect.ValueOfString("v"))
		case field.IsList() && field.Message() != nil:
			filled(m.Mutable(field).List().AppendMutable().Message(), depth-1, choose)
		case field.IsList():
			m.Mutable(field).List().Append(scalar(field))
		case field.Message() != nil && depth > 0:
			filled(m.Mutable(field).Message(), depth-1, choose)
		case field.Message() == nil:
			m.Set(field, scalar(field))
		}
	}
}

func scalar(field protoreflect.FieldDescriptor) protoreflect.Value {
	switch field.Kind() {
	case protoreflect.BoolKind:
		return protoreflect.ValueOfBool(true)
	case protoreflect.EnumKind:
		return protoreflect.ValueOfEnum(2)
	case protoreflect.StringKind:
		return protoreflect.ValueOfString("text")
	case protoreflect.Uint32Kind:
		return protoreflect.ValueOfUint32(3)
	case protoreflect.Uint64Kind:
		return protoreflect.ValueOfUint64(4)
	case protoreflect.DoubleKind:
		return protoreflect.ValueOfFloat64(5)
	case protoreflect.BytesKind:
		return protoreflect.ValueOfBytes([]byte("bytes"))
	default:
		panic("no value for " + field.Kind().String())
	}
}

// Whatever fields a spec has now or will have: what is shown differs in the values of the environment alone.
func TestRedactKeepsEveryOtherField(t *testing.T) {
	for _, kind := range []protoreflect.Name{"subprocess", "wasm", "container"} {
		spec := new(soltiv1.CreateSpec)
		filled(spec.ProtoReflect(), 6, map[protoreflect.Name]bool{kind: true, "command": true})
		if env := EnvOf(spec); len(env) != 1 || env[0].GetValue() == "" {
			t.Fatalf("%s: the environment is %v", kind, env)
		}
		want := proto.CloneOf(spec)
		EnvOf(want)[0].Value = Redacted
		if diff := cmp.Diff(want, Redact(spec, true), protocmp.Transform()); diff != "" {
			t.Errorf("%s (-want +got):\n%s", kind, diff)
		}
	}
}
