package store

import (
	"errors"
	"fmt"
	"unicode/utf8"

	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"

	slotdv1 "slotd/messages/slotd/v1"
)

// RawSpec is an encoded SpecRecord. Nearly all tasks that a store keeps have ended, and few of them are ever looked at
// again: to decode their specs would be the greater part of a start, and of the memory afterwards.
type RawSpec []byte

// Decode returns the record.
func (r RawSpec) Decode() (*slotdv1.SpecRecord, error) {
	rec := new(slotdv1.SpecRecord)
	if err := proto.Unmarshal(r, rec); err != nil {
		return nil, err
	}
	return rec, nil
}

// Check returns an error exactly when Decode does, at a tenth of the cost.
func (r RawSpec) Check() error { return specShape.check(r) }

// Slot returns the slot that the spec names, and false when there is no spec in the record. It looks at nothing else.
func (r RawSpec) Slot() (slot string, found bool, err error) {
	err = eachField(r, func(num protowire.Number, spec []byte) error {
		if num != specField {
			return nil
		}
		found = true
		return eachField(spec, func(num protowire.Number, value []byte) error {
			if num == slotField {
				slot = string(value)
			}
			return nil
		})
	})
	return slot, found, err
}

// Labels puts the spec's labels into a map. It decodes nothing else; of a label that is there twice the last counts.
func (r RawSpec) Labels(into map[string]string) error {
	return eachField(r, func(num protowire.Number, spec []byte) error {
		if num != specField {
			return nil
		}
		return eachField(spec, func(num protowire.Number, entry []byte) error {
			if num != labelsField {
				return nil
			}
			var pair [2]string
			err := eachField(entry, func(num protowire.Number, text []byte) error {
				if num == 1 || num == 2 {
					pair[num-1] = string(text)
				}
				return nil
			})
			into[pair[0]] = pair[1]
			return err
		})
	})
}

// Numbers of the fields on the way to the slot and the labels.
const (
	specField   = 2 // of SpecRecord
	slotField   = 1 // of CreateSpec
	labelsField = 8 // of CreateSpec
)

// eachField yields the fields of a message that have a length, as texts and messages do, and skips the others.
func eachField(message []byte, yield func(num protowire.Number, value []byte) error) error {
	for len(message) > 0 {
		num, kind, n := protowire.ConsumeTag(message)
		if n < 0 {
			return protowire.ParseError(n)
		}
		if !num.IsValid() {
			return errFieldNumber
		}
		message = message[n:]
		if kind != protowire.BytesType {
			if n = protowire.ConsumeFieldValue(num, kind, message); n < 0 {
				return protowire.ParseError(n)
			}
			message = message[n:]
			continue
		}
		value, n := protowire.ConsumeBytes(message)
		if n < 0 {
			return protowire.ParseError(n)
		}
		if err := yield(num, value); err != nil {
			return err
		}
		message = message[n:]
	}
	return nil
}

var (
	errFieldNumber = errors.New("a field number is out of range")
	errUTF8        = errors.New("a text is not valid UTF-8")
)

// shape is what decoding asks of a message beyond being well-formed: which fields are texts, and which are messages.
type shape []part // by field number

type part struct {
	text    bool
	message shape // nil: it is none
}

var specShape = shapeOf((*slotdv1.SpecRecord)(nil).ProtoReflect().Descriptor())

// shapeOf is for messages that do not contain themselves.
func shapeOf(message protoreflect.MessageDescriptor) shape {
	fields := message.Fields()
	s := shape{}
	for i := range fields.Len() {
		field := fields.Get(i)
		num := int(field.Number())
		if num >= len(s) {
			s = append(s, make(shape, num+1-len(s))...)
		}
		switch field.Kind() {
		case protoreflect.StringKind:
			s[num].text = true
		case protoreflect.MessageKind:
			s[num].message = shapeOf(field.Message())
		default:
			if field.IsPacked() {
				panic(fmt.Sprintf("%s: packed numbers are not checked", field.FullName()))
			}
		}
	}
	return s
}

func (s shape) check(message []byte) error {
	return eachField(message, func(num protowire.Number, value []byte) error {
		switch {
		case int(num) >= len(s):
			return nil
		case s[num].text:
			if !utf8.Valid(value) {
				return errUTF8
			}
			return nil
		case s[num].message != nil:
			return s[num].message.check(value)
		default:
			return nil
		}
	})
}
