package messages

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"

	soltiv1 "slotd/messages/solti/v1"
)

func TestSelectorGrammar(t *testing.T) {
	tests := []struct{ text, want string }{
		{"", ""},
		{" \t\r\n", ""},
		{"a", "a"},
		{"!a", "!a"},
		{" ! a ", "!a"},
		{"a=b", "a=b"},
		{"a==b", "a=b"},
		{"a!=b", "a!=b"},
		{"a = b", "a=b"},
		{"a=", "a="},
		{"a!=", "a!="},
		{"a=,b", "a=,b"},
		{"a in (b)", "a=b"},
		{"a notin (b)", "a!=b"},
		{"a in (c,b,c)", "a in (b,c)"},
		{"a notin(c , b)", "a notin (b,c)"},
		{"a in (b,)", "a in (,b)"},
		{"a in (,b)", "a in (,b)"},
		{"a in (,)", "a="},
		{"in", "in"},
		{"in in (in)", "in=in"},
		{"notin notin (notin,in)", "notin notin (in,notin)"},
		{"!in", "!in"},
		{"example.com/a=B_1.c", "example.com/a=B_1.c"},
		{"a=b,!c,d in (e,f),g!=h,i", "a=b,!c,d in (e,f),g!=h,i"},
		{"a\n=\tb\r,c", "a=b,c"},
	}
	for _, tt := range tests {
		t.Run(tt.text, func(t *testing.T) {
			s, err := ParseSelector(tt.text)
			if err != nil {
				t.Fatal(err)
			}
			if got := s.String(); got != tt.want {
				t.Errorf("got %q, want %q", got, tt.want)
			}
			if s.Empty() != (tt.want == "") {
				t.Errorf("Empty is %v for %q", s.Empty(), tt.text)
			}
		})
	}
}

func TestSelectorErrorsSayWhereAndWhat(t *testing.T) {
	const operators = "'=', '==', '!=', 'in', 'notin', ',' or the end"
	const nameBytes = "63 bytes of A-Z, a-z, 0-9, '-', '_' and '.', with an alphanumeric at both ends"
	tests := []struct{ text, want string }{
		{",", `at position 1: found ",", expected a label key`},
		{"a,", "at position 3: found the end, expected a label key"},
		{"a,,b", `at position 3: found ",", expected a label key`},
		{"!", "at position 2: found the end, expected a label key"},
		{"!!a", `at position 2: found "!", expected a label key`},
		{"=b", `at position 1: found "=", expected a label key`},
		{"(a)", `at position 1: found "(", expected a label key`},
		{"a b", `at position 3: found "b", expected ` + operators + ` after the key "a"`},
		{"a IN (b)", `at position 3: found "IN", expected ` + operators + ` after the key "a"`},
		{"a>1", `at position 2: found ">", expected ` + operators + ` after the key "a"`},
		{"a(b)", `at position 2: found "(", expected ` + operators + ` after the key "a"`},
		{"!a=b", `at position 3: found "=", expected ',' or the end after '!a'`},
		{"!a in (b)", `at position 4: found "in", expected ',' or the end after '!a'`},
		{"a=b c", `at position 5: found "c", expected ',' or the end`},
		{"a===b", `at position 4: found "=", expected ',' or the end`},
		{"a=!b", `at position 3: found "!", expected ',' or the end`},
		{"a in", "at position 5: found the end, expected '(' and a list of values"},
		{"a in b", `at position 6: found "b", expected '(' and a list of values`},
		{"a in ()", `at position 7: found ")", expected a value: a set cannot be empty`},
		{"a in (b", "at position 8: found the end, expected ',' or ')'"},
		{"a in (", "at position 7: found the end, expected ',' or ')'"},
		{"a in (b c)", `at position 9: found "c", expected ',' or ')'`},
		{"a in (b))", `at position 9: found ")", expected ',' or the end`},
		{"a in (b) c", `at position 10: found "c", expected ',' or the end`},
		{"-a=b", `at position 1: the key's name must be 1 to ` + nameBytes + `, not "-a"`},
		{"x, a/=b", `at position 4: the key's name must be 1 to ` + nameBytes + `, not "a/"`},
		{"a=b-", `at position 3: the value must be empty or at most ` + nameBytes + `, not "b-"`},
		{"a in (b,c/d)", `at position 9: the value must be empty or at most ` + nameBytes + `, not "c/d"`},
		{"a=\xff", `at position 3: the value must be empty or at most ` + nameBytes + `, not "\xff"`},
	}
	for _, tt := range tests {
		t.Run(tt.text, func(t *testing.T) {
			s, err := ParseSelector(tt.text)
			if got, want := problemsOf(t, err), []string{"label_selector: " + tt.want}; !slices.Equal(got, want) {
				t.Errorf("got  %q\nwant %q", got, want)
			}
			if !s.Empty() {
				t.Errorf("got the selector %v beside the error", s)
			}
		})
	}
}

