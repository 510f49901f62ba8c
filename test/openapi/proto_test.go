package openapi_test

import (
	"os"
	"slices"
	"strings"
	"testing"

	"google.golang.org/protobuf/reflect/protoreflect"
	"sigs.k8s.io/yaml"

	slotdv1 "slotd/messages/slotd/v1"
	soltiv1 "slotd/messages/solti/v1"
)

// schema is the part of a schema that a message determines.
type schema struct {
	Ref        string `json:"$ref"`
	Type       any
	Enum       []string
	Items      *schema
	Properties map[string]*schema
	Required   []string
}

// asked are messages of requests: a schema has the same name, and what is required of a client is no matter of types.
var asked = []string{
	"SubmitTaskRequest", "SubmitTasksRequest", "CreateSpec", "BackoffStrategy", "ResourceLimits", "TaskKind", "SubprocessTask", "CommandMode", "ScriptMode",
	"CustomRuntime", "WasmTask", "ContainerTask", "Mount", "KeyValue", "RunnerSelector", "SelectorRequirement",
}

// answered are messages of answers with the names of their schemas.
var answered = map[string]string{
	"SubmitTaskResponse": "SubmitTaskResponse", "SubmitTasksResponse": "SubmitTasksResponse", "SubmitTasksResult": "SubmitTasksResult",
	"GetTaskStatusResponse": "GetTaskResponse", "CancelTaskResponse": "CancelTaskResponse", "ListTasksResponse": "ListTasksResponse",
	"ListTaskRunsResponse": "ListTaskRunsResponse", "TaskData": "Task", "ObjectMeta": "ObjectMeta", "CreateSpec": "TaskSpec", "BackoffStrategy": "TaskBackoff",
	"ResourceLimits": "TaskLimits", "TaskStatusInfo": "TaskStatusInfo", "TaskRunInfo": "Run", "ListSlotsResponse": "ListSlotsResponse",
	"GetSlotResponse": "GetSlotResponse", "PurgeSlotTasksResponse": "PurgeSlotTasksResponse", "SlotView": "SlotView", "DecisionCounters": "DecisionCounters",
	"ListNodesResponse": "ListNodesResponse", "NodeView": "NodeView", "VersionResponse": "VersionResponse", "IntrospectResponse": "IntrospectResponse",
	"StoreView": "StoreView", "LogsView": "LogsView", "EventsView": "EventsView", "RunnerView": "RunnerView", "LatencyView": "LatencyView", "QueueDepth": "QueueDepth",
}

// streamed are messages that are events here, with numbers as numbers and a type.
var streamed = []string{"TaskEvent", "SlotEvent", "GapEvent"}

// elsewhere are messages that HTTP has in another form: parameters, no body, frames.
var elsewhere = []string{
	"GetTaskStatusRequest", "ListTasksRequest", "ListTaskRunsRequest", "DeleteTaskRequest", "DeleteTaskResponse", "StreamTaskLogsRequest", "CancelTaskRequest",
	"ListSlotsRequest", "GetSlotRequest", "PurgeSlotTasksRequest", "StreamEventsRequest", "ListNodesRequest", "GetVersionRequest", "IntrospectRequest",
	"OutputChunkProto", "RunStartedProto", "RunFinishedProto", "LaggedProto", "OutputEventProto", "Event",
}

func TestSchemasHaveTheFieldsOfTheMessages(t *testing.T) {
	data, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	var document struct {
		Components struct{ Schemas map[string]*schema }
	}
	if err := yaml.Unmarshal(data, &document); err != nil {
		t.Fatal(err)
	}
	schemas := document.Components.Schemas
	seen := 0
	for _, source := range []protoreflect.FileDescriptor{soltiv1.File_solti_v1_api_proto, soltiv1.File_solti_v1_task_proto, slotdv1.File_slotd_v1_supervisor_proto} {
		for i := range source.Messages().Len() {
			message := source.Messages().Get(i)
			name := string(message.Name())
			found := slices.Contains(elsewhere, name)
			if slices.Contains(asked, name) {
				found = true
				compare(t, schemas, name, message, "Uint64Input", nil)
			}
			if called, ok := answered[name]; ok {
				found = true
				compare(t, schemas, called, message, "string", nil)
				always(t, schemas[called], called, message)
			}
			if slices.Contains(streamed, name) {
				found = true
				compare(t, schemas, name, message, "integer", []string{"type"})
				always(t, schemas[name], name, message)
			}
			if !found {
				t.Errorf("message %s has no schema", name)
			}
			seen++
		}
	}
	if seen < 60 {
		t.Errorf("only %d messages were looked at", seen)
	}
}

