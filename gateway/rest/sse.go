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
	stream := s.stream(c, logFrames{cursor})
	if err := stream.copy(ctx); err != nil && ctx.Err() == nil {
		s.deps.Logger.Debug("log stream ended early", "task_id", id, "request_id", requestID(c), "error", err)
	}
}

// logFrames are a task's output: the node hands it out as frames.
type logFrames struct{ gateway.Cursor }

func (f logFrames) next(ctx context.Context) ([]byte, error) {
	batch, err := f.Next(ctx)
	return batch.Data, err
}

func (logFrames) opening() []byte { return nil }

func (logFrames) keepAlive() []byte { return keepAliveComment }

// frames is what a stream sends.
type frames interface {
	// next returns some whole frames, which are good until the next call, or io.EOF. It waits while there are none; when
	// ctx ends the wait it returns ctx's error, and may be called again.
	next(ctx context.Context) ([]byte, error)

	// opening is sent before everything else, at once.
	opening() []byte

	// keepAlive is sent after a silence.
	keepAlive() []byte
}

// stream is an event stream that is being written.
type stream struct {
	server     *Server
	gin        *gin.Context
	connection *http.ResponseController
	frames     frames
	sent       time.Time // when the client was last sent something
}

// stream begins the answer.
func (s *Server) stream(c *gin.Context, source frames) *stream {
	header := c.Writer.Header()
	header.Set("Content-Type", "text/event-stream")
	header.Set("X-Accel-Buffering", "no")
	c.Status(http.StatusOK)
	return &stream{server: s, gin: c, connection: control(c), frames: source}
}

// copy writes frames until their end, and a sign of life whenever the client has been sent nothing for KeepAlive.
func (w *stream) copy(ctx context.Context) error {
	w.gin.Writer.WriteHeaderNow()
	if err := w.send(w.frames.opening()); err != nil {
		return err
	}
	for {
		err := w.copyUntil(ctx, w.sent.Add(w.server.config.KeepAlive))
		switch {
		case errors.Is(err, io.EOF):
			return nil
		case err != nil:
			return err
		case time.Since(w.sent) < w.server.config.KeepAlive:
			continue // the silence began later
		}
		if err := w.send(w.frames.keepAlive()); err != nil {
			return err
		}
	}
}

// copyUntil copies until a moment. One context serves for all batches: a timer for each would cost more than the batch.
func (w *stream) copyUntil(ctx context.Context, end time.Time) error {
	period, cancel := context.WithDeadline(ctx, end)
	defer cancel()
	for {
		data, err := w.frames.next(period)
		switch {
		case err == nil:
		case ctx.Err() != nil:
			return ctx.Err()
		case errors.Is(err, context.DeadlineExceeded):
			return nil
		default:
			return err
		}
		if err := w.send(data); err != nil {
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
