package rest

import (
	"context"
	"errors"
	"math"
	"net/http"
	"strconv"
	"time"

	"github.com/gin-gonic/gin"

	"slotd/gateway/codec"
	"slotd/messages"
)

// statusOf maps each label of a refusal to its HTTP status.
var statusOf = map[string]int{
	messages.LabelInvalidRequest:       http.StatusBadRequest,
	messages.LabelUnauthenticated:      http.StatusUnauthorized,
	messages.LabelPermissionDenied:     http.StatusForbidden,
	messages.LabelTaskNotFound:         http.StatusNotFound,
	messages.LabelNotFound:             http.StatusNotFound,
	messages.LabelMethodNotAllowed:     http.StatusMethodNotAllowed,
	messages.LabelSlotBusy:             http.StatusConflict,
	messages.LabelPreconditionFailed:   http.StatusPreconditionFailed,
	messages.LabelPayloadTooLarge:      http.StatusRequestEntityTooLarge,
	messages.LabelUnsupportedMediaType: http.StatusUnsupportedMediaType,
	messages.LabelNoRunner:             http.StatusUnprocessableEntity,
	messages.LabelUnenforceable:        http.StatusUnprocessableEntity,
	messages.LabelIdempotencyKeyReused: http.StatusUnprocessableEntity,
	messages.LabelQueueFull:            http.StatusTooManyRequests,
	messages.LabelTooManyTasks:         http.StatusTooManyRequests,
	messages.LabelInternal:             http.StatusInternalServerError,
	messages.LabelUnavailable:          http.StatusServiceUnavailable,
}

// statusClientGone is for the access log alone: nobody is left to read it.
const statusClientGone = 499

const internalMessage = "something inside slotd failed and the request was given up; the daemon's log has the cause under this request id"

// fail answers with what err stands for. What is not a refusal is a fault of ours: it is logged and never shown.
func (s *Server) fail(c *gin.Context, err error) {
	label, message, retryAfter, known := explain(err)
	switch {
	case known:
	case c.Request.Context().Err() != nil && errors.Is(err, c.Request.Context().Err()):
		c.Abort()
		s.answerEmpty(c, statusClientGone)
		return
	default:
		s.deps.Logger.Error("request failed", "route", route(c), "request_id", requestID(c), "error", err)
		label, message = messages.LabelInternal, internalMessage
	}
	s.answerError(c, label, message, retryAfter)
}

// refuse answers with a label of the closed set and a sentence.
func (s *Server) refuse(c *gin.Context, label, message string) {
	s.answerError(c, label, message, 0)
}

func (s *Server) answerError(c *gin.Context, label, message string, retryAfter time.Duration) {
	status, ok := statusOf[label]
	if !ok {
		s.deps.Logger.Error("refusal has no http status", "label", label, "route", route(c), "request_id", requestID(c))
		status, label, message = http.StatusInternalServerError, messages.LabelInternal, internalMessage
	}
	if status == http.StatusTooManyRequests || status == http.StatusServiceUnavailable {
		seconds := max(1, int(math.Ceil(retryAfter.Seconds())))
		c.Header("Retry-After", strconv.Itoa(seconds))
	}
	if status == http.StatusUnauthorized {
		c.Writer.Header()["Www-Authenticate"] = challenge
	}
	c.Abort()
	s.discardBody(c, label == messages.LabelPayloadTooLarge)
	s.writeJSON(c, status, appendError(nil, label, message))
}

// explain finds the refusal in err, or returns false.
func explain(err error) (label, message string, retryAfter time.Duration, known bool) {
	if refusal, ok := messages.RefusalOf(err); ok {
		return refusal.Rejection.GetLabel(), refusal.Rejection.GetMessage(), refusal.RetryAfter(), true
	}
	var malformed *codec.Error
	switch {
	case errors.As(err, &malformed):
		return messages.LabelInvalidRequest, malformed.Error() + "; correct the request body and send it again", 0, true
	case errors.Is(err, context.DeadlineExceeded):
		return messages.LabelUnavailable, "the node did not answer in time; try again", 0, true
	}
	return "", "", 0, false
}

func appendError(dst []byte, label, message string) []byte {
	dst = codec.AppendString(append(dst, `{"error":`...), label)
	dst = codec.AppendString(append(dst, `,"message":`...), message)
	return append(dst, '}')
}
