package rest

import (
	"net/http"
	"time"

	"github.com/gin-gonic/gin"

	"slotd/gateway/ask"
	"slotd/messages"
	slotdv1 "slotd/messages/slotd/v1"
)

// cancel answers once the task is terminal. A client that hangs up does not undo it.
func (s *Server) cancel(c *gin.Context) {
	id, ok := s.taskID(c)
	if !ok {
		return
	}
	q := newQuery(c.Request, "grace")
	var grace *time.Duration
	if given, ok := q.duration("grace", messages.MaxStopGraceMs*time.Millisecond); ok {
		grace = &given
	}
	err := q.err()
	if err == nil {
		err = s.deps.Registry.Cancel(c.Request.Context(), id, grace)
	}
	if err != nil {
		s.fail(c, err)
		return
	}
	task, err := ask.Task(c.Request.Context(), s.deps.Reader, id, messages.Wait{})
	if err != nil {
		s.fail(c, err)
		return
	}
	s.answer(c, http.StatusOK, &slotdv1.CancelTaskResponse{Task: messages.RedactTask(task, s.showValues(c))})
}

// remove answers once nothing of the task is left.
func (s *Server) remove(c *gin.Context) {
	id, ok := s.taskID(c)
	if !ok {
		return
	}
	err := newQuery(c.Request).err()
	var version *uint64
	if err == nil {
		version, err = s.precondition(c.Request.Header.Values("If-Match"), id)
	}
	if err == nil {
		err = s.deps.Registry.Delete(c.Request.Context(), id, version)
	}
	if err != nil {
		s.fail(c, err)
		return
	}
	s.answerEmpty(c, http.StatusNoContent)
}

// precondition reads If-Match: the resource version that the task must have, or nil when any will do. The registry
// compares it in the moment of the deletion; only from a list of versions one is chosen here.
func (s *Server) precondition(headers []string, id string) (*uint64, error) {
	if len(headers) == 0 {
		return nil, nil
	}
	versions, every := versionsIn(headers)
	if every {
		return nil, nil
	}
	if len(versions) == 0 {
		return nil, rejection(messages.LabelPreconditionFailed,
			"If-Match names no version of this task, so nothing was deleted; send the ETag of a GET as it is")
	}
	if task, ok := s.deps.Reader.Task(id); ok {
		for _, version := range versions {
			if version == task.GetMetadata().GetResourceVersion() {
				return &version, nil
			}
		}
	}
	return &versions[0], nil
}
