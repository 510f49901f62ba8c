package rest

import (
	"errors"
	"fmt"
	"math"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"slotd/messages"
	soltiv1 "slotd/messages/solti/v1"
)

// query reads the parameters of one request and collects everything that is wrong with them.
type query struct {
	values   url.Values
	problems []string
}

// newQuery accepts the named parameters only.
func newQuery(r *http.Request, known ...string) *query {
	q := &query{}
	if r.URL.RawQuery == "" {
		return q
	}
	values, err := url.ParseQuery(r.URL.RawQuery)
	if err != nil {
		q.addf("the query is malformed: %v", err)
	}
	q.values = values
	names := make([]string, 0, len(values))
	for name := range values {
		if !slices.Contains(known, name) {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	for _, name := range names {
		if len(known) == 0 {
			q.addf("unknown parameter %s, this route takes none", quoted(name))
			continue
		}
		q.addf("unknown parameter %s, this route takes %s", quoted(name), strings.Join(known, ", "))
	}
	return q
}

func (q *query) addf(format string, args ...any) {
	q.problems = append(q.problems, fmt.Sprintf(format, args...))
}

// add takes over an error of a parser. It names the field itself.
func (q *query) add(err error) {
	if err != nil {
		q.problems = append(q.problems, err.Error())
	}
}

func (q *query) err() error {
	if len(q.problems) == 0 {
		return nil
	}
	return &messages.InvalidError{Problems: q.problems}
}

// one returns the value of a parameter that may be given once.
func (q *query) one(name string) (string, bool) {
	switch given := q.values[name]; len(given) {
	case 0:
		return "", false
	case 1:
		return given[0], true
	}
	q.addf("%s is given more than once", name)
	return "", false
}

// count reads a number from 0 upward. One that is too large for the field becomes the field's greatest.
func (q *query) count(name string, greatest uint64) (uint64, bool) {
	s, given := q.one(name)
	if !given {
		return 0, false
	}
	n, err := strconv.ParseUint(s, 10, 64)
	if err != nil && !errors.Is(err, strconv.ErrRange) {
		q.addf("%s: expected a number from 0 upward, found %s", name, quoted(s))
		return 0, false
	}
	return min(n, greatest), true
}

func (q *query) boolean(name string) (value, given bool) {
	s, given := q.one(name)
	if given && s != "true" && s != "false" {
		q.addf("%s: expected true or false, found %s", name, quoted(s))
		return false, false
	}
	return s == "true", given
}

// duration reads a duration from 0 to most; 0 = no upper bound.
func (q *query) duration(name string, most time.Duration) (time.Duration, bool) {
	s, given := q.one(name)
	if !given {
		return 0, false
	}
	d, err := time.ParseDuration(s)
	switch {
	case err != nil || d < 0:
		q.addf("%s: expected a duration such as 500ms, 30s or 2m, found %s", name, quoted(s))
		return 0, false
	case most > 0 && d > most:
		q.addf("%s: must be at most %v, found %s", name, most, quoted(s))
		return 0, false
	}
	return d, true
}

// listQuery reads the filters of a task list.
func listQuery(r *http.Request) (messages.Query, error) {
	q := newQuery(r, "slot", "status", "phase", "label", "id", "terminal", "limit", "offset", "newest")
	request := &soltiv1.ListTasksRequest{LabelSelector: strings.Join(q.values["label"], ",")}
	if slot, given := q.one("slot"); given {
		request.Slot = &slot
	}
	if id, given := q.one("id"); given {
		request.IdPrefix = &id
	}
	status, byStatus := q.one("status")
	phase, byPhase := q.one("phase")
	switch {
	case byStatus && byPhase:
		q.addf("status and phase are two names of one filter; give one of them")
	case byPhase:
		status = phase
		fallthrough
	case byStatus:
		parsed, err := messages.ParseStatus(status)
		q.add(err)
		request.Status = &parsed
		if err != nil {
			request.Status = nil
		}
	}
	if terminal, given := q.boolean("terminal"); given {
		request.Terminal = &terminal
	}
	limit, _ := q.count("limit", math.MaxUint32)
	offset, _ := q.count("offset", math.MaxUint32)
	request.Limit, request.Offset = uint32(limit), uint32(offset)
	if newest, given := q.boolean("newest"); given {
		request.Newest = &newest
	}
	chosen, err := messages.QueryOf(request)
	q.add(err)
	return chosen, q.err()
}

// logQuery reads the parameters of a log stream.
func logQuery(r *http.Request, now time.Time) (messages.LogQuery, error) {
	q := newQuery(r, "tail", "follow", "since", "attempt", "stream")
	request := &soltiv1.StreamTaskLogsRequest{}
	if s, _ := q.one("tail"); s == "all" {
		request.Tail = new(uint64(messages.AllLines))
	} else if tail, given := q.count("tail", messages.AllLines); given {
		request.Tail = &tail
	}
	if follow, given := q.boolean("follow"); given {
		request.Follow = &follow
	}
	if since, given := q.since(now); given {
		request.SinceMs = &since
	}
	if attempt, given := q.count("attempt", math.MaxUint32); given {
		request.Attempt = new(uint32(attempt))
	}
	switch stream, given := q.one("stream"); {
	case !given:
	case stream == "stdout":
		request.Stream = soltiv1.OutputStreamKind_OUTPUT_STREAM_KIND_STDOUT
	case stream == "stderr":
		request.Stream = soltiv1.OutputStreamKind_OUTPUT_STREAM_KIND_STDERR
	default:
		q.addf("stream: expected stdout or stderr, found %s", quoted(stream))
	}
	if ids := r.Header.Values("Last-Event-ID"); len(ids) > 0 {
		request.After = ids[0]
	}
	chosen, err := messages.LogQueryOf(request)
	q.add(err)
	chosen.Encoding = messages.EncodeSSE
	return chosen, q.err()
}

// since reads a time, or a duration before now, as Unix milliseconds.
func (q *query) since(now time.Time) (int64, bool) {
	s, given := q.one("since")
	if !given {
		return 0, false
	}
	// The + of a zone offset that was not escaped arrives as a space.
	if at, err := time.Parse(time.RFC3339, strings.Replace(s, " ", "+", 1)); err == nil {
		return at.UnixMilli(), true
	}
	if ago, err := time.ParseDuration(s); err == nil && ago >= 0 {
		return now.Add(-ago).UnixMilli(), true
	}
	q.addf("since: expected a time such as 2026-01-31T12:00:00Z or a duration such as 10m, found %s", quoted(s))
	return 0, false
}
