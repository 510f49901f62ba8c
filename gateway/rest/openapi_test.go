package rest

import (
	"net/http"
	"strings"
	"testing"

	"github.com/hashicorp/go-hclog"

	"slotd/gateway"
	"slotd/gateway/ask"
	slotdv1 "slotd/messages/slotd/v1"
	"slotd/test/openapi"
)

// ofABlankID are routes that exist only to refuse a task id that was left out. The document describes them as the same
// path with an id.
var ofABlankID = []string{"GET /api/v1/tasks/", "HEAD /api/v1/tasks/", "DELETE /api/v1/tasks/"}

// nobody is a node that is asked nothing.
type nobody struct {
	gateway.Reader
	gateway.Logs
}

// nothing happens there.
type nothing struct{ gateway.Events }

func TestTheDocumentHasEveryRouteAndNoOther(t *testing.T) {
	document, err := openapi.Load("openapi.yaml")
	if err != nil {
		t.Fatal(err)
	}
	server, err := New(Config{}, Deps{Registry: ask.New(nil, nil), Reader: nobody{}, Logs: nobody{}, Events: nothing{}, Version: new(slotdv1.VersionResponse), Logger: hclog.NewNullLogger()})
	if err != nil {
		t.Fatal(err)
	}
	described := make(map[string]bool)
	for operation, stream := range document.Operations() {
		described[operation] = true
		if path, get := strings.CutPrefix(operation, http.MethodGet+" "); get && !stream {
			described[http.MethodHead+" "+path] = true
		}
	}
	routed := make(map[string]bool)
	for _, route := range server.engine.Routes() {
		segments := strings.Split(route.Path, "/")
		for i, segment := range segments {
			if name, ok := strings.CutPrefix(segment, ":"); ok {
				segments[i] = "{" + name + "}"
			}
		}
		routed[route.Method+" "+strings.Join(segments, "/")] = true
	}
	for _, route := range ofABlankID {
		if !routed[route] {
			t.Errorf("%s is not routed: take it off the list", route)
		}
		delete(routed, route)
	}
	for route := range routed {
		if !described[route] {
			t.Errorf("openapi.yaml does not describe %s", route)
		}
	}
	for operation := range described {
		if !routed[operation] {
			t.Errorf("openapi.yaml describes %s, which is not routed", operation)
		}
	}
	if len(described) < 20 {
		t.Errorf("only %d operations are described", len(described))
	}
}
