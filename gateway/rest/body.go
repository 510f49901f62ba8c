package rest

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"mime"
	"net/http"
	"os"
	"strings"
	"time"

	"github.com/gin-gonic/gin"

	"slotd/messages"
)

// takesJSON refuses a request whose Content-Type is not application/json.
func takesJSON(r *http.Request) error {
	given := r.Header.Get("Content-Type")
	if given == jsonContent[0] {
		return nil
	}
	if media, _, err := mime.ParseMediaType(given); err == nil && media == "application/json" {
		return nil
	}
	found := "the request has no Content-Type"
	if given != "" {
		found = "the Content-Type of the request is " + quoted(given)
	}
	return rejection(messages.LabelUnsupportedMediaType, found+"; send the body as application/json")
}

// readBody hands the whole body to take, which must not keep it.
func (s *Server) readBody(c *gin.Context, take func(body []byte) error) error {
	r := c.Request
	if r.ContentLength > MaxBody && awaitsContinue(r) {
		return errTooLarge
	}
	beginBody(c)
	b := buffer()
	defer release(b)
	body := bytes.NewBuffer(*b)
	defer func() { *b = body.Bytes() }()
	body.Grow(int(min(max(0, r.ContentLength), pieceBytes)) + bytes.MinRead)
	if _, err := body.ReadFrom(io.LimitReader(r.Body, MaxBody+1)); err != nil {
		return s.brokenBody(err)
	}
	if body.Len() > MaxBody {
		return errTooLarge
	}
	if err := s.endBody(c); err != nil {
		return err
	}
	return take(body.Bytes())
}

// takeNoBody reads and forgets the body of a request that needs none.
func (s *Server) takeNoBody(c *gin.Context) {
	if c.Request.ContentLength == 0 {
		return
	}
	beginBody(c)
	n, err := io.Copy(io.Discard, io.LimitReader(c.Request.Body, MaxBody+1))
	switch {
	case err != nil:
		s.fail(c, s.brokenBody(err))
	case n > MaxBody:
		s.fail(c, errTooLarge)
	default:
		if err := s.endBody(c); err != nil {
			s.fail(c, err)
		}
	}
}

// limitBody gives a body BodyTimeout to arrive. The write deadline matters for the interim answer to Expect.
func (s *Server) limitBody(c *gin.Context) {
	if c.Request.ContentLength == 0 {
		return
	}
	connection := control(c)
	if awaitsContinue(c.Request) {
		s.extendWrite(connection)
	}
	if err := connection.SetReadDeadline(time.Now().Add(s.config.BodyTimeout)); err != nil && !unsupported(err) {
		s.deps.Logger.Debug("body has no deadline", "request_id", requestID(c), "error", err)
	}
}

// endBody lifts the deadline of a body that has arrived: it would otherwise end the request's context, because net/http
// goes on reading to notice a client that hangs up.
func (s *Server) endBody(c *gin.Context) error {
	if err := control(c).SetReadDeadline(time.Time{}); err != nil && !unsupported(err) {
		return s.brokenBody(err)
	}
	return nil
}

// discardBody reads what is left of a refused request, up to the limits and the deadline of bodies: a client that is
// still sending when the connection closes would not see the answer. One that waits to be asked for its body is not.
func (s *Server) discardBody(c *gin.Context, overLimit bool) {
	if c.Request.ContentLength == 0 || (awaitsContinue(c.Request) && !c.GetBool(bodyBegunKey)) {
		return
	}
	most := int64(MaxBody + discardLimit)
	if overLimit {
		most = discardLimit
	}
	if _, err := io.Copy(io.Discard, io.LimitReader(c.Request.Body, most)); err != nil {
		c.Header("Connection", "close")
	}
}

// bodyBegunKey is set once the body of a client that waits to be asked for it is being read: from then on it is sent.
const bodyBegunKey = "body_begun"

func beginBody(c *gin.Context) {
	if awaitsContinue(c.Request) {
		c.Set(bodyBegunKey, true)
	}
}

func awaitsContinue(r *http.Request) bool {
	return strings.EqualFold(r.Header.Get("Expect"), "100-continue")
}

var errTooLarge = rejection(messages.LabelPayloadTooLarge,
	fmt.Sprintf("the request body exceeds %d bytes; send a smaller one", MaxBody))

func (s *Server) brokenBody(err error) error {
	if errors.Is(err, os.ErrDeadlineExceeded) {
		return rejection(messages.LabelInvalidRequest,
			fmt.Sprintf("the request body did not arrive within %v; send it again over a faster connection", s.config.BodyTimeout))
	}
	return rejection(messages.LabelInvalidRequest, "the request body broke off before its end; send it again")
}

func rejection(label, message string) error {
	return &messages.RejectionError{Rejection: messages.Reject(label, message, 0)}
}

func unsupported(err error) bool { return errors.Is(err, http.ErrNotSupported) }
