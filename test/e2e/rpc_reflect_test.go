package e2e

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"testing"

	"google.golang.org/grpc"
	reflectionpb "google.golang.org/grpc/reflection/grpc_reflection_v1"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protodesc"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/reflect/protoregistry"
	"google.golang.org/protobuf/types/descriptorpb"
	"google.golang.org/protobuf/types/dynamicpb"
)

// stranger is a client that knows nothing but what the daemon tells of itself: it speaks JSON, and makes messages of it
// with the descriptors that reflection gives.
type stranger struct {
	*caller
	services []string
	files    *protoregistry.Files
}

// stranger asks the daemon for its services and all they are made of.
func (d *daemon) stranger() *stranger {
	d.t.Helper()
	s := &stranger{caller: d.call()}
	stream, err := reflectionpb.NewServerReflectionClient(s).ServerReflectionInfo(s.ctx())
	if err != nil {
		d.t.Fatal(err)
	}
	ask := func(request *reflectionpb.ServerReflectionRequest) *reflectionpb.ServerReflectionResponse {
		d.t.Helper()
		if err := stream.Send(request); err != nil {
			d.t.Fatal(err)
		}
		answer, err := stream.Recv()
		if err != nil || answer.GetErrorResponse() != nil {
			d.t.Fatalf("reflection: %v, %v", answer, err)
		}
		return answer
	}
	list := ask(&reflectionpb.ServerReflectionRequest{MessageRequest: &reflectionpb.ServerReflectionRequest_ListServices{}})
	files := map[string]*descriptorpb.FileDescriptorProto{}
	for _, service := range list.GetListServicesResponse().GetService() {
		s.services = append(s.services, service.GetName())
		answer := ask(&reflectionpb.ServerReflectionRequest{MessageRequest: &reflectionpb.ServerReflectionRequest_FileContainingSymbol{FileContainingSymbol: service.GetName()}})
		for _, raw := range answer.GetFileDescriptorResponse().GetFileDescriptorProto() {
			var file descriptorpb.FileDescriptorProto
			if err := proto.Unmarshal(raw, &file); err != nil {
				d.t.Fatal(err)
			}
			files[file.GetName()] = &file
		}
	}
	var set descriptorpb.FileDescriptorSet
	for _, file := range files {
		set.File = append(set.File, file)
	}
	if s.files, err = protodesc.NewFiles(&set); err != nil {
		d.t.Fatal(err)
	}
	if err := stream.CloseSend(); err != nil {
		d.t.Error(err)
	}
	return s
}

// do calls a method such as solti.v1.SoltiApi/SubmitTask with JSON, and returns what it answers.
func (s *stranger) do(method, request string) []map[string]any {
	s.t.Helper()
	name, of, _ := strings.Cut(method, "/")
	found, err := s.files.FindDescriptorByName(protoreflect.FullName(name))
	if err != nil {
		s.t.Fatal(err)
	}
	service, ok := found.(protoreflect.ServiceDescriptor)
	if !ok || service.Methods().ByName(protoreflect.Name(of)) == nil {
		s.t.Fatalf("there is no method %s", method)
	}
	called := service.Methods().ByName(protoreflect.Name(of))
	in := dynamicpb.NewMessage(called.Input())
	if err := protojson.Unmarshal([]byte(request), in); err != nil {
		s.t.Fatal(err)
	}
	stream, err := s.NewStream(s.ctx(), &grpc.StreamDesc{ServerStreams: true}, "/"+method)
	if err == nil {
		err = errors.Join(stream.SendMsg(in), stream.CloseSend())
	}
	if err != nil {
		s.t.Fatal(err)
	}
	var answers []map[string]any
	for {
		out := dynamicpb.NewMessage(called.Output())
		if err := stream.RecvMsg(out); errors.Is(err, io.EOF) {
			return answers
		} else if err != nil {
			s.t.Fatalf("%s %s: %v", method, request, err)
		}
		text, err := protojson.Marshal(out)
		if err != nil {
			s.t.Fatal(err)
		}
		var answer map[string]any
		if err := json.Unmarshal(text, &answer); err != nil {
			s.t.Fatal(err)
		}
		answers = append(answers, answer)
	}
}

