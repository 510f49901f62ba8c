package codec

import (
	"fmt"
	"testing"

	"github.com/google/go-cmp/cmp"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"

	"slotd/messages"
	soltiv1 "slotd/messages/solti/v1"
)

// fill sets every field of m with values that depend on the field. Of a oneof it sets the member that variant chooses.
func fill(m protoreflect.Message, variant int) {
	fields := m.Descriptor().Fields()
	for i := range fields.Len() {
		fd := fields.Get(i)
		if one := fd.ContainingOneof(); one != nil && !one.IsSynthetic() && one.Fields().Get(variant%one.Fields().Len()) != fd {
			continue
		}
		switch {
		case fd.IsMap():
			entries := m.Mutable(fd).Map()
			for _, key := range []string{"b\"", "a", "c"} {
				entries.Set(protoreflect.ValueOfString(key).MapKey(), protoreflect.ValueOfString("v"+key))
			}
		case fd.IsList() && fd.Kind() == protoreflect.MessageKind:
			for range 2 {
				fill(m.Mutable(fd).List().AppendMutable().Message(), variant)
			}
		case fd.IsList():
			m.Mutable(fd).List().Append(value(fd, variant))
			m.Mutable(fd).List().Append(value(fd, variant))
		case fd.Kind() == protoreflect.MessageKind:
			fill(m.Mutable(fd).Message(), variant)
		default:
			m.Set(fd, value(fd, variant))
		}
	}
}

func value(fd protoreflect.FieldDescriptor, variant int) protoreflect.Value {
	n := int(fd.Number()) + variant
	switch fd.Kind() {
	case protoreflect.BoolKind:
		return protoreflect.ValueOfBool(variant%2 == 0)
	case protoreflect.EnumKind:
		return protoreflect.ValueOfEnum(protoreflect.EnumNumber(variant)) // some variants are outside the table
	case protoreflect.Int32Kind:
		return protoreflect.ValueOfInt32(int32(-n))
	case protoreflect.Uint32Kind:
		return protoreflect.ValueOfUint32(uint32(n))
	case protoreflect.Int64Kind:
		return protoreflect.ValueOfInt64(int64(-n))
	case protoreflect.Uint64Kind:
		return protoreflect.ValueOfUint64(uint64(n))
	case protoreflect.DoubleKind:
		return protoreflect.ValueOfFloat64(float64(n) + 0.5)
	default:
		return protoreflect.ValueOfString(fmt.Sprintf("%s\n%d", fd.Name(), n))
	}
}

func TestATaskIsWrittenAsReflectionWouldWriteIt(t *testing.T) {
	tasks := []*soltiv1.TaskData{
		nil,
		{},
		{Metadata: &soltiv1.ObjectMeta{}, Spec: &soltiv1.CreateSpec{}, Status: &soltiv1.TaskStatusInfo{}},
		{Spec: &soltiv1.CreateSpec{Kind: &soltiv1.TaskKind{}}},
		{Spec: &soltiv1.CreateSpec{Kind: &soltiv1.TaskKind{Kind: &soltiv1.TaskKind_Subprocess{Subprocess: &soltiv1.SubprocessTask{}}}}},
		{Spec: &soltiv1.CreateSpec{Kind: &soltiv1.TaskKind{Kind: &soltiv1.TaskKind_Subprocess{}}, Backoff: &soltiv1.BackoffStrategy{}}},
	}
	for variant := range 12 {
		task := &soltiv1.TaskData{}
		fill(task.ProtoReflect(), variant)
		tasks = append(tasks, task)
	}
	for i, task := range tasks {
		for _, m := range []proto.Message{task, &soltiv1.GetTaskStatusResponse{Task: task}} {
			want := string(appendMessage([]byte("x"), m.ProtoReflect()))
			if diff := cmp.Diff(string(Append([]byte("x"), m)), want); diff != "" {
				t.Errorf("task %d, %T (-direct +reflection):\n%s", i, m, diff)
			}
		}
		for _, showValues := range []bool{true, false} {
			want := string(Append([]byte("x"), messages.RedactTask(task, showValues)))
			if diff := cmp.Diff(string(AppendShown([]byte("x"), task, showValues)), want); diff != "" {
				t.Errorf("task %d, values shown %v (-at once +redacted before):\n%s", i, showValues, diff)
			}
		}
	}
}
