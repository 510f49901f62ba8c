package openapi

import (
	"bytes"
	"fmt"
	"io"
	"mime"
	"net/http"
	"net/url"
	"slices"
	"strings"

	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"

	slotdv1 "slotd/messages/slotd/v1"
	soltiv1 "slotd/messages/solti/v1"
)

// operation is what the document says of a request; its node is empty where it says nothing.
type operation struct {
	node

	parameters []node
	path       map[string]string // values of the parameters in the path
}

// find looks an operation up by method and escaped path. HEAD is answered wherever GET is, and need not be described,
// except where GET answers with events.
func (d *Document) find(method, path string) (operation, bool) {
	op, ok := d.findExactly(method, path)
	if !ok && method == http.MethodHead {
		op, ok = d.findExactly(http.MethodGet, path)
		return op, ok && !d.streams(op.node)
	}
	return op, ok
}

func (d *Document) streams(op node) bool {
	_, stream := d.under(op, "responses", "200", "content", "text/event-stream")
	return stream
}

func (d *Document) findExactly(method, path string) (operation, bool) {
	paths, _ := d.at("paths")
	var best operation
	for template := range paths.value {
		values, ok := match(template, path)
		if !ok || best.value != nil && len(best.path) <= len(values) {
			continue
		}
		item, _ := d.under(paths, template)
		if op, ok := d.under(item, strings.ToLower(method)); ok {
			best = operation{op, append(d.list(item, "parameters"), d.list(op, "parameters")...), values}
		}
	}
	return best, best.value != nil
}

// match compares a path with a template, segment by segment, and returns the values of the parameters.
func match(template, path string) (map[string]string, bool) {
	wanted, given := strings.Split(template, "/"), strings.Split(path, "/")
	if len(wanted) != len(given) {
		return nil, false
	}
	values := make(map[string]string)
	for i, segment := range wanted {
		name, isParameter := strings.CutPrefix(segment, "{")
		value, err := url.PathUnescape(given[i])
		if err != nil {
			value = given[i]
		}
		switch {
		case isParameter:
			values[strings.TrimSuffix(name, "}")] = value
		case value != segment:
			return nil, false
		}
	}
	return values, true
}

// request checks a request that the server has not refused as malformed.
func (d *Document) request(op operation, r *http.Request, body []byte) (problems []string) {
	problem := func(format string, args ...any) { problems = append(problems, fmt.Sprintf(format, args...)) }
	query := r.URL.Query()
	for _, parameter := range op.parameters {
		name, _ := parameter.value["name"].(string)
		place, _ := parameter.value["in"].(string)
		var given []string
		switch place {
		case "query":
			given = query[name]
			delete(query, name)
		case "header":
			given = r.Header.Values(name)
			if schema, _ := d.under(parameter, "schema"); len(given) > 1 && schema.value["pattern"] == nil {
				given = []string{strings.Join(given, ", ")}
			}
		case "path":
			given = []string{op.path[name]}
		}
		if len(given) > 0 {
			if err := d.validText(parameter, given...); err != nil {
				problem("%s parameter %s: %v", place, name, err)
			}
		} else if parameter.value["required"] == true {
			problem("%s parameter %s is required", place, name)
		}
	}
	if security, ok := op.value["security"].([]any); !ok || len(security) > 0 { // what needs no token ignores parameters
		for name := range query {
			problem("query parameter %s is not declared", name)
		}
	}
	if wanted, ok := d.under(op.node, "requestBody"); ok {
		if err := d.requestBody(op, wanted, r.Header.Get("Content-Type"), body); err != nil {
			problem("body: %v", err)
		}
	}
	return problems
}

func (d *Document) requestBody(op operation, wanted node, contentType string, body []byte) error {
	media, _, err := mime.ParseMediaType(contentType)
	if err != nil {
		return err
	}
	content, ok := d.under(wanted, "content", media)
	if !ok {
		return fmt.Errorf("content type %s is not declared", media)
	}
	err = d.validJSON(content.pointer+"/schema", body)
	if err == nil {
		return nil
	}
	// The document describes one of the spellings that proto3-JSON allows. Others are brought into it first.
	if text, spelled := respelled(op.value["operationId"], body); spelled {
		return d.validJSON(content.pointer+"/schema", text)
	}
	return err
}

