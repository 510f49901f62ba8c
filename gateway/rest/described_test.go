package rest_test

import (
	"encoding/json"
	"net/http"
	"strings"
	"sync"
	"testing"

	"slotd/gateway/rest"
	"slotd/messages"
	"slotd/test/openapi"
)

var loaded = sync.OnceValues(func() (*openapi.Document, error) { return openapi.Load("openapi.yaml") })

// described is the document that every exchange of these tests is checked against.
func described(t testing.TB) *openapi.Document {
	t.Helper()
	document, err := loaded()
	if err != nil {
		t.Fatal(err)
	}
	return document
}

func TestTheServerDescribesItself(t *testing.T) {
	n := start(t, rest.Config{})
	got := n.do("GET", "/openapi.json", "")
	var document struct {
		OpenAPI    string                    `json:"openapi"`
		Paths      map[string]map[string]any `json:"paths"`
		Components struct {
			Schemas map[string]struct{ Enum []string }
		}
	}
	if err := json.Unmarshal([]byte(got.body), &document); err != nil || got.status != http.StatusOK {
		t.Fatalf("got %d %.200s: %v", got.status, got.body, err)
	}
	if !strings.HasPrefix(document.OpenAPI, "3.1.") || document.Paths["/api/v1/tasks"]["post"] == nil {
		t.Errorf("got OpenAPI %s with the paths %v", document.OpenAPI, document.Paths)
	}
	etag := got.header.Get("ETag")
	for match, status := range map[string]int{etag: 304, "W/" + etag: 304, `"x", ` + etag: 304, "*": 304, `"x"`: 200} {
		again := n.do("GET", "/openapi.json", "", "If-None-Match: "+match)
		if again.status != status || again.header.Get("ETag") != etag || (status == 304) != (again.body == "") {
			t.Errorf("If-None-Match %s: got %d, ETag %s, %d bytes", match, again.status, again.header.Get("ETag"), len(again.body))
		}
	}
	n.do("GET", "/openapi.json?x=1", "").refuses(t, 400, "InvalidRequest", "unknown parameter")
	for name, want := range map[string][]string{
		"ErrorLabel": {
			messages.LabelInvalidRequest, messages.LabelUnauthenticated, messages.LabelPermissionDenied, messages.LabelTaskNotFound, messages.LabelNotFound,
			messages.LabelMethodNotAllowed, messages.LabelSlotBusy, messages.LabelPreconditionFailed, messages.LabelPayloadTooLarge, messages.LabelUnsupportedMediaType,
			messages.LabelNoRunner, messages.LabelUnenforceable, messages.LabelIdempotencyKeyReused, messages.LabelQueueFull, messages.LabelTooManyTasks,
			messages.LabelInternal, messages.LabelUnavailable,
		},
	} {
		if got := document.Components.Schemas[name].Enum; strings.Join(got, " ") != strings.Join(want, " ") {
			t.Errorf("%s: got %v, want %v", name, got, want)
		}
	}
}
