package client

import (
	"context"
	"iter"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"google.golang.org/protobuf/encoding/protojson"

	"slotd/messages"
	slotdv1 "slotd/messages/slotd/v1"
	soltiv1 "slotd/messages/solti/v1"
)

// Want is what a wait is for.
type Want string

// A wait for [Running] also holds once the task is terminal.
const (
	Running  Want = "running"
	Terminal Want = "terminal"
)

// Holds says whether task is what is waited for. The zero Want is [Terminal].
func (w Want) Holds(task *soltiv1.TaskData) bool {
	status := task.GetStatus()
	return status.GetTerminal() || w == Running && status.GetPhase() == soltiv1.TaskStatus_TASK_STATUS_RUNNING
}

// Submit asks for admission of spec and returns the id of the task. Once it has answered, the task is durable.
//
// With an idempotency key (at most 255 bytes) a repeat with an equal spec within 24 h answers the same id, so a
// submission whose connection broke is repeated; without one (empty) it is sent once. Refusals are [*Error] with label
// SlotBusy, QueueFull, InvalidRequest and so on.
func (c *Client) Submit(ctx context.Context, spec *soltiv1.CreateSpec, key string) (string, error) {
	body, err := protojson.Marshal(&soltiv1.SubmitTaskRequest{Spec: spec})
	if err != nil {
		return "", err
	}
	r := request{method: http.MethodPost, path: []string{"api", "v1", "tasks"}, body: body, header: http.Header{}}
	if key != "" {
		r.header.Set("Idempotency-Key", key)
		r.again = true
	}
	var answer soltiv1.SubmitTaskResponse
	if err := c.call(ctx, r, &answer); err != nil {
		return "", err
	}
	return answer.GetTaskId(), nil
}

// Get returns a task as it stands. An unknown id is an [*Error], see [NotFound].
func (c *Client) Get(ctx context.Context, id string) (*soltiv1.TaskData, error) {
	return c.get(ctx, id, nil)
}

// GetWait returns a task as soon as want holds, or as it stands after the given time (at most 5 minutes; the daemon
// may answer earlier when it stops).
func (c *Client) GetWait(ctx context.Context, id string, want Want, within time.Duration) (*soltiv1.TaskData, error) {
	query := url.Values{"wait": {milliseconds(within)}}
	if want != "" {
		query.Set("for", string(want))
	}
	return c.get(ctx, id, query)
}

func (c *Client) get(ctx context.Context, id string, query url.Values) (*soltiv1.TaskData, error) {
	var answer soltiv1.GetTaskStatusResponse
	r := request{method: http.MethodGet, path: taskPath(id), query: query, again: true}
	if err := c.call(ctx, r, &answer); err != nil {
		return nil, err
	}
	return answer.GetTask(), nil
}

// One question of [Client.Wait] lasts so long, short enough for the proxies on the way; and after an answer that came
// early and did not hold, the next is asked after a pause.
const (
	waitStep  = time.Minute
	waitPause = 100 * time.Millisecond
)

// Wait returns the task once want holds, however long that takes. The context bounds it.
func (c *Client) Wait(ctx context.Context, id string, want Want) (*soltiv1.TaskData, error) {
	for {
		task, err := c.GetWait(ctx, id, want, waitStep)
		if err != nil || want.Holds(task) {
			return task, err
		}
		if err := pause(ctx, waitPause); err != nil {
			return nil, err
		}
	}
}

// Filter chooses tasks; conditions hold together, the zero Filter is every task.
type Filter struct {
	Slot     string
	Status   soltiv1.TaskStatus // unspecified = any
	Selector string             // label selector in Kubernetes syntax
	IDPrefix string
	Terminal *bool
	Limit    uint32 // tasks a page; 0 = 100, at most 1000
	Offset   uint32 // matches to skip
	Newest   bool   // the page counts from the newest match backwards; it is still in id order
}

func (f Filter) query() url.Values {
	q := url.Values{}
	set := func(name, value string) {
		if value != "" {
			q.Set(name, value)
		}
	}
	set("slot", f.Slot)
	set("label", f.Selector)
	set("id", f.IDPrefix)
	if f.Status != soltiv1.TaskStatus_TASK_STATUS_UNSPECIFIED {
		q.Set("status", strings.ToLower(strings.TrimPrefix(f.Status.String(), "TASK_STATUS_")))
	}
	if f.Terminal != nil {
		q.Set("terminal", strconv.FormatBool(*f.Terminal))
	}
	if f.Limit != 0 {
		q.Set("limit", strconv.FormatUint(uint64(f.Limit), 10))
	}
	if f.Offset != 0 {
		q.Set("offset", strconv.FormatUint(uint64(f.Offset), 10))
	}
	if f.Newest {
		q.Set("newest", "true")
	}
	return q
}

// List returns one page of the matching tasks in id order, and how many match in all.
func (c *Client) List(ctx context.Context, f Filter) (*soltiv1.ListTasksResponse, error) {
	var answer soltiv1.ListTasksResponse
	r := request{method: http.MethodGet, path: []string{"api", "v1", "tasks"}, query: f.query(), again: true}
	if err := c.call(ctx, r, &answer); err != nil {
		return nil, err
	}
	return &answer, nil
}

