package rest

import (
	"errors"
	"net/http"
	"net/url"
	"testing"
	"time"

	"slotd/messages"
)

// withQuery is a request with nothing but a query and, perhaps, an event id.
func withQuery(raw, after string) *http.Request {
	r := &http.Request{URL: &url.URL{RawQuery: raw}, Header: http.Header{}}
	if after != "" {
		r.Header.Set("Last-Event-ID", after)
	}
	return r
}

func refusedWell(t *testing.T, raw string, err error) {
	t.Helper()
	var invalid *messages.InvalidError
	if !errors.As(err, &invalid) || invalid.Error() == "" {
		t.Fatalf("%q: %v is not an InvalidError that says something", raw, err)
	}
	label, message, _, known := explain(err)
	if !known || label != messages.LabelInvalidRequest || message == "" {
		t.Fatalf("%q: explained as %q %q", raw, label, message)
	}
}

func FuzzListQuery(f *testing.F) {
	for _, raw := range []string{
		"", "slot=a&status=running&label=a%3Db&id=tsk_&terminal=true&limit=5&offset=1&newest=true", "phase=failed&label=a&label=!b",
		"limit=-1&limit=2", "label=a+in+(b,c)", "limit=99999999999999999999&offset=99999999999999999999", "x=%zz;y", "slot=%00&terminal=", "status=&phase=",
	} {
		f.Add(raw)
	}
	f.Fuzz(func(t *testing.T, raw string) {
		q, err := listQuery(withQuery(raw, ""))
		if err != nil {
			refusedWell(t, raw, err)
			return
		}
		if q.Limit < 1 || q.Limit > messages.MaxLimit || q.Offset < 0 {
			t.Fatalf("%q: limit %d, offset %d", raw, q.Limit, q.Offset)
		}
		if q.Slot != "" && messages.ValidateSlot(q.Slot) != nil {
			t.Fatalf("%q: slot %q", raw, q.Slot)
		}
		if _, err := messages.ParseSelector(q.Selector.String()); err != nil {
			t.Fatalf("%q: the selector %q can not be read back: %v", raw, q.Selector, err)
		}
	})
}

func FuzzLogQuery(f *testing.F) {
	for _, c := range [][2]string{
		{"", ""},
		{"tail=all", ""},
		{"tail=10&follow=false&since=10m&attempt=2&stream=stderr", "7"},
		{"since=2026-01-31T12:00:00+02:00", ""},
		{"tail=-1&attempt=0", ""},
		{"since=99999h&tail=18446744073709551616", "x"},
		{"since=0001-01-01T00:00:00Z", ""},
		{"stream=&follow=", ""},
	} {
		f.Add(c[0], c[1])
	}
	f.Fuzz(func(t *testing.T, raw, after string) {
		q, err := logQuery(withQuery(raw, after), time.Unix(1_700_000_000, 0))
		if err != nil {
			refusedWell(t, raw, err)
			return
		}
		if q.Since < 0 || q.After != after || q.Encoding != messages.EncodeSSE {
			t.Fatalf("%q: %+v", raw, q)
		}
		if !q.HasTail && (q.Since > 0 || q.Attempt > 0) {
			t.Fatalf("%q: since or attempt without tail: %+v", raw, q)
		}
	})
}
