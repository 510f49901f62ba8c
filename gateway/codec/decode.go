package codec

import (
	"encoding/base64"
	"fmt"
	"strconv"
	"strings"
	"unicode/utf8"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"

	"slotd/messages"
)

// Error says why a text was refused.
type Error struct {
	Field   string // where, in proto form: spec.kind.subprocess.env[2].key; empty = the text as a whole
	Problem string // what was expected and what was found; never the value itself
}

func (e *Error) Error() string {
	if e.Field == "" {
		return e.Problem
	}
	return e.Field + ": " + e.Problem
}

// Decode reads one JSON object into m, which should be empty. null stands for a field that is left out, except as an
// element of a list or map. The error is an *Error; m is then partly filled.
func Decode(data []byte, m proto.Message) error {
	d := decoder{scanner{data: data}}
	return d.document(func() error { return d.message(m.ProtoReflect()) })
}

// DecodeList reads an object whose only field is a list of objects: {"name":[…]}. For each object it asks add for the
// message to fill; an error of add ends the reading and is returned as the problem of that element.
func DecodeList(data []byte, name string, add func(i int) (proto.Message, error)) error {
	d := decoder{scanner{data: data}}
	return d.document(func() error {
		given := false
		return d.object(func(key string) error {
			switch {
			case key != name:
				return unknownField(key)
			case given:
				return &Error{Field: name, Problem: "the field is given twice"}
			}
			given = true
			return within(name, d.array(func(i int) error {
				m, err := add(i)
				if err != nil {
					return &Error{Problem: err.Error()}
				}
				return d.message(m.ProtoReflect())
			}))
		})
	})
}

type decoder struct{ scanner }

// document reads one value that is the whole text.
func (d *decoder) document(value func() error) error {
	if d.skipSpace(); d.pos == len(d.data) {
		return &Error{Problem: "the body is empty, expected a JSON object"}
	}
	if err := value(); err != nil {
		return err
	}
	if d.skipSpace(); d.pos < len(d.data) {
		return d.malformed("expected nothing after the JSON object")
	}
	return nil
}

// object calls member for each name, with the reading place before the value.
func (d *decoder) object(member func(name string) error) error {
	if d.kind() != '{' {
		return d.mismatch("an object")
	}
	d.pos++
	if d.take('}') {
		return nil
	}
	for {
		if d.kind() != '"' {
			return d.malformed("expected a field name in quotes")
		}
		name, err := d.text()
		if err != nil {
			return err
		}
		if err := d.expect(':', "a field name"); err != nil {
			return err
		}
		if err := member(name); err != nil {
			return err
		}
		if d.take('}') {
			return nil
		}
		if err := d.expect(',', "a field"); err != nil {
			return err
		}
	}
}

// array calls element for each index, with the reading place before the value.
func (d *decoder) array(element func(i int) error) error {
	if d.kind() != '[' {
		return d.mismatch("an array")
	}
	d.pos++
	if d.take(']') {
		return nil
	}
	for i := 0; ; i++ {
		if err := element(i); err != nil {
			return within("["+strconv.Itoa(i)+"]", err)
		}
		if d.take(']') {
			return nil
		}
		if err := d.expect(',', "an element"); err != nil {
			return err
		}
	}
}

// message reads an object into m. Messages of the set have at most 64 fields and never contain themselves, so the set of
// seen fields fits a word and the nesting of the text is bounded by that of the types.
func (d *decoder) message(m protoreflect.Message) error {
	fields := m.Descriptor().Fields()
	var seen uint64
	return d.object(func(name string) error {
		fd := fields.ByJSONName(name)
		if fd == nil {
			fd = fields.ByTextName(name)
		}
		if fd == nil {
			return unknownField(name)
		}
		bit := uint64(1) << fd.Index()
		if seen&bit != 0 {
			return &Error{Field: fd.TextName(), Problem: "the field is given twice"}
		}
		seen |= bit
		if d.kind() == 'n' {
			return within(fd.TextName(), d.word("null"))
		}
		if one := fd.ContainingOneof(); one != nil && !one.IsSynthetic() {
			if other := m.WhichOneof(one); other != nil {
				return &Error{Field: fd.TextName(), Problem: fmt.Sprintf("%s is given too, only one of the two can be", other.TextName())}
			}
		}
		return within(fd.TextName(), d.field(m, fd))
	})
}

func (d *decoder) field(m protoreflect.Message, fd protoreflect.FieldDescriptor) error {
	switch {
	case fd.IsList():
		list := m.Mutable(fd).List()
		return d.array(func(int) error {
			if fd.Kind() == protoreflect.MessageKind {
				return d.message(list.AppendMutable().Message())
			}
			v, err := d.scalar(fd)
			if err != nil {
				return err
			}
			list.Append(v)
			return nil
		})
	case fd.IsMap():
		return d.entries(m.Mutable(fd).Map(), fd.MapValue())
	case fd.Kind() == protoreflect.MessageKind:
		return d.message(m.Mutable(fd).Message())
	}
	v, err := d.scalar(fd)
	if err != nil {
		return err
	}
	m.Set(fd, v)
	return nil
}