// All yields every matching task in id order, page by page (f.Limit tasks a page, f.Offset and f.Newest are ignored),
// and stops at the first error. A task that matches the whole time is yielded exactly once, also when others come and
// go meanwhile: a page begins with the last task of the one before, and when that has moved, the page is taken back.
func (c *Client) All(ctx context.Context, f Filter) iter.Seq2[*soltiv1.TaskData, error] {
	return func(yield func(*soltiv1.TaskData, error) bool) {
		f.Offset, f.Newest = 0, false
		if f.Limit < 2 {
			f.Limit = 1000
		}
		last, overlaps := "", false
		for {
			page, err := c.List(ctx, f)
			if err != nil {
				yield(nil, err)
				return
			}
			tasks := page.GetTasks()
			if overlaps && (len(tasks) == 0 || tasks[0].GetMetadata().GetId() > last) {
				f.Offset -= min(f.Offset, f.Limit)
				overlaps = f.Offset > 0
				continue
			}
			for _, task := range tasks {
				if id := task.GetMetadata().GetId(); id > last {
					last = id
					if !yield(task, nil) {
						return
					}
				}
			}
			if f.Offset+uint32(len(tasks)) >= page.GetTotal() {
				return
			}
			overlaps = len(tasks) > 1
			f.Offset += uint32(max(1, len(tasks)-1))
		}
	}
}

// Runs returns the attempts of a task that are kept, oldest first.
func (c *Client) Runs(ctx context.Context, id string) ([]*soltiv1.TaskRunInfo, error) {
	var answer soltiv1.ListTaskRunsResponse
	r := request{method: http.MethodGet, path: taskPath(id, "runs"), again: true}
	if err := c.call(ctx, r, &answer); err != nil {
		return nil, err
	}
	return answer.GetRuns(), nil
}

// Cancel stops a task, keeps its record, and returns it once it is terminal: everything it started is dead. A terminal
// task is returned unchanged.
func (c *Client) Cancel(ctx context.Context, id string) (*soltiv1.TaskData, error) {
	return c.cancel(ctx, id, nil)
}

// CancelWithin is [Client.Cancel] with a grace of its own: SIGKILL follows SIGTERM after that time, when the spec's
// grace is longer. 0 kills at once.
func (c *Client) CancelWithin(ctx context.Context, id string, grace time.Duration) (*soltiv1.TaskData, error) {
	return c.cancel(ctx, id, url.Values{"grace": {milliseconds(grace)}})
}

func (c *Client) cancel(ctx context.Context, id string, query url.Values) (*soltiv1.TaskData, error) {
	var answer slotdv1.CancelTaskResponse
	r := request{method: http.MethodPost, path: taskPath(id, "cancel"), query: query, again: true}
	if err := c.call(ctx, r, &answer); err != nil {
		return nil, err
	}
	return answer.GetTask(), nil
}

// Delete stops a task, waits until it is dead, and purges its record, runs and logs. An unknown id is no error.
func (c *Client) Delete(ctx context.Context, id string) error {
	return c.call(ctx, request{method: http.MethodDelete, path: taskPath(id), again: true}, nil)
}

// DeleteVersion is [Client.Delete] of a task that still has the given resource version; one that has changed is left
// alone, and the answer is an [*Error] with label PreconditionFailed.
func (c *Client) DeleteVersion(ctx context.Context, id string, version uint64) error {
	header := http.Header{"If-Match": {strconv.Quote(strconv.FormatUint(version, 10))}}
	return c.call(ctx, request{method: http.MethodDelete, path: taskPath(id), header: header, again: true}, nil)
}

// candidates is how many tasks an ambiguous prefix is answered with.
const candidates = 4

// Resolve returns the whole id that prefix is short for. A whole id is returned as it is, without asking. No match is
// an [*Error], see [NotFound]; several are an [*AmbiguousError].
func (c *Client) Resolve(ctx context.Context, prefix string) (string, error) {
	if _, err := messages.ParseID(prefix); err == nil {
		return prefix, nil
	}
	if strings.TrimSpace(prefix) == "" { // every id begins with nothing
		return "", &Error{Status: http.StatusBadRequest, Label: messages.LabelInvalidRequest, Message: "task_id cannot be empty; name the task"}
	}
	unknown := &Error{
		Status:  http.StatusNotFound,
		Label:   messages.LabelTaskNotFound,
		Message: "no task has an id that begins with " + strconv.Quote(prefix) + "; `slotd ls -a` lists all",
	}
	if !messages.ValidIDPrefix(prefix) {
		return "", unknown
	}
	page, err := c.List(ctx, Filter{IDPrefix: prefix, Limit: candidates})
	if err != nil {
		return "", err
	}
	ids := make([]string, 0, candidates)
	for _, task := range page.GetTasks() {
		ids = append(ids, task.GetMetadata().GetId())
	}
	switch len(ids) {
	case 0:
		return "", unknown
	case 1:
		return ids[0], nil
	default:
		return "", &AmbiguousError{Prefix: prefix, Candidates: ids, Total: int(page.GetTotal())}
	}
}

func taskPath(id string, more ...string) []string {
	return append([]string{"api", "v1", "tasks", url.PathEscape(id)}, more...)
}
