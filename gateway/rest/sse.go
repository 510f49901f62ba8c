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
	sent       time.Time // when the client was last sent something
}

// copy writes the cursor's batches until its end, and a comment whenever the client has been sent nothing for KeepAlive.
func (w *stream) copy(ctx context.Context, cursor gateway.Cursor) error {
	w.gin.Writer.WriteHeaderNow()
	if err := w.send(nil); err != nil {
		return err
	}
	for {
		err := w.copyUntil(ctx, cursor, w.sent.Add(w.server.config.KeepAlive))
		switch {
		case errors.Is(err, io.EOF):
			return nil
		case err != nil:
			return err
		case time.Since(w.sent) < w.server.config.KeepAlive:
			continue // the silence began later
		}
		if err := w.send(keepAliveComment); err != nil {
			return err
		}
	}
}

// copyUntil copies until a moment. One context serves for all batches: a timer for each would cost more than the batch.
func (w *stream) copyUntil(ctx context.Context, cursor gateway.Cursor, end time.Time) error {
	period, cancel := context.WithDeadline(ctx, end)
	defer cancel()
	for {
		batch, err := cursor.Next(period)
		switch {
		case err == nil:
		case ctx.Err() != nil:
			return ctx.Err()
		case errors.Is(err, context.DeadlineExceeded):
			return nil
		default:
			return err
		}
		if err := w.send(batch.Data); err != nil {
			return err
		}
	}
}

// send writes and flushes under one deadline.
func (w *stream) send(data []byte) error {
	w.server.extendWrite(w.connection)
	if _, err := w.gin.Writer.Write(data); err != nil {
		return err
	}
	w.sent = time.Now()
	return w.connection.Flush()
}
