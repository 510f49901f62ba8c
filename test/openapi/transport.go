package openapi

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/http"
	"strings"
	"sync"
	"testing"
)

var keys = maps.Keys[map[string]any]

// Transport sends requests through next and fails t for what the document does not describe. Bodies are checked as far as
// the client reads them: events one by one, everything else at its end.
func (d *Document) Transport(t testing.TB, next http.RoundTripper) http.RoundTripper {
	return &transport{document: d, t: t, next: next}
}

type transport struct {
	document *Document
	t        testing.TB
	next     http.RoundTripper
}

// CloseIdleConnections lets http.Client reach the transport below.
func (x *transport) CloseIdleConnections() {
	if below, ok := x.next.(interface{ CloseIdleConnections() }); ok {
		below.CloseIdleConnections()
	}
}

// RoundTrip implements http.RoundTripper.
func (x *transport) RoundTrip(r *http.Request) (*http.Response, error) {
	sent, err := given(r)
	if err != nil {
		return nil, err
	}
	response, err := x.next.RoundTrip(r)
	if err != nil {
		return nil, err
	}
	d := x.document
	report := func(problem string) {
		x.t.Errorf("%s %s: answer %d is not as the OpenAPI document says: %s", r.Method, short(r.URL.RequestURI()), response.StatusCode, problem)
	}
	op, known := d.find(r.Method, r.URL.EscapedPath())
	wanted, problems := d.response(op, known, response.StatusCode, response.Header)
	for _, problem := range problems {
		report(problem)
	}
	if wanted.value == nil {
		return response, nil
	}
	var asked []string
	if known && !malformed(response.StatusCode) {
		asked = d.request(op, r, sent)
	}
	content, kind, err := d.media(wanted, response.Header)
	if err != nil {
		report(err.Error())
		return response, nil
	}
	if kind == "text/event-stream" {
		response.Body = &watched{ReadCloser: response.Body, see: (&frames{document: d, content: content, report: report}).see}
	} else {
		response.Body = &watched{ReadCloser: response.Body, end: func(body []byte) {
			if r.Method == http.MethodHead || response.StatusCode == http.StatusNotModified {
				content, kind = node{}, ""
			}
			if err := d.body(content, kind, body); err != nil {
				report(fmt.Sprintf("body %s: %v", short(string(body)), err))
			}
			// A batch is accepted also when some of its specs are not.
			if op.value["operationId"] == "submitTasks" && bytes.Contains(body, []byte(`"error":"InvalidRequest"`)) {
				return
			}
			x.unlikeDocument(r, asked)
		}}
		return response, nil
	}
	x.unlikeDocument(r, asked)
	return response, nil
}

func (x *transport) unlikeDocument(r *http.Request, problems []string) {
	for _, problem := range problems {
		x.t.Errorf("%s %s was accepted, but the OpenAPI document does not allow it: %s", r.Method, short(r.URL.RequestURI()), problem)
	}
}

// malformed says of a status that the request itself was wrong.
func malformed(status int) bool {
	switch status {
	case http.StatusBadRequest, http.StatusUnauthorized, http.StatusForbidden, http.StatusNotFound, http.StatusMethodNotAllowed,
		http.StatusRequestEntityTooLarge, http.StatusUnsupportedMediaType:
		return true
	}
	return false
}

func short(s string) string {
	const most = 300
	if len(s) > most {
		return s[:most] + "…"
	}
	return s
}

// watched is a body that is checked while it is read.
type watched struct {
	io.ReadCloser

	see func(data []byte) // takes every piece
	end func(all []byte)  // takes the whole, once, when it has been read to its end
	all bytes.Buffer
	one sync.Once
}

// Read implements io.Reader.
func (w *watched) Read(p []byte) (int, error) {
	n, err := w.ReadCloser.Read(p)
	if w.see != nil {
		w.see(p[:n])
		return n, err
	}
	w.all.Write(p[:n])
	if errors.Is(err, io.EOF) {
		w.one.Do(func() { w.end(w.all.Bytes()) })
	}
	return n, err
}

// frames checks an event stream, frame by frame. The end of a stream may cut one off.
type frames struct {
	document *Document
	content  node
	report   func(problem string)

	line            bytes.Buffer
	event, id, data string
	fields          int
	seen            int // events
}

// The data of so many events of a stream is checked, and then of one in so many: a schema costs more than the daemon
// and the reader of a log together.
const (
	checkedFrames = 200
	sampledFrames = 100
)

func (f *frames) see(piece []byte) {
	for {
		line, rest, ended := bytes.Cut(piece, []byte("\n"))
		f.line.Write(line)
		if !ended {
			return
		}
		f.field(f.line.String())
		f.line.Reset()
		piece = rest
	}
}

func (f *frames) field(line string) {
	name, value, _ := strings.Cut(line, ": ")
	switch {
	case line == "":
		if f.fields > 0 {
			f.check()
		}
		f.event, f.id, f.data, f.fields = "", "", "", 0
		return
	case strings.HasPrefix(line, ":"):
		return
	case name == "event":
		f.event = value
	case name == "id":
		f.id = value
	case name == "data":
		f.data = value
	default:
		f.report("the line " + short(line) + " is no field of an event")
	}
	f.fields++
}

func (f *frames) check() {
	if f.content.value["x-frames-of-id-alone"] == true && f.fields == 1 && f.id != "" {
		return
	}
	events, _ := f.document.under(f.content, "x-events")
	schema, ok := events.value[f.event].(string)
	switch {
	case !ok:
		f.report(fmt.Sprintf("event %q is not declared", f.event))
		return
	case f.id == "":
		f.report("event " + f.event + " has no id")
	case f.fields != 3:
		f.report(fmt.Sprintf("event %s has %d fields, want event, id and data", f.event, f.fields))
	}
	if f.seen++; f.event == "chunk" && f.seen > checkedFrames && f.seen%sampledFrames != 0 {
		return
	}
	if err := f.document.validJSON("/components/schemas/"+schema, []byte(f.data)); err != nil {
		f.report(fmt.Sprintf("event %s %s: %v", f.event, short(f.data), err))
	}
}
