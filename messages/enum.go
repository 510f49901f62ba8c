package messages

import (
	"fmt"
	"strings"
	"unicode"

	"google.golang.org/protobuf/reflect/protoreflect"
)

// UnknownEnum says that a value is none that a client may choose, and which are: "unknown or unspecified restart strategy
// 9, expected one of …". found is the value as it shall be shown.
func UnknownEnum(enum protoreflect.EnumDescriptor, found string) string {
	return fmt.Sprintf("unknown or unspecified %s %s, expected one of %s", enumWords(enum.Name()), found, EnumNames(enum))
}

// EnumNames lists what a client may choose from; the unspecified value is no choice.
func EnumNames(enum protoreflect.EnumDescriptor) string {
	values := enum.Values()
	list := make([]string, 0, values.Len())
	for i := range values.Len() {
		if v := values.Get(i); v.Number() != 0 {
			list = append(list, string(v.Name()))
		}
	}
	return strings.Join(list, ", ")
}

// enumWords takes the name of a type apart: ScriptRuntime is a script runtime.
func enumWords(name protoreflect.Name) string {
	var b strings.Builder
	for i, r := range string(name) {
		if i > 0 && unicode.IsUpper(r) {
			b.WriteByte(' ')
		}
		b.WriteRune(unicode.ToLower(r))
	}
	return b.String()
}

// enum refuses a number that is none of the enum's.
func (p *problems) enum(path string, value protoreflect.Enum) {
	if value.Descriptor().Values().ByNumber(value.Number()) == nil {
		p.unknownEnum(path, value)
	}
}

func (p *problems) unknownEnum(path string, value protoreflect.Enum) {
	p.addf("%s: %s", path, UnknownEnum(value.Descriptor(), fmt.Sprint(int32(value.Number()))))
}