// respelled writes a body with lowerCamelCase names, enums by name and nothing that is null.
func respelled(operationID any, body []byte) ([]byte, bool) {
	var m proto.Message
	switch operationID {
	case "submitTask":
		m = new(soltiv1.SubmitTaskRequest)
	case "submitTasks":
		m = new(slotdv1.SubmitTasksRequest)
	default:
		return nil, false
	}
	if protojson.Unmarshal(body, m) != nil {
		return nil, false
	}
	text, err := protojson.Marshal(m)
	return text, err == nil
}

// ofHTTP are headers that say nothing about the API.
var ofHTTP = []string{"Connection", "Content-Length", "Content-Type", "Date"}

// ofEveryAnswer are headers that the document declares in words, with the value that they always have.
var ofEveryAnswer = map[string]string{"Cache-Control": "no-cache", "X-Content-Type-Options": "nosniff"}

// undescribed are the answers to what the document has no operation for.
var undescribed = map[int]string{
	http.StatusBadRequest: "InvalidRequest", http.StatusUnauthorized: "Unauthenticated", http.StatusForbidden: "PermissionDenied",
	http.StatusNotFound: "NotFound", http.StatusMethodNotAllowed: "MethodNotAllowed", http.StatusRequestEntityTooLarge: "PayloadTooLarge",
	http.StatusInternalServerError: "Internal",
}

// response finds what the document says of an answer, and checks its status and headers.
func (d *Document) response(op operation, known bool, status int, header http.Header) (wanted node, problems []string) {
	problem := func(format string, args ...any) { problems = append(problems, fmt.Sprintf(format, args...)) }
	ok := false
	if known {
		wanted, ok = d.under(op.node, "responses", fmt.Sprint(status))
	} else if name := undescribed[status]; name != "" {
		wanted, ok = d.at("components", "responses", name)
	}
	if !ok {
		problem("status %d is not declared", status)
		return node{}, problems
	}
	declared, _ := d.under(wanted, "headers")
	for name := range declared.value {
		h, _ := d.under(declared, name)
		given := header.Values(name)
		if len(given) == 0 {
			if h.value["required"] == true {
				problem("header %s is missing", name)
			}
			continue
		}
		if err := d.validText(h, given...); err != nil {
			problem("header %s: %v", name, err)
		}
	}
	for name, value := range ofEveryAnswer {
		if got := header.Get(name); got != value {
			problem("header %s is %q, want %q", name, got, value)
		}
	}
	for name := range header {
		is := func(other string) bool { return strings.EqualFold(name, other) }
		if slices.ContainsFunc(ofHTTP, is) || ofEveryAnswer[name] != "" {
			continue
		}
		if !slices.ContainsFunc(slices.Collect(keys(declared.value)), is) {
			problem("header %s is not declared", name)
		}
	}
	return wanted, problems
}

// media finds what the document says of an answer's body. It is false where there must be none.
func (d *Document) media(wanted node, header http.Header) (content node, kind string, err error) {
	given := header.Get("Content-Type")
	if _, ok := wanted.value["content"]; !ok {
		if given != "" {
			return node{}, "", fmt.Errorf("content type %q, want no content", given)
		}
		return node{}, "", nil
	}
	kind, _, err = mime.ParseMediaType(given)
	if err != nil {
		return node{}, "", fmt.Errorf("content type %q: %w", given, err)
	}
	content, ok := d.under(wanted, "content", kind)
	if !ok {
		return node{}, "", fmt.Errorf("content type %s is not declared", kind)
	}
	return content, kind, nil
}

// body checks a body that was read to its end.
func (d *Document) body(content node, kind string, body []byte) error {
	switch {
	case content.value == nil && len(body) > 0:
		return fmt.Errorf("%d bytes, want none", len(body))
	case kind == "application/json":
		return d.validJSON(content.pointer+"/schema", body)
	}
	return nil
}

// given is the body of a request, once more.
func given(r *http.Request) ([]byte, error) {
	if r.Body == nil || r.Body == http.NoBody || r.GetBody == nil {
		return nil, nil
	}
	again, err := r.GetBody()
	if err != nil {
		return nil, err
	}
	var all bytes.Buffer
	if _, err := io.Copy(&all, again); err != nil {
		return nil, err
	}
	return all.Bytes(), again.Close()
}
