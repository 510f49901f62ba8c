package rest

import (
	"context"
	"fmt"
	"net/http"
	"net/url"
	"strconv"

	"github.com/gin-gonic/gin"
	"google.golang.org/protobuf/proto"

	"slotd/gateway"
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
		err = errDraining
	}
	if err == nil {
		err = s.readBody(c, decode)
	}
	if err != nil {
		s.fail(c, err)
	}
	return err == nil
}

var errDraining = rejection(messages.LabelUnavailable, "the node is stopping and admits nothing new; try again when it is back")

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
	wait, waits := q.duration("wait", MaxWait)
	want := gateway.WantTerminal
	switch state, given := q.one("for"); {
	case !given || state == "terminal":
	case state == "running":
		want = gateway.WantRunning
	default:
		q.addf("for: expected running or terminal, found %s", quoted(state))
	}
	if err := q.err(); err != nil {
		s.fail(c, err)
		return
	}
	var task *soltiv1.TaskData
	if waits && wait > 0 {
		ctx, cancel := s.untilEnding(c.Request.Context())
		ctx, cancelWait := context.WithTimeout(ctx, wait)
		task, ok = s.deps.Reader.Wait(ctx, id, want)
		cancelWait()
		cancel()
	} else {
		task, ok = s.deps.Reader.Task(id)
	}
	if !ok {
		s.fail(c, notFound(id))
		return
	}
	version := task.GetMetadata().GetResourceVersion()
	if s.unchanged(c, etag(version)) {
		return
	}
	s.answer(c, http.StatusOK, &soltiv1.GetTaskStatusResponse{Task: s.shown(task, s.showValues(c))})
}

// showValues decides whether this client may see environment values that are not secret.
func (s *Server) showValues(c *gin.Context) bool {
	return auth.From(c.Request.Context()).Role.May(auth.Submit)
}

// shown returns the task with the values of its environment hidden: all of them, or the secret ones.
func (s *Server) shown(task *soltiv1.TaskData, values bool) *soltiv1.TaskData {
	spec := messages.Redact(task.GetSpec(), values)
	if spec == task.GetSpec() {
		return task
	}
	return &soltiv1.TaskData{Metadata: task.GetMetadata(), Spec: spec, Status: task.GetStatus()}
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
		if out = codec.Append(out, s.shown(task, false)); len(out) >= keepBuffers {
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
