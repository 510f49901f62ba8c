package messages

import (
	"fmt"
	"math"
	"strings"

	soltiv1 "slotd/messages/solti/v1"
)

// How many tasks a page has.
const (
	DefaultLimit = 100
	MaxLimit     = 1000
)

// Query chooses tasks. All conditions hold together; a zero field sets none. The result is ordered by id, which is the
// order of creation.
type Query struct {
	Slot     string
	Status   soltiv1.TaskStatus // 0 = any
	Selector Selector
	IDPrefix string
	Terminal *bool
	Limit    int // 1 to MaxLimit when made by QueryOf
	Offset   int
	Newest   bool // the page is taken from the newest end; it is still in ascending order
}

// QueryOf reads a list request. An id prefix that no id has is no mistake: it matches nothing. The error is an
// [InvalidError].
func QueryOf(r *soltiv1.ListTasksRequest) (Query, error) {
	var p problems
	q := Query{
		Slot:     r.GetSlot(),
		Status:   r.GetStatus(),
		IDPrefix: r.GetIdPrefix(),
		Terminal: r.Terminal,
		Limit:    DefaultLimit,
		Offset:   int(r.GetOffset()),
		Newest:   r.GetNewest(),
	}
	if r.Slot != nil {
		p.slot("slot", q.Slot)
	}
	if r.Status != nil && !listable(q.Status) {
		p.addf("status: invalid status %d, %s", q.Status, statusNames)
	}
	if r.GetLimit() > 0 {
		q.Limit = int(min(r.GetLimit(), MaxLimit))
	}
	selector, err := ParseSelector(r.GetLabelSelector())
	if err != nil {
		p.addf("%v", err)
	}
	q.Selector = selector
	return q, p.err()
}

const (
	statusPrefix = "TASK_STATUS_"
	statusNames  = "one of pending, running, succeeded, failed, timeout, canceled, exhausted"
)

func listable(s soltiv1.TaskStatus) bool {
	_, known := soltiv1.TaskStatus_name[int32(s)]
	return known && s != soltiv1.TaskStatus_TASK_STATUS_UNSPECIFIED
}

// ParseStatus reads one of the seven statuses by name, in any case, with or without the prefix TASK_STATUS_. The error
// is an [InvalidError].
func ParseStatus(s string) (soltiv1.TaskStatus, error) {
	name := strings.Map(upper, s)
	if !strings.HasPrefix(name, statusPrefix) {
		name = statusPrefix + name
	}
	status := soltiv1.TaskStatus(soltiv1.TaskStatus_value[name])
	if !listable(status) {
		return 0, &InvalidError{Problems: []string{fmt.Sprintf("status: invalid status %s, %s", quote(s), statusNames)}}
	}
	return status, nil
}

// upper knows ASCII only: "ı" is no letter of "running", though its upper case is.
func upper(r rune) rune {
	if 'a' <= r && r <= 'z' {
		return r - 'a' + 'A'
	}
	return r
}

// AllLines as the tail of a [LogQuery] asks for every line that is kept.
const AllLines = math.MaxUint64

// Encoding is the form in which a log cursor delivers events.
type Encoding uint8

// The encodings: frames of text/event-stream, or OutputEventProto messages.
const (
	EncodeSSE Encoding = iota
	EncodeProto
)

// LogQuery chooses output events of one task. The conditions hold together; Tail counts lines that pass the others.
type LogQuery struct {
	Tail     uint64 // with HasTail: replay that many kept lines first, AllLines = all
	HasTail  bool   // without it, and without After: live from now on
	Since    int64  // Unix milliseconds, 0 = no condition
	Attempt  uint32 // 1, 2, 3…; 0 = all
	Follow   bool   // after the replay go on until the task is terminal
	Stream   soltiv1.OutputStreamKind
	After    string // an event id: resume after it; wins over Tail
	Encoding Encoding
}

// LogQueryOf reads a log request: since or attempt without tail means all lines, and follow defaults to true. The error
// is an [InvalidError]. Encoding is left to the caller.
func LogQueryOf(r *soltiv1.StreamTaskLogsRequest) (LogQuery, error) {
	var p problems
	q := LogQuery{
		Tail:    r.GetTail(),
		HasTail: r.Tail != nil,
		Since:   max(0, r.GetSinceMs()),
		Attempt: r.GetAttempt(),
		Follow:  r.Follow == nil || r.GetFollow(),
		Stream:  r.GetStream(),
		After:   r.GetAfter(),
	}
	if r.Attempt != nil && q.Attempt == 0 {
		p.addf("attempt must be ≥ 1: attempts are counted from 1")
	}
	if _, known := soltiv1.OutputStreamKind_name[int32(q.Stream)]; !known {
		p.addf("stream has the unknown value %d", q.Stream)
	}
	if !q.HasTail && (r.SinceMs != nil || r.Attempt != nil) {
		q.Tail, q.HasTail = AllLines, true
	}
	return q, p.err()
}
