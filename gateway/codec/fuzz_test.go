package codec_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"slices"
	"strings"
	"testing"

	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"

	"slotd/gateway/codec"
	"slotd/messages"
	slotdv1 "slotd/messages/slotd/v1"
	soltiv1 "slotd/messages/solti/v1"
)

// A body on its way through a server: what is decoded and completed is written so that it reads back the same, and
// whether it is valid does not depend on how often it went that way.
func FuzzSubmitBody(f *testing.F) {
	for _, text := range []string{
		`{"spec":{"slot":"build","timeoutMs":"1000","kind":{"subprocess":{"command":{"command":"echo","args":["hi","\u2028"]},"env":[{"key":"A","value":"1","secret":true}],"cwd":"/"}}}}`,
		`{"spec":{"slot":"s","timeout_ms":1.5e3,"kind":{"subprocess":{"script":{"well_known":2,"body":"cHJpbnQoMSk="}}},"maxRetries":0},"idempotencyKey":"k"}`,
		`{"spec":{"slot":"s","timeoutMs":1,"kind":{"wasm":{"module":"a.wasm","mounts":[{"source":"/a","target":"/b","readOnly":true}]}},"backoff":{"firstMs":1,"maxMs":2,"factor":1.7976931348623157e308}}}`,
		`{"spec":{"slot":"s","timeoutMs":1,"kind":{"container":{"image":"a","network":"host","pull":"never"}},"labels":{"a/b":"c","":""},"limits":{"pids":"0"}}}`,
		`{"spec":{"backoff":{"factor":"NaN"},"runnerSelector":{"matchLabels":{"a":"b"},"matchExpressions":[{"key":"a","operator":"SELECTOR_OPERATOR_IN","values":["x"]}]}}}`,
		`{"spec":{"slot":"\ud800\udc00\u0000","backoff":{"factor":-0,"firstMs":"-0"},"restartIntervalMs":18446744073709551615}}`,
	} {
		f.Add([]byte(text))
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		request := new(soltiv1.SubmitTaskRequest)
		given := slices.Clone(text)
		err := codec.Decode(text, request)
		if !bytes.Equal(given, text) {
			t.Fatal("decoding has changed the text")
		}
		if err != nil {
			return
		}
		messages.Defaults(request.GetSpec())
		verdict := messages.Validate(request.GetSpec())
		written := codec.Append(nil, request)
		if !json.Valid(written) {
			t.Fatalf("%q became %q, which is no JSON", text, written)
		}
		again := new(soltiv1.SubmitTaskRequest)
		if err := codec.Decode(written, again); err != nil {
			t.Fatalf("%q became %q, which is refused: %v", text, written, err)
		}
		if back := codec.Append(nil, again); !bytes.Equal(back, written) {
			t.Fatalf("%q became %q, and then %q", text, written, back)
		}
		if repeated := messages.Validate(again.GetSpec()); (repeated == nil) != (verdict == nil) {
			t.Fatalf("%q: %v, and once written %v", text, verdict, repeated)
		}
		theirs := new(soltiv1.SubmitTaskRequest)
		if err := protojson.Unmarshal(written, theirs); err != nil || !bytes.Equal(codec.Append(nil, theirs), written) {
			t.Fatalf("%q means %v to protojson, %v", written, theirs, err)
		}
		// A task is written without reflection; it must say of the spec what the request says.
		task := codec.Append(nil, &soltiv1.TaskData{Spec: request.GetSpec()})
		want := []byte(`{}`)
		if request.GetSpec() != nil {
			want = append(append([]byte(`{"spec":`), codec.Append(nil, request.GetSpec())...), '}')
		}
		if !bytes.Equal(task, want) {
			t.Fatalf("a task shows %q, want %q", task, want)
		}
	})
}

// FuzzBatchBody: a batch means what protojson says it means, and its specs are counted before they are read.
func FuzzBatchBody(f *testing.F) {
	const most = 8
	for _, text := range []string{
		`{"specs":[]}`, `{"specs":[{},{"slot":"a","timeoutMs":1}]}`, `{"specs":null}`, `{"specs":[null]}`, `{}`,
		`{"specs":[{}],"specs":[{}]}`, `{"specs":[{"slot":"a"},{"slot":1}]}`, `{"specs":{"0":{}}}`, `{"specs":[` + strings.Repeat(`{},`, most) + `{}]}`,
		`{"specs":[{},]}`, `{"specs":[[[[[[[[[[`, `{"\u0073pecs":[{}]}`,
	} {
		f.Add([]byte(text))
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		var specs []*soltiv1.CreateSpec
		asked := 0
		err := codec.DecodeList(text, "specs", func(i int) (proto.Message, error) {
			if i != asked {
				t.Fatalf("%q: asks for element %d after %d", text, i, asked-1)
			}
			if asked++; i == most {
				return nil, errors.New("enough")
			}
			specs = append(specs, new(soltiv1.CreateSpec))
			return specs[i], nil
		})
		if asked > most+1 {
			t.Fatalf("%q: asked for %d elements", text, asked)
		}
		if err != nil {
			var refusal *codec.Error
			if !errors.As(err, &refusal) || refusal.Problem == "" {
				t.Fatalf("%q: %v is not a *codec.Error with a problem", text, err)
			}
			return
		}
		theirs := new(slotdv1.SubmitTasksRequest)
		if err := protojson.Unmarshal(text, theirs); err != nil {
			t.Fatalf("accepted %q, which protojson refuses: %v", text, err)
		}
		ours := &slotdv1.SubmitTasksRequest{Specs: specs}
		if got, want := codec.Append(nil, ours), codec.Append(nil, theirs); !bytes.Equal(got, want) {
			t.Fatalf("%q means %s, not %s", text, want, got)
		}
	})
}

// FuzzRefusalNamesNoValue: whatever is wrong around a variable, and with it, the sentence about it does not show its value.
func FuzzRefusalNamesNoValue(f *testing.F) {
	const (
		value   = `hunter2`
		subject = `{"key":"PASSWORD","value":"` + value + `","secret":true}`
	)
	const before, after = `{"spec":{"slot":"a","timeoutMs":1,"kind":{"subprocess":{"command":{"command":"a"},"env":[`, `]}}}}`
	for _, around := range [][2]string{
		{before, after},
		{before, `,{"key":"A=B"}` + after},
		{before, `,{"key":1}` + after},
		{strings.Replace(before, `"env":`, `"env":{"a":`, 1), after},
		{`{"spec":{"restart":`, `}}`},
		{`{"spec":{"labels":{"a":`, `}}}`},
		{`{"spec":"`, `"}`},
		{before + `{"key":`, `}` + after},
		{before + `"`, after},
		{before, `x`},
	} {
		f.Add(around[0], around[1])
	}
	f.Fuzz(func(t *testing.T, before, after string) {
		if strings.Contains(before+after, "hunter") {
			return
		}
		request := new(soltiv1.SubmitTaskRequest)
		err := codec.Decode([]byte(before+subject+after), request)
		if err == nil {
			err = messages.Validate(request.GetSpec())
		}
		if err != nil && strings.Contains(err.Error(), value) {
			t.Fatalf("%q around a variable: %v", []string{before, after}, err)
		}
	})
}
