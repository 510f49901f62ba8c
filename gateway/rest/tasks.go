package rest

import (
	"fmt"
	"net/http"
	"net/url"
	"strconv"
	"time"

	"github.com/gin-gonic/gin"
	"google.golang.org/protobuf/proto"

	"slotd/gateway/ask"
	"slotd/gateway/auth"
	"slotd/gateway/codec"
	"slotd/messages"
	soltiv1 "slotd/messages/solti/v1"
)

const keyHeader = "Idempotency-Key"

func (s *Server) submit(c *gin.Context) {
	var request soltiv1.SubmitTaskRequest
	if !s.takeSubmission(c, func(body []byte) error { return codec.Decode(body, &request) }) {
		return
	}
	key, err := idempotencyKey(c.Request.Header, request.IdempotencyKey)
	if err != nil {
		s.fail(c, err)
		return
	}
	id, err := s.deps.Registry.Submit(c.Request.Context(), request.GetSpec(), key)
	if err != nil {
		s.fail(c, err)
		return
	}
	c.Header("Location", "/api/v1/tasks/"+url.PathEscape(id))
	s.answer(c, http.StatusCreated, &soltiv1.SubmitTaskResponse{TaskId: id})
}

// takeSubmission reads the body of a request for admission, or refuses it. decode must not keep the body.
func (s *Server) takeSubmission(c *gin.Context, decode func(body []byte) error) bool {
	err := newQuery(c.Request).err()
	if err == nil {
		err = takesJSON(c.Request)
	}
	if err == nil && s.draining.Load() {
		err = ask.ErrDraining
	}
	if err == nil {
		err = s.readBody(c, decode)
	}
	if err != nil {
		s.fail(c, err)
	}
	return err == nil
}

// idempotencyKey brings the header and the field of the body together; nil = no key.
func idempotencyKey(header http.Header, field *string) (*string, error) {
	key := field
	for _, given := range header.Values(keyHeader) {
		if key != nil && *key != given {
			return nil, rejection(messages.LabelInvalidRequest, "idempotency_key: the Idempotency-Key header and the field of the body differ; give one key, once")
		}
		key = &given
	}
	return key, nil
}

// submitBatch answers one result for each spec; a spec that is refused spoils no other.
func (s *Server) submitBatch(c *gin.Context) {
	if len(c.Request.Header.Values(keyHeader)) > 0 {
		s.refuse(c, messages.LabelInvalidRequest, "Idempotency-Key: a batch takes no key; submit the specs one by one to use keys")
		return
	}
	var specs []*soltiv1.CreateSpec
	if !s.takeSubmission(c, func(body []byte) error {
		return codec.DecodeList(body, "specs", func(i int) (proto.Message, error) {
			if i == ask.MaxBatch {
				return nil, fmt.Errorf("a batch has at most %d specs; send several batches", ask.MaxBatch)
			}
			specs = append(specs, new(soltiv1.CreateSpec))
			return specs[i], nil
		})
	}) {
		return
	}
	results, err := s.deps.Registry.SubmitBatch(c.Request.Context(), specs)
	if err != nil {
		s.fail(c, err)
		return
	}
	b := buffer()
	defer release(b)
	*b = append(*b, `{"results":[`...)
	for i, result := range results {
		if i > 0 {
			*b = append(*b, ',')
		}
		if result.Err == nil {
			*b = codec.Append(*b, &soltiv1.SubmitTaskResponse{TaskId: result.TaskID})
			continue
		}
		label, message, _, known := explain(result.Err)
		if !known {
			s.deps.Logger.Error("batch item failed", "request_id", requestID(c), "error", result.Err)
			label, message = messages.LabelInternal, internalMessage
		}
		*b = appendError(*b, label, message)
	}
	*b = append(*b, `]}`...)
	s.writeJSON(c, http.StatusOK, *b)
}

func (s *Server) task(c *gin.Context) {
	id, ok := s.taskID(c)
	if !ok {
		return
	}
	q := newQuery(c.Request, "wait", "for")
	request := &soltiv1.GetTaskStatusRequest{}
	if given, ok := q.duration("wait", messages.MaxWait); ok {
		request.WaitMs = new(uint64((given + time.Millisecond - 1) / time.Millisecond))
	}
	if state, given := q.one("for"); given {
		request.WaitFor = &state
	}
	wait, err := messages.WaitOf(request)
	q.add(err)
	if err := q.err(); err != nil {
		s.fail(c, err)
		return
	}
	ctx, cancel := s.untilEnding(c.Request.Context())
	task, err := ask.Task(ctx, s.deps.Reader, id, wait)
	cancel()
	if err != nil {
		s.fail(c, err)
		return
	}
	version := task.GetMetadata().GetResourceVersion()
	if s.unchanged(c, etag(version)) {
		return
	}
	s.answer(c, http.StatusOK, &soltiv1.GetTaskStatusResponse{Task: messages.RedactTask(task, s.showValues(c))})
}

// showValues decides whether this client may see environment values that are not secret.
func (s *Server) showValues(c *gin.Context) bool {
	return auth.From(c.Request.Context()).Role.May(auth.Submit)
}

// list writes the tasks one after the other: with scripts of 2 MiB a page can be far larger than what memory should hold.
func (s *Server) list(c *gin.Context) {
	q, err := listQuery(c.Request)
	if err != nil {
		s.fail(c, err)
		return
	}
	tasks, total := s.deps.Reader.Tasks(q)
	b := buffer()
	defer release(b)
	out := append(*b, `{"tasks":[`...)
	streamed := false
	for i, task := range tasks {
		if i > 0 {
			out = append(out, ',')
		}
		if out = codec.AppendShown(out, task, false); len(out) >= keepBuffers {
			if !streamed {
				c.Writer.Header()["Content-Type"] = jsonContent
				streamed = true
			}
			if !s.write(c, out) {
				return
			}
			out = out[:0]
		}
	}
	out = strconv.AppendInt(append(out, `],"total":`...), int64(total), 10)
	out = append(out, '}')
	*b = out
	if streamed {
		s.write(c, out)
		return
	}
	s.writeJSON(c, http.StatusOK, out)
}

func (s *Server) runs(c *gin.Context) {
	id, ok := s.taskID(c)
	if !ok {
		return
	}
	err := newQuery(c.Request).err()
	var runs []*soltiv1.TaskRunInfo
	if err == nil {
		runs, err = s.deps.Reader.Runs(c.Request.Context(), id)
	}
	if err != nil {
		s.fail(c, err)
		return
	}
	s.answer(c, http.StatusOK, &soltiv1.ListTaskRunsResponse{Runs: runs})
}
