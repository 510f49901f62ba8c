package rpc

import (
	"strings"
	"testing"

	"github.com/hashicorp/go-hclog"
	"google.golang.org/protobuf/reflect/protoreflect"

	"slotd/gateway"
	"slotd/gateway/ask"
	"slotd/gateway/auth"
	slotdv1 "slotd/messages/slotd/v1"
	soltiv1 "slotd/messages/solti/v1"
)

type noReader struct{ gateway.Reader }

// Without a role a method is for nobody but admin, which nobody would notice before a token with a lesser one is used.
func TestEveryMethodSaysWhichRoleItNeeds(t *testing.T) {
	s, err := New(Deps{
		Registry: ask.New(nil, nil), Reader: noReader{}, Logs: struct{ gateway.Logs }{},
		Version: &slotdv1.VersionResponse{}, Logger: hclog.NewNullLogger(),
	})
	if err != nil {
		t.Fatal(err)
	}
	methods := make(map[string]bool)
	for service, info := range s.grpc.GetServiceInfo() {
		for _, method := range info.Methods {
			methods["/"+service+"/"+method.Name] = true
		}
	}
	for _, file := range []protoreflect.FileDescriptor{soltiv1.File_solti_v1_api_proto, slotdv1.File_slotd_v1_supervisor_proto} {
		for i := range file.Services().Len() {
			service := file.Services().Get(i)
			for j := range service.Methods().Len() {
				methods["/"+string(service.FullName())+"/"+string(service.Methods().Get(j).Name())] = true
			}
		}
	}
	for method := range methods {
		role, ok := needs[method]
		if !ok {
			t.Errorf("%s has no role in roles.go", method)
		}
		verb := method[strings.LastIndex(method, "/")+1:]
		changes := strings.HasPrefix(verb, "Submit") || strings.HasPrefix(verb, "Cancel") || strings.HasPrefix(verb, "Delete") || strings.HasPrefix(verb, "Purge")
		if changes != (role == auth.Submit) {
			t.Errorf("%s needs %v", method, role)
		}
		if open := strings.Contains(method, ".health.") || verb == "GetVersion"; open != (role == auth.None) {
			t.Errorf("%s needs %v", method, role)
		}
	}
	if len(needs) != len(methods) {
		t.Errorf("roles.go has %d methods, and there are %d", len(needs), len(methods))
	}
	if got := roleOf("/slotd.v1.Supervisor/New"); got != auth.Admin {
		t.Errorf("a method without a role needs %v, want admin", got)
	}
}
