package rest

import (
	"context"
	"errors"
	"io"
	"net/http"
	"time"

	"github.com/gin-gonic/gin"

	"slotd/gateway"
)

var keepAliveComment = []byte(": keep-alive\n\n")

// logs streams a task's output as server-sent events. The node never waits for a reader: one that stops reading blocks
// only this goroutine, and is dropped after WriteTimeout.
func (s *Server) logs(c *gin.Context) {
	id, ok := s.taskID(c)
	if !ok {
		return
	}
	q, err := logQuery(c.Request, time.Now())
	if err != nil {
		s.fail(c, err)
		return
	}
	ctx, cancel := s.untilEnding(c.Request.Context())
	defer cancel()
	cursor, err := s.deps.Logs.Open(ctx, id, q)
	switch {
	case errors.Is(err, io.EOF):
		s.answerEmpty(c, http.StatusNoContent)
		return
	case err != nil:
		s.fail(c, err)
		return
	}
	defer cursor.Close()
	header := c.Writer.Header()
	header.Set("Content-Type", "text/event-stream")
	header.Set("X-Accel-Buffering", "no")
	c.Status(http.StatusOK)
	stream := stream{server: s, gin: c, connection: control(c)}
	if err := stream.copy(ctx, cursor); err != nil && ctx.Err() == nil {
		s.deps.Logger.Debug("log stream ended early", "task_id", id, "request_id", requestID(c), "error", err)
	}
}

// stream is an event stream that is being written.
type stream struct {
	server     *Server
	gin        *gin.Context
	connection *http.ResponseController
}

// copy writes the cursor's batches until its end, and a comment whenever KeepAlive has passed without one.
func (w *stream) copy(ctx context.Context, cursor gateway.Cursor) error {
	w.gin.Writer.WriteHeaderNow()
	if err := w.send(nil); err != nil {
		return err
	}
	for {
		quiet, err := w.copyFor(ctx, cursor)
		switch {
		case errors.Is(err, io.EOF):
			return nil
		case err != nil:
			return err
		case !quiet:
			continue
		}
		if err := w.send(keepAliveComment); err != nil {
			return err
		}
	}
}

// copyFor copies for one period of KeepAlive, and says whether it saw nothing. One context serves for all batches of the
// period: a timer for each would cost more than the batch.
func (w *stream) copyFor(ctx context.Context, cursor gateway.Cursor) (quiet bool, err error) {
	period, cancel := context.WithTimeout(ctx, w.server.config.KeepAlive)
	defer cancel()
	for quiet = true; ; quiet = false {
		batch, err := cursor.Next(period)
		switch {
		case err == nil:
		case ctx.Err() != nil:
			return quiet, ctx.Err()
		case period.Err() != nil:
			return quiet, nil
		default:
			return quiet, err
		}
		if err := w.send(batch.Data); err != nil {
			return quiet, err
		}
	}
}

// send writes and flushes under one deadline.
func (w *stream) send(data []byte) error {
	w.server.extendWrite(w.connection)
	if _, err := w.gin.Writer.Write(data); err != nil {
		return err
	}
	return w.connection.Flush()
}
