package codec

import (
	"encoding/base64"
	"math"
	"slices"
	"strconv"
	"strings"
	"sync"
	"unicode/utf8"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"

	soltiv1 "slotd/messages/solti/v1"
)

// Append appends the JSON of m to dst and returns the extended slice. A nil message is an empty object. Bytes that are
// not UTF-8 in a string become U+FFFD.
func Append(dst []byte, m proto.Message) []byte {
	switch m := m.(type) {
	case nil:
		return append(dst, '{', '}')
	case *soltiv1.TaskData:
		return appendTask(dst, m)
	case *soltiv1.GetTaskStatusResponse:
		if m.GetTask() != nil {
			return append(appendTask(append(dst, `{"task":`...), m.GetTask()), '}')
		}
	}
	return appendMessage(dst, m.ProtoReflect())
}

// field is what writing one field takes, worked out once per message type.
type field struct {
	desc     protoreflect.FieldDescriptor
	label    string // `"name":`
	kind     protoreflect.Kind
	list     bool
	dict     bool
	presence bool
}

// layouts holds the []field of each message descriptor that was written before.
var layouts sync.Map

func layoutOf(md protoreflect.MessageDescriptor) []field {
	if known, ok := layouts.Load(md); ok {
		if layout, ok := known.([]field); ok {
			return layout
		}
	}
	descs := md.Fields()
	layout := make([]field, descs.Len())
	for i := range layout {
		fd := descs.Get(i)
		layout[i] = field{
			desc: fd, label: `"` + fd.JSONName() + `":`, kind: fd.Kind(),
			list: fd.IsList(), dict: fd.IsMap(), presence: fd.HasPresence(),
		}
	}
	layouts.Store(md, layout)
	return layout
}

func appendMessage(dst []byte, m protoreflect.Message) []byte {
	dst = append(dst, '{')
	first := true
	for _, f := range layoutOf(m.Descriptor()) {
		if f.presence && !m.Has(f.desc) {
			continue
		}
		if !first {
			dst = append(dst, ',')
		}
		first = false
		dst = append(dst, f.label...)
		switch value := m.Get(f.desc); {
		case f.list:
			dst = appendList(dst, value.List(), f)
		case f.dict:
			dst = appendMap(dst, value.Map(), f)
		default:
			dst = appendSingular(dst, value, f.kind, f.desc)
		}
	}
	return append(dst, '}')
}

func appendList(dst []byte, list protoreflect.List, f field) []byte {
	dst = append(dst, '[')
	for i := range list.Len() {
		if i > 0 {
			dst = append(dst, ',')
		}
		dst = appendSingular(dst, list.Get(i), f.kind, f.desc)
	}
	return append(dst, ']')
}

func appendMap(dst []byte, m protoreflect.Map, f field) []byte {
	dst = append(dst, '{')
	if m.Len() > 0 {
		keys := make([]protoreflect.MapKey, 0, m.Len())
		m.Range(func(k protoreflect.MapKey, _ protoreflect.Value) bool {
			keys = append(keys, k)
			return true
		})
		slices.SortFunc(keys, func(a, b protoreflect.MapKey) int { return strings.Compare(a.String(), b.String()) })
		value := f.desc.MapValue()
		for i, k := range keys {
			if i > 0 {
				dst = append(dst, ',')
			}
			dst = append(AppendString(dst, k.String()), ':')
			dst = appendSingular(dst, m.Get(k), value.Kind(), value)
		}
	}
	return append(dst, '}')
}

func appendSingular(dst []byte, v protoreflect.Value, kind protoreflect.Kind, fd protoreflect.FieldDescriptor) []byte {
	switch kind {
	case protoreflect.BoolKind:
		return strconv.AppendBool(dst, v.Bool())
	case protoreflect.Int32Kind, protoreflect.Sint32Kind, protoreflect.Sfixed32Kind:
		return strconv.AppendInt(dst, v.Int(), 10)
	case protoreflect.Uint32Kind, protoreflect.Fixed32Kind:
		return strconv.AppendUint(dst, v.Uint(), 10)
	case protoreflect.Int64Kind, protoreflect.Sint64Kind, protoreflect.Sfixed64Kind:
		return append(strconv.AppendInt(append(dst, '"'), v.Int(), 10), '"')
	case protoreflect.Uint64Kind, protoreflect.Fixed64Kind:
		return append(strconv.AppendUint(append(dst, '"'), v.Uint(), 10), '"')
	case protoreflect.DoubleKind:
		return appendDouble(dst, v.Float())
	case protoreflect.StringKind:
		return AppendString(dst, v.String())
	case protoreflect.BytesKind:
		return append(base64.StdEncoding.AppendEncode(append(dst, '"'), v.Bytes()), '"')
	case protoreflect.EnumKind:
		if named := fd.Enum().Values().ByNumber(v.Enum()); named != nil {
			return AppendString(dst, string(named.Name()))
		}
		return strconv.AppendInt(dst, int64(v.Enum()), 10)
	case protoreflect.MessageKind:
		return appendMessage(dst, v.Message())
	case protoreflect.FloatKind, protoreflect.GroupKind:
		panic("codec: " + string(fd.FullName()) + " has a kind the message set does not use")
	}
	panic("codec: " + string(fd.FullName()) + " has no kind")
}

// appendDouble writes the shortest form that reads back the same, as encoding/json does.
func appendDouble(dst []byte, f float64) []byte {
	switch {
	case math.IsNaN(f):
		return append(dst, `"NaN"`...)
	case math.IsInf(f, 1):
		return append(dst, `"Infinity"`...)
	case math.IsInf(f, -1):
		return append(dst, `"-Infinity"`...)
	}
	format := byte('f')
	if abs := math.Abs(f); abs != 0 && (abs < 1e-6 || abs >= 1e21) {
		format = 'e'
	}
	return strconv.AppendFloat(dst, f, format, -1, 64)
}

const hex = "0123456789abcdef"

// AppendString appends s as a JSON string. Bytes that are not UTF-8 become U+FFFD.
func AppendString(dst []byte, s string) []byte {
	dst = append(dst, '"')
	start := 0
	for i := 0; i < len(s); {
		c := s[i]
		if c < utf8.RuneSelf {
			if c >= ' ' && c != '"' && c != '\\' {
				i++
				continue
			}
			dst = append(dst, s[start:i]...)
			switch c {
			case '"', '\\':
				dst = append(dst, '\\', c)
			case '\n':
				dst = append(dst, '\\', 'n')
			case '\r':
				dst = append(dst, '\\', 'r')
			case '\t':
				dst = append(dst, '\\', 't')
			default:
				dst = append(dst, '\\', 'u', '0', '0', hex[c>>4], hex[c&0xf])
			}
			i++
			start = i
			continue
		}
		r, size := utf8.DecodeRuneInString(s[i:])
		if r == utf8.RuneError && size == 1 {
			dst = append(append(dst, s[start:i]...), "\uFFFD"...)
			start = i + 1
		}
		i += size
	}
	return append(append(dst, s[start:]...), '"')
}