// compare checks that a schema has the message's fields with their types, and no others but more. wide is what a 64-bit
// integer is.
func compare(t *testing.T, schemas map[string]*schema, name string, message protoreflect.MessageDescriptor, wide string, more []string) {
	t.Helper()
	s := schemas[name]
	if s == nil {
		t.Errorf("there is no schema %s", name)
		return
	}
	fields := message.Fields()
	if got, want := len(s.Properties), fields.Len()+len(more); got != want {
		t.Errorf("%s has %d properties, want %d", name, got, want)
	}
	for i := range fields.Len() {
		field := fields.Get(i)
		property := s.Properties[field.JSONName()]
		if property == nil {
			t.Errorf("%s has no %s", name, field.JSONName())
			continue
		}
		place := name + "." + field.JSONName()
		switch {
		case field.IsMap():
			is(t, schemas, place, property, "object")
			continue
		case field.IsList():
			list := resolve(schemas, property)
			is(t, schemas, place, list, "array")
			if property = list.Items; property == nil {
				t.Errorf("%s has no items", place)
				continue
			}
		}
		switch field.Kind() {
		case protoreflect.BoolKind:
			is(t, schemas, place, property, "boolean")
		case protoreflect.StringKind, protoreflect.BytesKind:
			is(t, schemas, place, property, "string")
		case protoreflect.Int32Kind, protoreflect.Uint32Kind:
			is(t, schemas, place, property, "integer")
		case protoreflect.DoubleKind:
			is(t, schemas, place, property, "number")
		case protoreflect.Int64Kind, protoreflect.Uint64Kind:
			if wide == "Uint64Input" {
				if !strings.HasSuffix(property.Ref, "/"+wide) {
					t.Errorf("%s is %q, want %s", place, property.Ref, wide)
				}
				continue
			}
			is(t, schemas, place, property, wide)
		case protoreflect.MessageKind:
			is(t, schemas, place, property, "object")
		case protoreflect.EnumKind:
			var names []string
			for i := range field.Enum().Values().Len() {
				if v := field.Enum().Values().Get(i); v.Number() != 0 {
					names = append(names, string(v.Name()))
				}
			}
			if got := resolve(schemas, property).Enum; !slices.Equal(got, names) {
				t.Errorf("%s is one of %v, want %v", place, got, names)
			}
		default:
			t.Errorf("%s: no rule for the kind %v", place, field.Kind())
		}
	}
}

// filled are fields that a request may leave out, and an answer has with its default.
var filled = []string{"TaskSpec.stopGraceMs"}

// always checks that what is never left out of an answer is required of it, and what can be is not.
func always(t *testing.T, s *schema, name string, message protoreflect.MessageDescriptor) {
	t.Helper()
	fields := message.Fields()
	for i := range fields.Len() {
		field := fields.Get(i)
		required := slices.Contains(s.Required, field.JSONName())
		isMessage := field.Kind() == protoreflect.MessageKind && !field.IsList() && !field.IsMap()
		place := name + "." + field.JSONName()
		if want := !field.HasPresence() || slices.Contains(filled, place); !isMessage && required != want {
			t.Errorf("%s: required is %v, want %v", place, required, want)
		}
	}
}

func resolve(schemas map[string]*schema, s *schema) *schema {
	if name, ok := strings.CutPrefix(s.Ref, "#/components/schemas/"); ok && schemas[name] != nil {
		return resolve(schemas, schemas[name])
	}
	return s
}

func is(t *testing.T, schemas map[string]*schema, place string, s *schema, want string) {
	t.Helper()
	if got := resolve(schemas, s).Type; got != want {
		t.Errorf("%s is of type %v, want %s", place, got, want)
	}
}