func TestSelectorMatches(t *testing.T) {
	labels := map[string]string{"env": "prod", "tier": "", "team": "a"}
	tests := map[string]bool{
		"":                              true,
		"env":                           true,
		"none":                          false,
		"!env":                          false,
		"!none":                         true,
		"env=prod":                      true,
		"env==dev":                      false,
		"none=":                         false,
		"tier=":                         true,
		"tier":                          true,
		"env!=prod":                     false,
		"env!=dev":                      true,
		"none!=x":                       true,
		"env in (dev,prod)":             true,
		"env in (dev,test)":             false,
		"none in (dev)":                 false,
		"env notin (dev,test)":          true,
		"env notin (dev,prod)":          false,
		"none notin (dev)":              true,
		"tier in (,x)":                  true,
		"env=prod,team=a,!none":         true,
		"env=prod,team=b":               false,
		"env=prod,env=dev":              false,
		"Env=prod":                      false,
		"env in (dev,prod),team!=b":     true,
		"env in (dev,prod),team in (b)": false,
	}
	for text, want := range tests {
		s, err := ParseSelector(text)
		if err != nil {
			t.Errorf("%q: %v", text, err)
			continue
		}
		if got := s.Matches(labels); got != want {
			t.Errorf("%q: got %v, want %v", text, got, want)
		}
	}
	s, err := ParseSelector("!a,b!=c")
	if err != nil || !s.Matches(nil) {
		t.Errorf("got %v, %v, want no labels to lack every key", s, err)
	}
}

func TestRunnerSelector(t *testing.T) {
	const (
		opIn     = soltiv1.SelectorOperator_SELECTOR_OPERATOR_IN
		opNotIn  = soltiv1.SelectorOperator_SELECTOR_OPERATOR_NOT_IN
		opExists = soltiv1.SelectorOperator_SELECTOR_OPERATOR_EXISTS
		opAbsent = soltiv1.SelectorOperator_SELECTOR_OPERATOR_DOES_NOT_EXIST
	)
	spec := &soltiv1.RunnerSelector{
		MatchLabels: map[string]string{"runner": "subprocess", "arch": "arm64"},
		MatchExpressions: []*soltiv1.SelectorRequirement{
			{Key: "zone", Operator: opIn, Values: []string{"b", "a", "b"}},
			{Key: "old", Operator: opNotIn, Values: []string{"yes", "maybe"}},
			{Key: "gpu", Operator: opExists},
			{Key: "spot", Operator: opAbsent},
		},
	}
	s := SelectorOf(spec)
	if got, want := s.String(), "arch=arm64,runner=subprocess,zone in (a,b),old notin (maybe,yes),gpu,!spot"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
	if got := spec.GetMatchExpressions()[0].GetValues(); !slices.Equal(got, []string{"b", "a", "b"}) {
		t.Errorf("the spec's values were changed to %v", got)
	}
	fits := map[string]string{"runner": "subprocess", "arch": "arm64", "zone": "a", "gpu": ""}
	if !s.Matches(fits) {
		t.Errorf("%v does not take %v", s, fits)
	}
	for key, value := range map[string]string{"arch": "amd64", "zone": "c", "old": "yes", "spot": "x"} {
		labels := maps.Clone(fits)
		labels[key] = value
		if s.Matches(labels) {
			t.Errorf("%v takes %v", s, labels)
		}
	}
	delete(fits, "gpu")
	if s.Matches(fits) {
		t.Errorf("%v takes %v", s, fits)
	}

	if !SelectorOf(nil).Empty() || !SelectorOf(&soltiv1.RunnerSelector{}).Matches(nil) {
		t.Error("no selector must take everything")
	}
	unknown := SelectorOf(&soltiv1.RunnerSelector{MatchExpressions: []*soltiv1.SelectorRequirement{{Key: "a", Operator: 9}}})
	if unknown.Matches(nil) || unknown.Matches(map[string]string{"a": "b"}) {
		t.Errorf("%v takes something", unknown)
	}
}