func (d *decoder) entries(entries protoreflect.Map, value protoreflect.FieldDescriptor) error {
	return d.object(func(name string) error {
		key := protoreflect.ValueOfString(name).MapKey()
		place := "[" + quoted(name) + "]"
		if entries.Has(key) {
			return &Error{Field: place, Problem: "the key is given twice"}
		}
		if value.Kind() == protoreflect.MessageKind {
			return within(place, d.message(entries.Mutable(key).Message()))
		}
		v, err := d.scalar(value)
		if err != nil {
			return within(place, err)
		}
		entries.Set(key, v)
		return nil
	})
}

func (d *decoder) scalar(fd protoreflect.FieldDescriptor) (protoreflect.Value, error) {
	switch kind := fd.Kind(); kind {
	case protoreflect.BoolKind:
		return d.boolean()
	case protoreflect.Int32Kind, protoreflect.Sint32Kind, protoreflect.Sfixed32Kind:
		n, err := d.signed(32)
		return protoreflect.ValueOfInt32(int32(n)), err
	case protoreflect.Int64Kind, protoreflect.Sint64Kind, protoreflect.Sfixed64Kind:
		n, err := d.signed(64)
		return protoreflect.ValueOfInt64(n), err
	case protoreflect.Uint32Kind, protoreflect.Fixed32Kind:
		n, err := d.unsigned(32)
		return protoreflect.ValueOfUint32(uint32(n)), err
	case protoreflect.Uint64Kind, protoreflect.Fixed64Kind:
		n, err := d.unsigned(64)
		return protoreflect.ValueOfUint64(n), err
	case protoreflect.DoubleKind:
		return d.double()
	case protoreflect.EnumKind:
		return d.enum(fd.Enum())
	case protoreflect.StringKind, protoreflect.BytesKind:
		if d.kind() != '"' {
			return protoreflect.Value{}, d.mismatch("a string")
		}
		text, err := d.text()
		if err != nil || kind == protoreflect.StringKind {
			return protoreflect.ValueOfString(text), err
		}
		raw, err := base64.StdEncoding.DecodeString(text)
		if err != nil {
			return protoreflect.Value{}, &Error{Problem: "expected standard base64"}
		}
		return protoreflect.ValueOfBytes(raw), nil
	case protoreflect.FloatKind, protoreflect.MessageKind, protoreflect.GroupKind:
		panic("codec: " + string(fd.FullName()) + " has a kind the message set does not use")
	}
	panic("codec: " + string(fd.FullName()) + " has no kind")
}

func (d *decoder) boolean() (protoreflect.Value, error) {
	switch d.kind() {
	case 't':
		return protoreflect.ValueOfBool(true), d.word("true")
	case 'f':
		return protoreflect.ValueOfBool(false), d.word("false")
	}
	return protoreflect.Value{}, d.mismatch("true or false")
}

func (d *decoder) enum(enum protoreflect.EnumDescriptor) (protoreflect.Value, error) {
	values := enum.Values()
	unknown := func(found string) (protoreflect.Value, error) {
		return protoreflect.Value{}, &Error{Problem: messages.UnknownEnum(enum, found)}
	}
	switch d.kind() {
	case '"':
		name, err := d.text()
		if err != nil {
			return protoreflect.Value{}, err
		}
		if named := values.ByName(protoreflect.Name(name)); named != nil {
			return protoreflect.ValueOfEnum(named.Number()), nil
		}
		return unknown(quoted(name))
	case '0':
		n, err := d.signed(32)
		if err != nil {
			return protoreflect.Value{}, err
		}
		if values.ByNumber(protoreflect.EnumNumber(n)) == nil {
			return unknown(strconv.FormatInt(n, 10))
		}
		return protoreflect.ValueOfEnum(protoreflect.EnumNumber(n)), nil
	}
	return protoreflect.Value{}, d.mismatch("one of " + messages.EnumNames(enum))
}

// mismatch says that a value of another type stands at the reading place.
func (d *decoder) mismatch(expected string) error {
	found := ""
	switch d.kind() {
	case '{':
		found = "an object"
	case '[':
		found = "an array"
	case '"':
		found = "a string"
	case '0':
		found = "a number"
	case 't', 'f':
		found = "a boolean"
	case 'n':
		found = "null"
	default:
		return d.malformed("expected %s", expected)
	}
	return &Error{Problem: "expected " + expected + ", found " + found}
}

func unknownField(name string) error {
	return &Error{Problem: "unknown field " + quoted(name)}
}

// within puts the place in front of an error that came from inside it.
func within(place string, err error) error {
	e, ok := err.(*Error) //nolint:errorlint // every error of this package is made here and wrapped by nobody
	if !ok || strings.HasPrefix(e.Problem, "malformed JSON") {
		return err
	}
	switch {
	case e.Field == "":
		e.Field = place
	case e.Field[0] == '[':
		e.Field = place + e.Field
	default:
		e.Field = place + "." + e.Field
	}
	return e
}

// quoted shows a name from the text, cut to a length that fits a sentence.
func quoted(name string) string {
	const most = 64
	if len(name) > most {
		cut := most
		for cut > 0 && !utf8.RuneStart(name[cut]) {
			cut--
		}
		name = name[:cut] + "…"
	}
	return strconv.Quote(name)
}