// one is do for a method with one answer; path leads to the value in it that is wanted.
func (s *stranger) one(method, request string, path ...string) any {
	s.t.Helper()
	answers := s.do(method, request)
	if len(answers) != 1 {
		s.t.Fatalf("%s: %d answers", method, len(answers))
	}
	var value any = answers[0]
	for _, name := range path {
		fields, ok := value.(map[string]any)
		if !ok {
			s.t.Fatalf("%s: %v has no %s", method, answers[0], name)
		}
		value = fields[name]
	}
	return value
}

// list is one for a value that is a list.
func (s *stranger) list(method, request, name string) []any {
	s.t.Helper()
	values, ok := s.one(method, request, name).([]any)
	if !ok {
		s.t.Fatalf("%s: %s is no list", method, name)
	}
	return values
}

func TestAStrangerDoesEverythingWithReflectionAlone(t *testing.T) {
	t.Parallel()
	d := serve(t)
	s := d.stranger()
	for _, want := range []string{"grpc.health.v1.Health", "grpc.reflection.v1.ServerReflection", "slotd.v1.Supervisor", "solti.v1.SoltiApi"} {
		if !slices.Contains(s.services, want) {
			t.Errorf("the services %q lack %s", s.services, want)
		}
	}
	if got := s.one("grpc.health.v1.Health/Check", `{}`, "status"); got != "SERVING" {
		t.Errorf("health %v", got)
	}
	id := s.one("solti.v1.SoltiApi/SubmitTask", object{"spec": shell("lane", "echo hello; exec sleep 1000")}.String(), "taskId")
	named := fmt.Sprintf(`{"taskId":%q`, id)
	if got := s.one("solti.v1.SoltiApi/GetTaskStatus", named+`,"waitMs":"60000","waitFor":"running"}`, "task", "status", "phase"); got != "TASK_STATUS_RUNNING" {
		t.Errorf("get %v", got)
	}
	eventually(t, "the line is kept", func() bool { return slices.Contains(outline(d.kept(fmt.Sprint(id), "tail=all")), "hello") })
	if got := s.one("slotd.v1.Supervisor/GetSlot", `{"slot":"lane"}`, "slot", "holder"); got != id {
		t.Errorf("slot %v", got)
	}
	waiting := s.one("slotd.v1.Supervisor/SubmitTasks", object{"specs": []object{shell("lane", "true").with("admission", queue)}}.String(), "results")
	if got := s.list("slotd.v1.Supervisor/PurgeSlotTasks", `{"slot":"lane"}`, "taskIds"); len(got) != 1 || !strings.Contains(fmt.Sprint(waiting), fmt.Sprint(got[0])) {
		t.Errorf("purged %v, queued %v", got, waiting)
	}
	if got := s.one("slotd.v1.Supervisor/CancelTask", named+`,"graceMs":"0"}`, "task", "status", "reason"); got != "Canceled" {
		t.Errorf("cancel %v", got)
	}
	logs := s.do("solti.v1.SoltiApi/StreamTaskLogs", named+`,"tail":"18446744073709551615"}`)
	if len(logs) != 3 || !strings.Contains(fmt.Sprint(logs[1]), "aGVsbG8=") {
		t.Errorf("logs %v", logs)
	}
	if got := s.list("solti.v1.SoltiApi/ListTaskRuns", named+`}`, "runs"); len(got) != 1 {
		t.Errorf("runs %v", got)
	}
	if got := s.one("solti.v1.SoltiApi/ListTasks", `{"slot":"lane","newest":true,"limit":1}`, "total"); got != 2.0 {
		t.Errorf("list %v", got)
	}
	if got := s.do("solti.v1.SoltiApi/DeleteTask", named+`}`); len(got) != 1 || len(got[0]) != 0 {
		t.Errorf("delete %v", got)
	}
	if got := s.list("slotd.v1.Supervisor/ListNodes", `{}`, "nodes"); len(got) != 1 {
		t.Errorf("nodes %v", got)
	}
	if got := s.one("slotd.v1.Supervisor/Introspect", `{}`, "node"); got != d.node {
		t.Errorf("introspect %v", got)
	}
	if got := s.one("slotd.v1.Supervisor/GetVersion", `{}`, "api"); got == "" {
		t.Errorf("version %v", got)
	}
}
