package client

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strconv"
	"strings"
	"time"
)

// Error is a daemon's "no".
type Error struct {
	// Status is the HTTP status; 0 for one spec of a batch.
	Status int

	// Label is one of the closed set of labels ("SlotBusy", "TaskNotFound", …); empty when the answer is not of
	// slotd's form, because somebody else answers at that address.
	Label string

	// Message is the daemon's sentence: what, why, what to do.
	Message string

	// RetryAfter is when to try again; 0 when the daemon did not say.
	RetryAfter time.Duration
}

func (e *Error) Error() string {
	if e.Label == "" {
		return fmt.Sprintf("unexpected answer (HTTP %d): %s", e.Status, e.Message)
	}
	return e.Message
}

// NotFound says whether err is a daemon's word that it does not know the task: errors.Is(err, [ErrTaskNotFound]).
func NotFound(err error) bool { return errors.Is(err, ErrTaskNotFound) }

// UnreachableError says that no connection to the daemon could be made, or, with TLS, none that both ends trust.
type UnreachableError struct {
	Addr   string
	Source string // where Addr came from; empty when nobody said so
	Err    error
}

func (e *UnreachableError) Error() string {
	source := ""
	if e.Source != "" {
		source = " (" + e.Source + ")"
	}
	return fmt.Sprintf("no slotd answers at %s%s: %v", e.Addr, source, e.Err)
}

func (e *UnreachableError) Unwrap() error { return e.Err }

// AmbiguousError says that several tasks have ids that begin with Prefix.
type AmbiguousError struct {
	Prefix     string
	Candidates []string // the first few, in id order
	Total      int
}

func (e *AmbiguousError) Error() string {
	more := ""
	if e.Total > len(e.Candidates) {
		more = fmt.Sprintf(" and %d more", e.Total-len(e.Candidates))
	}
	return fmt.Sprintf("%q is short for %d tasks: %s%s", e.Prefix, e.Total, strings.Join(e.Candidates, ", "), more)
}

// brokenError says that a connection broke before the answer was complete.
type brokenError struct {
	addr string
	err  error
}

func (e *brokenError) Error() string {
	return fmt.Sprintf("the connection to %s broke: %v", e.addr, e.err)
}

func (e *brokenError) Unwrap() error { return e.err }

func broken(err error) bool {
	var b *brokenError
	return errors.As(err, &b)
}

// undialed says whether err happened before there was a connection, and why, without the address.
func undialed(err error) (why error, ok bool) {
	var op *net.OpError
	if errors.As(err, &op) && (op.Op == "dial" || op.Op == "proxyconnect") {
		return op.Err, true
	}
	return nil, false
}

// maxRefusal bounds how much of an error's body is read, bytes.
const maxRefusal = 64 << 10

// refusal reads an answer that is not a success.
func refusal(resp *http.Response) error {
	e := &Error{Status: resp.StatusCode}
	if seconds, err := strconv.ParseUint(resp.Header.Get("Retry-After"), 10, 31); err == nil {
		e.RetryAfter = time.Duration(seconds) * time.Second
	}
	body, err := io.ReadAll(io.LimitReader(resp.Body, maxRefusal))
	if err != nil {
		return fmt.Errorf("HTTP %d, and its explanation broke off: %w", resp.StatusCode, err)
	}
	var told struct{ Error, Message string }
	if json.Unmarshal(body, &told) == nil && told.Error != "" {
		e.Label, e.Message = told.Error, told.Message
		return e
	}
	e.Message = firstLine(string(body))
	if to := resp.Header.Get("Location"); to != "" && resp.StatusCode/100 == 3 {
		e.Message = fmt.Sprintf("redirects to %s are not followed; if the daemon is there, give that address", firstLine(to))
	}
	if e.Message == "" {
		e.Message = http.StatusText(resp.StatusCode)
	}
	return e
}

// firstLine is what a person can use of an answer that is not of slotd's form, at most 200 bytes.
func firstLine(body string) string {
	line, _, _ := strings.Cut(strings.TrimSpace(body), "\n")
	if len(line) > 200 {
		line = strings.ToValidUTF8(line[:200], "") + "…"
	}
	return line
}
