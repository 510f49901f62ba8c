package messages

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	soltiv1 "slotd/messages/solti/v1"
)

// Selector chooses by labels; all its requirements hold together. The zero Selector takes everything. Selectors are
// immutable and may be shared.
type Selector struct {
	requirements []requirement
}

type operator uint8

const (
	in operator = iota + 1
	notIn
	exists
	doesNotExist
)

// requirement is one condition. Values are sorted and unique. As in Kubernetes, notIn also takes what lacks the key.
type requirement struct {
	key    string
	op     operator
	values []string
}

// SelectorOf is the selector that a spec puts on runners. An operator outside the table, which no validated spec has,
// takes nothing.
func SelectorOf(s *soltiv1.RunnerSelector) Selector {
	var reqs []requirement
	for _, key := range slices.Sorted(maps.Keys(s.GetMatchLabels())) {
		reqs = append(reqs, requirement{key: key, op: in, values: []string{s.GetMatchLabels()[key]}})
	}
	for _, e := range s.GetMatchExpressions() {
		reqs = append(reqs, requirement{key: e.GetKey(), op: operatorOf(e.GetOperator()), values: set(slices.Clone(e.GetValues()))})
	}
	return Selector{requirements: reqs}
}

func operatorOf(op soltiv1.SelectorOperator) operator {
	switch op {
	case soltiv1.SelectorOperator_SELECTOR_OPERATOR_IN:
		return in
	case soltiv1.SelectorOperator_SELECTOR_OPERATOR_NOT_IN:
		return notIn
	case soltiv1.SelectorOperator_SELECTOR_OPERATOR_EXISTS:
		return exists
	case soltiv1.SelectorOperator_SELECTOR_OPERATOR_DOES_NOT_EXIST:
		return doesNotExist
	default:
		return 0
	}
}

// set sorts values in place and drops repeats.
func set(values []string) []string {
	slices.Sort(values)
	return slices.Compact(values)
}

// Empty says that the selector takes everything.
func (s Selector) Empty() bool { return len(s.requirements) == 0 }

// Matches says whether the labels satisfy every requirement.
func (s Selector) Matches(labels map[string]string) bool {
	for i := range s.requirements {
		if !s.requirements[i].matches(labels) {
			return false
		}
	}
	return true
}

func (r *requirement) matches(labels map[string]string) bool {
	value, has := labels[r.key]
	switch r.op {
	case in:
		return has && r.holds(value)
	case notIn:
		return !has || !r.holds(value)
	case exists:
		return has
	case doesNotExist:
		return !has
	default:
		return false
	}
}

func (r *requirement) holds(value string) bool {
	_, found := slices.BinarySearch(r.values, value)
	return found
}

// String writes the selector in the syntax of [ParseSelector], which reads it back as an equal one when its keys and
// values are labels. Sets of one value are written as an equality.
func (s Selector) String() string {
	var b strings.Builder
	for i := range s.requirements {
		if i > 0 {
			b.WriteByte(',')
		}
		s.requirements[i].write(&b)
	}
	return b.String()
}

func (r *requirement) write(b *strings.Builder) {
	switch {
	case r.op == exists:
		b.WriteString(r.key)
	case r.op == doesNotExist:
		b.WriteString("!" + r.key)
	case r.op == in && len(r.values) == 1:
		b.WriteString(r.key + "=" + r.values[0])
	case r.op == notIn && len(r.values) == 1:
		b.WriteString(r.key + "!=" + r.values[0])
	case r.op == in:
		b.WriteString(r.key + " in (" + strings.Join(r.values, ",") + ")")
	case r.op == notIn:
		b.WriteString(r.key + " notin (" + strings.Join(r.values, ",") + ")")
	default:
		fmt.Fprintf(b, "%s <unknown operator>", r.key)
	}
}
