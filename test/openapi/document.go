// Package openapi checks what goes over the wire against the server's own OpenAPI document.
//
// [Load] reads the document and refuses one that is not valid. [Document.Transport] stands between a test's HTTP client and
// the network and fails the test for whatever the document does not describe: a status, a header, a field of a body, an
// event of a stream; and for a request that the server accepts and the document does not. A request that the server
// refuses as malformed is excused, its answer is not.
//
// Schemas of OpenAPI 3.1 are JSON Schema 2020-12, so they are compiled from the document as they stand, each once. For
// answers the document is read strictly: a field that it does not name is an error, although clients must ignore it.
//
// Documents may be used by any number of goroutines.
package openapi

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"os"
	"strings"
	"sync"

	"github.com/getkin/kin-openapi/openapi3"
	"github.com/santhosh-tekuri/jsonschema/v6"
	"sigs.k8s.io/yaml"
)

// Document is an OpenAPI document of version 3.1.
type Document struct {
	root map[string]any

	mu       sync.Mutex // guards what follows
	compiler *jsonschema.Compiler
	compiled map[string]*jsonschema.Schema // by pointer
}

// Load reads a document from a file, as YAML or JSON. One that breaks a rule of OpenAPI, or has an example that its
// schema does not allow, is an error.
func Load(file string) (*Document, error) {
	data, err := os.ReadFile(file)
	if err != nil {
		return nil, err
	}
	loader := openapi3.NewLoader()
	model, err := loader.LoadFromData(data)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", file, err)
	}
	if !model.IsOpenAPI31OrLater() {
		return nil, fmt.Errorf("%s: is OpenAPI %s, want 3.1", file, model.OpenAPI)
	}
	if err := model.Validate(context.Background(), openapi3.EnableExamplesValidation()); err != nil {
		return nil, fmt.Errorf("%s: %w", file, err)
	}
	text, err := yaml.YAMLToJSON(data)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", file, err)
	}
	value, err := jsonschema.UnmarshalJSON(strings.NewReader(string(text)))
	if err != nil {
		return nil, fmt.Errorf("%s: %w", file, err)
	}
	root, ok := value.(map[string]any)
	if !ok {
		return nil, fmt.Errorf("%s: is no object", file)
	}
	d := &Document{root: root, compiler: jsonschema.NewCompiler(), compiled: make(map[string]*jsonschema.Schema)}
	schemas, ok := d.at("components", "schemas")
	if !ok {
		return nil, fmt.Errorf("%s: has no schemas", file)
	}
	closeObjects(schemas.value)
	if err := d.compiler.AddResource(resource, root); err != nil {
		return nil, fmt.Errorf("%s: %w", file, err)
	}
	return d, nil
}

const resource = "openapi.json"

// closeObjects lets objects have the properties that are named, and no others.
func closeObjects(value any) {
	switch value := value.(type) {
	case map[string]any:
		for _, inner := range value {
			closeObjects(inner)
		}
		if _, ok := value["properties"].(map[string]any); ok && value["additionalProperties"] == nil {
			value["additionalProperties"] = false
		}
	case []any:
		for _, inner := range value {
			closeObjects(inner)
		}
	}
}

// methods are those of HTTP that the document has operations for.
var methods = []string{http.MethodGet, http.MethodPost, http.MethodPut, http.MethodPatch, http.MethodDelete, http.MethodOptions, http.MethodHead, http.MethodTrace}

// Operations lists all operations as "GET /path/{parameter}". Streams says of each whether it answers with events.
func (d *Document) Operations() (streams map[string]bool) {
	streams = make(map[string]bool)
	paths, _ := d.at("paths")
	for path := range paths.value {
		for _, method := range methods {
			if op, ok := d.under(paths, path, strings.ToLower(method)); ok {
				streams[method+" "+path] = d.streams(op)
			}
		}
	}
	return streams
}

// node is an object of the document and where it stands.
type node struct {
	pointer string
	value   map[string]any
}

func (d *Document) at(keys ...string) (node, bool) {
	return d.under(node{value: d.root}, keys...)
}

// under goes down from a node, through references.
func (d *Document) under(n node, keys ...string) (node, bool) {
	for _, key := range keys {
		value, ok := n.value[key].(map[string]any)
		if !ok {
			return node{}, false
		}
		n = d.resolved(node{n.pointer + "/" + pointerOf.Replace(key), value})
	}
	return n, true
}

var pointerOf = strings.NewReplacer("~", "~0", "/", "~1")

// resolved follows a reference of an object that is no schema.
func (d *Document) resolved(n node) node {
	ref, ok := n.value["$ref"].(string)
	if !ok {
		return n
	}
	target, ok := d.at(strings.Split(strings.TrimPrefix(ref, "#/"), "/")...)
	if !ok {
		return n // cannot be: the loader has resolved all of them
	}
	return target
}

// list is an array of objects under a node.
func (d *Document) list(n node, key string) []node {
	values, _ := n.value[key].([]any)
	var all []node
	for i, value := range values {
		if value, ok := value.(map[string]any); ok {
			all = append(all, d.resolved(node{fmt.Sprintf("%s/%s/%d", n.pointer, key, i), value}))
		}
	}
	return all
}

// schema compiles the schema at a pointer.
func (d *Document) schema(pointer string) (*jsonschema.Schema, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if schema, ok := d.compiled[pointer]; ok {
		return schema, nil
	}
	schema, err := d.compiler.Compile(resource + "#" + pointer)
	if err != nil {
		return nil, err
	}
	d.compiled[pointer] = schema
	return schema, nil
}

// valid checks a value that was decoded from JSON against the schema at a pointer.
func (d *Document) valid(pointer string, value any) error {
	schema, err := d.schema(pointer)
	if err != nil {
		return err
	}
	return schema.Validate(value)
}

// validJSON checks a JSON text.
func (d *Document) validJSON(pointer string, text []byte) error {
	value, err := jsonschema.UnmarshalJSON(strings.NewReader(string(text)))
	if err != nil {
		return fmt.Errorf("is no JSON: %w", err)
	}
	return d.valid(pointer, value)
}

// validText checks what stands in a query, a path or a header: a text that may mean a number or a boolean.
func (d *Document) validText(owner node, texts ...string) error {
	pointer := owner.pointer + "/schema"
	schema, _ := owner.value["schema"].(map[string]any)
	schema = d.resolved(node{value: schema}).value
	if schema["type"] == "array" {
		values := make([]any, len(texts))
		for i, text := range texts {
			values[i] = text
		}
		return d.valid(pointer, values)
	}
	if len(texts) != 1 {
		return errors.New("is given more than once")
	}
	switch schema["type"] {
	case "integer", "number", "boolean":
		if json.Valid([]byte(texts[0])) {
			return d.validJSON(pointer, []byte(texts[0]))
		}
	}
	return d.valid(pointer, texts[0])
}
