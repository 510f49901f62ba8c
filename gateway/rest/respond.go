package rest

import (
	"net/http"
	"strconv"
	"sync"
	"time"

	"github.com/gin-gonic/gin"
	"google.golang.org/protobuf/proto"

	"slotd/gateway/codec"
)

const (
	pieceBytes  = 64 << 10 // what one write deadline covers
	keepBuffers = 1 << 20  // a larger buffer is left to the garbage collector
)

var buffers = sync.Pool{New: func() any { return new([]byte) }}

func buffer() *[]byte {
	if b, ok := buffers.Get().(*[]byte); ok {
		return b
	}
	return new([]byte)
}

func release(b *[]byte) {
	if cap(*b) <= keepBuffers {
		*b = (*b)[:0]
		buffers.Put(b)
	}
}

// answer writes a message as JSON.
func (s *Server) answer(c *gin.Context, status int, m proto.Message) {
	b := buffer()
	defer release(b)
	*b = codec.Append(*b, m)
	s.writeJSON(c, status, *b)
}

func (s *Server) writeJSON(c *gin.Context, status int, body []byte) {
	c.Writer.Header()["Content-Type"] = jsonContent
	s.writeBody(c, status, body)
}

// writeBody writes a whole body; its type is set.
func (s *Server) writeBody(c *gin.Context, status int, body []byte) {
	c.Writer.Header().Set("Content-Length", strconv.Itoa(len(body)))
	c.Status(status)
	s.write(c, body)
}

// answerEmpty writes a status without a body.
func (s *Server) answerEmpty(c *gin.Context, status int) {
	s.extendWrite(control(c))
	c.Status(status)
}

var jsonContent = []string{"application/json"}

// write sends data piece by piece and gives the client WriteTimeout to take each. An error means that the client is
// gone or has stopped reading; net/http then closes the connection.
func (s *Server) write(c *gin.Context, data []byte) bool {
	connection := control(c)
	for len(data) > 0 {
		piece := data[:min(len(data), pieceBytes)]
		data = data[len(piece):]
		if !s.extendWrite(connection) {
			return false
		}
		if _, err := c.Writer.Write(piece); err != nil {
			return false
		}
	}
	return true
}

// extendWrite gives the client WriteTimeout from now. A response without a connection, as in a recorder, has no deadline.
func (s *Server) extendWrite(connection *http.ResponseController) bool {
	err := connection.SetWriteDeadline(time.Now().Add(s.config.WriteTimeout))
	return err == nil || unsupported(err)
}

// control reaches through gin's writer to the connection.
func control(c *gin.Context) *http.ResponseController {
	if w, ok := c.Writer.(interface{ Unwrap() http.ResponseWriter }); ok {
		return http.NewResponseController(w.Unwrap())
	}
	return http.NewResponseController(c.Writer)
}
