package rest

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"net/http"
	"runtime/debug"
	"strconv"
	"time"

	"github.com/gin-gonic/gin"

	"slotd/gateway/auth"
	"slotd/messages"
)

const (
	requestIDHeader = "X-Request-Id"
	maxRequestID    = 128
)

// observe is around every request: it gives it an id, sets the headers that all answers have, turns a panic into a 500
// and writes the access log, which never has queries, bodies or paths as they were sent.
func (s *Server) observe(c *gin.Context) {
	start := time.Now()
	id := c.GetHeader(requestIDHeader)
	if !saneRequestID(id) {
		id = newRequestID()
	}
	header := c.Writer.Header()
	header[requestIDHeader] = []string{id}
	header["X-Content-Type-Options"] = noSniff
	header["Cache-Control"] = noCache
	defer s.logAccess(c, start)
	defer s.recoverPanic(c)
	s.limitBody(c)
	c.Next()
}

func (s *Server) recoverPanic(c *gin.Context) {
	cause := recover()
	if cause == nil {
		return
	}
	if err, ok := cause.(error); ok && errors.Is(err, http.ErrAbortHandler) {
		panic(cause)
	}
	s.deps.Logger.Error("request panicked", "route", route(c), "request_id", requestID(c), "panic", fmt.Sprint(cause), "stack", string(debug.Stack()))
	if c.Writer.Written() {
		panic(http.ErrAbortHandler) // half an answer must not look like a whole one
	}
	s.refuse(c, messages.LabelInternal, internalMessage)
}

func (s *Server) logAccess(c *gin.Context, start time.Time) {
	status := c.Writer.Status()
	log := s.deps.Logger.Debug
	switch {
	case status == http.StatusServiceUnavailable:
		log = s.deps.Logger.Warn
	case !s.deps.Logger.IsDebug():
		return
	}
	log("http request", "method", knownMethod(c.Request.Method), "route", route(c), "status", status,
		"bytes", max(0, c.Writer.Size()), "duration", time.Since(start), "request_id", requestID(c), "remote", c.Request.RemoteAddr,
		"client", auth.From(c.Request.Context()).Name)
}

// route is the pattern that was matched: paths as sent would let a client write what it likes into the log.
func route(c *gin.Context) string {
	if pattern := c.FullPath(); pattern != "" {
		return pattern
	}
	return "none"
}

func knownMethod(method string) string {
	switch method {
	case http.MethodGet, http.MethodHead, http.MethodPost, http.MethodPut, http.MethodPatch, http.MethodDelete, http.MethodOptions:
		return method
	}
	return "other"
}

// Header values that all answers share; nobody changes them.
var (
	noSniff = []string{"nosniff"}
	noCache = []string{"no-cache"}
)

func requestID(c *gin.Context) string { return c.Writer.Header().Get(requestIDHeader) }

// newRequestID is for finding a line in a log, not for guarding anything: it need not be hard to guess.
func newRequestID() string {
	return strconv.FormatUint(rand.Uint64()|1<<63, 16)
}

// saneRequestID accepts what can stand in a log line and a header as it is.
func saneRequestID(id string) bool {
	if id == "" || len(id) > maxRequestID {
		return false
	}
	for i := range len(id) {
		switch c := id[i]; {
		case c >= '0' && c <= '9', c|0x20 >= 'a' && c|0x20 <= 'z', c == '-', c == '_', c == '.', c == ':', c == '/', c == '+', c == '=':
		default:
			return false
		}
	}
	return true
}

// quoted shows what a client sent, cut to a length that fits a sentence.
func quoted(s string) string {
	const most = 100
	if len(s) > most {
		s = s[:most] + "…"
	}
	return strconv.Quote(s)
}
