package codec_test

import (
	"encoding/json"
	"errors"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"

	"slotd/gateway/codec"
	soltiv1 "slotd/messages/solti/v1"
)

func TestDecodeAcceptsEveryDocumentedForm(t *testing.T) {
	want := &soltiv1.SubmitTaskRequest{Spec: &soltiv1.CreateSpec{
		Slot: "a", TimeoutMs: 1500, Restart: soltiv1.RestartStrategy_RESTART_STRATEGY_ALWAYS, MaxRetries: new(uint32(2)),
	}}
	for _, text := range []string{
		`{"spec":{"slot":"a","timeoutMs":"1500","restart":"RESTART_STRATEGY_ALWAYS","maxRetries":2}}`,
		`{"spec":{"slot":"a","timeout_ms":1500,"restart":3,"max_retries":"2"}}`,
		`{"spec":{"slot":"\u0061","timeoutMs":1.5e3,"restart":3.0,"maxRetries":20e-1,"backoff":null,"labels":null,"limits":null}}`,
		" \r\n\t{ \"spec\" : { \"slot\" : \"a\" , \"timeoutMs\" : 1500.00 , \"restart\":3,\"maxRetries\":2 } } \n",
		`{"spec":{"slot":"a","timeoutMs":1500,"restart":3,"maxRetries":2},"idempotencyKey":null}`,
	} {
		var got soltiv1.SubmitTaskRequest
		if err := codec.Decode([]byte(text), &got); err != nil {
			t.Errorf("%s: %v", text, err)
			continue
		}
		if !proto.Equal(&got, want) {
			t.Errorf("%s: got %v, want %v", text, &got, want)
		}
	}
}