// written is a requirement before it becomes text, and its meaning said once more, differently.
type written struct {
	key    string
	op     string
	values []string
}

func (w written) text(space func() string) string {
	words := []string{w.key, w.op}
	switch w.op {
	case "exists":
		words = []string{w.key}
	case "!":
		words = []string{"!", w.key}
	case "in", "notin":
		words = []string{w.key + " ", w.op, "(" + space() + strings.Join(w.values, space()+","+space()) + space() + ")"}
	default:
		words = append(words, w.values[0])
	}
	return space() + strings.Join(words, space()) + space()
}

func (w written) matches(labels map[string]string) bool {
	value, has := labels[w.key]
	among := has && slices.Contains(w.values, value)
	switch w.op {
	case "exists":
		return has
	case "!":
		return !has
	case "!=", "notin":
		return !among
	default:
		return among
	}
}

func TestSelectorsMeanWhatTheySay(t *testing.T) {
	keys := []string{"a", "in", "notin", "x.io/a"}
	values := []string{"", "a", "b", "in"}
	rapid.Check(t, func(t *rapid.T) {
		spaces := rapid.SampledFrom([]string{"", "", " ", "\t\n"})
		space := func() string { return spaces.Draw(t, "space") }
		var all []written
		var texts []string
		for range rapid.IntRange(1, 4).Draw(t, "requirements") {
			w := written{
				key:    rapid.SampledFrom(keys).Draw(t, "key"),
				op:     rapid.SampledFrom([]string{"exists", "!", "=", "==", "!=", "in", "notin"}).Draw(t, "op"),
				values: rapid.SliceOfN(rapid.SampledFrom(values), 1, 3).Draw(t, "values"),
			}
			if w.op == "=" || w.op == "==" || w.op == "!=" {
				w.values = w.values[:1]
			}
			if (w.op == "in" || w.op == "notin") && len(w.values) == 1 && w.values[0] == "" {
				w.values = []string{"", ""} // "()" is no set
			}
			all = append(all, w)
			texts = append(texts, w.text(space))
		}
		text := strings.Join(texts, ",")
		s, err := ParseSelector(text)
		if err != nil {
			t.Fatalf("%q: %v", text, err)
		}
		labels := map[string]string{}
		for _, key := range keys {
			if rapid.Bool().Draw(t, "has") {
				labels[key] = rapid.SampledFrom(values).Draw(t, "value")
			}
		}
		want := !slices.ContainsFunc(all, func(w written) bool { return !w.matches(labels) })
		if got := s.Matches(labels); got != want {
			t.Fatalf("%q on %v: got %v, want %v", text, labels, got, want)
		}
		again, err := ParseSelector(s.String())
		if err != nil || fmt.Sprint(again.requirements) != fmt.Sprint(s.requirements) {
			t.Fatalf("%q became %q and then %q, %v", text, s, again, err)
		}
	})
}