// refused holds texts and what the sentence about them says.
var refused = map[string]string{
	``:                                "the body is empty, expected a JSON object",
	"  \n":                            "the body is empty, expected a JSON object",
	`null`:                            "expected an object, found null",
	`[]`:                              "expected an object, found an array",
	`"x"`:                             "expected an object, found a string",
	`12`:                              "expected an object, found a number",
	`NaN`:                             "malformed JSON at byte 1: expected an object, found 'N'",
	`{`:                               "malformed JSON at byte 2: expected a field name in quotes, found the end of the text",
	`{"spec"`:                         "malformed JSON at byte 8: expected ':' after a field name, found the end of the text",
	`{"spec":`:                        "malformed JSON at byte 9: expected an object, found the end of the text",
	`{"spec":{}`:                      "malformed JSON at byte 11: expected ',' after a field, found the end of the text",
	`{"spec":{},}`:                    "malformed JSON at byte 12: expected a field name in quotes, found '}'",
	`{spec:{}}`:                       "malformed JSON at byte 2: expected a field name in quotes, found 's'",
	`{"spec":{}} x`:                   "malformed JSON at byte 13: expected nothing after the JSON object, found 'x'",
	`{"spec":{}}{}`:                   "malformed JSON at byte 12: expected nothing after the JSON object, found '{'",
	`{"spec":nul}`:                    "malformed JSON at byte 12: expected null, found '}'",
	`{"Spec":{}}`:                     `unknown field "Spec"`,
	`{"spec":[]}`:                     "spec: expected an object, found an array",
	`{"spec":{"slotx":1}}`:            `spec: unknown field "slotx"`,
	`{"spec":{"slot":1}}`:             "spec.slot: expected a string, found a number",
	`{"spec":{"slot":{"a":1}}}`:       "spec.slot: expected a string, found an object",
	`{"spec":{"slot":"a","slot":""}}`: "spec.slot: the field is given twice",
	`{"spec":{"timeoutMs":1,"timeout_ms":1}}`:                                           "spec.timeout_ms: the field is given twice",
	`{"spec":{"timeout_ms":null,"timeoutMs":1}}`:                                        "spec.timeout_ms: the field is given twice",
	`{"spec":{"timeoutMs":-1}}`:                                                         "spec.timeout_ms: expected an integer from 0 to 18446744073709551615, found another number",
	`{"spec":{"timeoutMs":1.5}}`:                                                        "spec.timeout_ms: expected an integer from 0 to 18446744073709551615, found another number",
	`{"spec":{"timeoutMs":18446744073709551616}}`:                                       "spec.timeout_ms: expected an integer from 0 to 18446744073709551615, found another number",
	`{"spec":{"timeoutMs":1e999999999999999999999}}`:                                    "spec.timeout_ms: expected an integer from 0 to 18446744073709551615, found another number",
	`{"spec":{"timeoutMs":true}}`:                                                       "spec.timeout_ms: expected an integer from 0 to 18446744073709551615, found a boolean",
	`{"spec":{"timeoutMs":" 1"}}`:                                                       "spec.timeout_ms: expected an integer from 0 to 18446744073709551615, found a string that is not a number",
	`{"spec":{"timeoutMs":""}}`:                                                         "spec.timeout_ms: expected an integer from 0 to 18446744073709551615, found a string that is not a number",
	`{"spec":{"timeoutMs":NaN}}`:                                                        "malformed JSON at byte 22: expected an integer from 0 to 18446744073709551615, found 'N'",
	`{"spec":{"timeoutMs":01}}`:                                                         "malformed JSON at byte 23: expected the end of the number, found '1'",
	`{"spec":{"timeoutMs":1.}}`:                                                         "malformed JSON at byte 24: expected a digit after the decimal point, found '}'",
	`{"spec":{"timeoutMs":1e}}`:                                                         "malformed JSON at byte 24: expected a digit in the exponent, found '}'",
	`{"spec":{"timeoutMs":-}}`:                                                          "malformed JSON at byte 23: expected a digit, found '}'",
	`{"spec":{"maxRetries":4294967296}}`:                                                "spec.max_retries: expected an integer from 0 to 4294967295, found another number",
	`{"spec":{"backoff":{"factor":"x"}}}`:                                               "spec.backoff.factor: expected a number, found a string that is not a number",
	`{"spec":{"backoff":{"factor":1e999}}}`:                                             "spec.backoff.factor: expected a number within the range of a double",
	`{"spec":{"backoff":{"factor":[]}}}`:                                                "spec.backoff.factor: expected a number, found an array",
	`{"spec":{"restart":"NEVER"}}`:                                                      `spec.restart: unknown or unspecified restart strategy "NEVER", expected one of RESTART_STRATEGY_NEVER, RESTART_STRATEGY_ON_FAILURE, RESTART_STRATEGY_ALWAYS`,
	`{"spec":{"restart":4}}`:                                                            `spec.restart: unknown or unspecified restart strategy 4, expected one of RESTART_STRATEGY_NEVER, RESTART_STRATEGY_ON_FAILURE, RESTART_STRATEGY_ALWAYS`,
	`{"spec":{"restart":-1}}`:                                                           `spec.restart: unknown or unspecified restart strategy -1, expected one of RESTART_STRATEGY_NEVER, RESTART_STRATEGY_ON_FAILURE, RESTART_STRATEGY_ALWAYS`,
	`{"spec":{"restart":false}}`:                                                        `spec.restart: expected one of RESTART_STRATEGY_NEVER, RESTART_STRATEGY_ON_FAILURE, RESTART_STRATEGY_ALWAYS, found a boolean`,
	`{"spec":{"labels":{"a":"1","a":"2"}}}`:                                             `spec.labels["a"]: the key is given twice`,
	`{"spec":{"labels":{"a":null}}}`:                                                    `spec.labels["a"]: expected a string, found null`,
	`{"spec":{"labels":[]}}`:                                                            `spec.labels: expected an object, found an array`,
	`{"spec":{"kind":{"subprocess":{},"wasm":{}}}}`:                                     "spec.kind.wasm: subprocess is given too, only one of the two can be",
	`{"spec":{"kind":{"subprocess":{"command":{"args":["a",2]}}}}}`:                     "spec.kind.subprocess.command.args[1]: expected a string, found a number",
	`{"spec":{"kind":{"subprocess":{"command":{"args":["a",null]}}}}}`:                  "spec.kind.subprocess.command.args[1]: expected a string, found null",
	`{"spec":{"kind":{"subprocess":{"command":{"args":["a",]}}}}}`:                      "malformed JSON at byte 55: expected a string, found ']'",
	`{"spec":{"kind":{"subprocess":{"env":[{"key":"A"},{"key":1}]}}}}`:                  "spec.kind.subprocess.env[1].key: expected a string, found a number",
	`{"spec":{"kind":{"subprocess":{"failOnNonZero":"true"}}}}`:                         "spec.kind.subprocess.fail_on_non_zero: expected true or false, found a string",
	`{"spec":{"kind":{"subprocess":{"script":{"wellKnown":9}}}}}`:                       "spec.kind.subprocess.script.well_known: unknown or unspecified script runtime 9, expected one of SCRIPT_RUNTIME_BASH, SCRIPT_RUNTIME_PYTHON, SCRIPT_RUNTIME_NODE",
	`{"spec":{"kind":{"subprocess":{"script":{"wellKnown":1,"custom":{}}}}}}`:           "spec.kind.subprocess.script.custom: well_known is given too, only one of the two can be",
	`{"spec":` + strings.Repeat("[", 100000):                                            "spec: expected an object, found an array",
	`{"spec":{"kind":` + strings.Repeat(`{"subprocess":`, 100000):                       `spec.kind.subprocess: unknown field "subprocess"`,
	`{"spec":{"slot":"` + "a\nb" + `"}}`:                                                `malformed JSON at byte 19: control characters in a string must be escaped, found '\n'`,
	`{"spec":{"slot":"` + "a\xff" + `"}}`:                                               "malformed JSON at byte 19: a string must be UTF-8, found byte 0xff",
	`{"spec":{"slot":"\x"}}`:                                                            `malformed JSON at byte 19: expected an escape sequence, found 'x'`,
	`{"spec":{"slot":"\ud800"}}`:                                                        `malformed JSON at byte 24: expected the second half of a surrogate pair, found '"'`,
	`{"spec":{"slot":"\udc00\ud800"}}`:                                                  `malformed JSON at byte 30: expected a valid surrogate pair before this place, found '"'`,
	`{"spec":{"slot":"\u12"}}`:                                                          `malformed JSON at byte 22: expected a hexadecimal digit, found '"'`,
	`{"spec":{"slot":"abc`:                                                              "malformed JSON at byte 21: expected the closing quote of a string, found the end of the text",
	`{"` + strings.Repeat("x", 200) + `":1}`:                                            `unknown field "` + strings.Repeat("x", 64) + `…"`,
	"{\"spec\":{\"slot\":\"a\\n\xff\"}}":                                                "malformed JSON at byte 21: a string must be UTF-8, found byte 0xff",
	"\ufeff{}":                                                                          "malformed JSON at byte 1: expected an object, found '\\ufeff'",
	`{"spec":{"kind":{"subprocess":{"env":[{"key":"A","value":["hunter2"]}]}}}}`:        "spec.kind.subprocess.env[0].value: expected a string, found an array",
	`{"spec":{"runnerSelector":{"matchExpressions":[{"operator":"IN"}]}}}`:              `spec.runner_selector.match_expressions[0].operator: unknown or unspecified selector operator "IN", expected one of SELECTOR_OPERATOR_IN, SELECTOR_OPERATOR_NOT_IN, SELECTOR_OPERATOR_EXISTS, SELECTOR_OPERATOR_DOES_NOT_EXIST`,
	`{"spec":{"[solti.v1.ext]":1}}`:                                                     `spec: unknown field "[solti.v1.ext]"`,
	`{"spec":{"backoff":{"firstMs":{"a":1}}}}`:                                          "spec.backoff.first_ms: expected an integer from 0 to 18446744073709551615, found an object",
	`{"spec":{"timeoutMs":"1","x":1}, "idempotencyKey": 5}`:                             `spec: unknown field "x"`,
	`{"spec":{}, "idempotencyKey": 5}`:                                                  "idempotency_key: expected a string, found a number",
	`{"spec":{"kind":{"subprocess":{"command":{"command":"a"},"command":{}}}}}`:         "spec.kind.subprocess.command: the field is given twice",
	`{"spec":{"kind":{"subprocess":{"command":{"command":"a"},"script":{"body":""}}}}}`: "spec.kind.subprocess.script: command is given too, only one of the two can be",
}

func TestDecodeRefusesWithASentenceThatNamesTheField(t *testing.T) {
	for text, want := range refused {
		err := codec.Decode([]byte(text), new(soltiv1.SubmitTaskRequest))
		var refusal *codec.Error
		if !errors.As(err, &refusal) {
			t.Errorf("%.80q: got %v, want a *codec.Error", text, err)
			continue
		}
		if diff := cmp.Diff(refusal.Error(), want); diff != "" {
			t.Errorf("%.80q (-got +want):\n%s", text, diff)
		}
	}
}

func TestDecodeListReadsOneListOfObjects(t *testing.T) {
	read := func(text string) ([]string, error) {
		var specs []*soltiv1.CreateSpec
		err := codec.DecodeList([]byte(text), "specs", func(i int) (proto.Message, error) {
			if i == 2 {
				return nil, errors.New("two are enough")
			}
			specs = append(specs, new(soltiv1.CreateSpec))
			return specs[i], nil
		})
		slots := []string{}
		for _, spec := range specs {
			slots = append(slots, spec.GetSlot())
		}
		return slots, err
	}
	slots, err := read(`{"specs":[{"slot":"a"},{"slot":"b"}]}`)
	if diff := cmp.Diff(slots, []string{"a", "b"}); diff != "" || err != nil {
		t.Errorf("err %v (-got +want):\n%s", err, diff)
	}
	for text, want := range map[string]string{
		`{"specs":[{"slot":"a"},{"slot":7}]}`: "specs[1].slot: expected a string, found a number",
		`{"specs":[null]}`:                    "specs[0]: expected an object, found null",
		`{"specs":{}}`:                        "specs: expected an array, found an object",
		`{"specs":[],"specs":[]}`:             "specs: the field is given twice",
		`{"spec":{}}`:                         `unknown field "spec"`,
		`{"specs":[{},{},{}]}`:                "specs[2]: two are enough",
		``:                                    "the body is empty, expected a JSON object",
		`{"specs":[]} ]`:                      "malformed JSON at byte 14: expected nothing after the JSON object, found ']'",
	} {
		if _, err := read(text); err == nil || err.Error() != want {
			t.Errorf("%s: got %v, want %s", text, err, want)
		}
	}
}

// FuzzDecode compares with protojson: what we accept means the same there, and what we refuse it refuses too, except
// for enum numbers outside the table and for texts that are not JSON at all ("1e" is a number there).
func FuzzDecode(f *testing.F) {
	for text := range refused {
		if len(text) < 4096 {
			f.Add([]byte(text))
		}
	}
	for _, m := range samples() {
		f.Add(codec.Append(nil, m))
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		var ours, theirs soltiv1.SubmitTaskRequest
		err := codec.Decode(text, &ours)
		reference := protojson.Unmarshal(text, &theirs)
		if err == nil {
			if reference != nil {
				t.Fatalf("accepted %q, which protojson refuses: %v", text, reference)
			}
			if !proto.Equal(&ours, &theirs) {
				t.Fatalf("%q means %v, not %v", text, &theirs, &ours)
			}
			return
		}
		var refusal *codec.Error
		if !errors.As(err, &refusal) || refusal.Problem == "" {
			t.Fatalf("%q: %v is not a *codec.Error with a problem", text, err)
		}
		if reference == nil && json.Valid(text) && !strings.Contains(refusal.Problem, "unknown or unspecified") {
			t.Fatalf("refused %q, which protojson accepts: %v", text, err)
		}
	})
}
