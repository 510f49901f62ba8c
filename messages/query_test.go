package messages

import (
	"math"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	soltiv1 "slotd/messages/solti/v1"
)

func TestQueryOfARequest(t *testing.T) {
	got, err := QueryOf(&soltiv1.ListTasksRequest{
		Slot:          new("build"),
		Status:        soltiv1.TaskStatus_TASK_STATUS_FAILED.Enum(),
		Limit:         5,
		Offset:        math.MaxUint32,
		LabelSelector: "a=b,!c",
		IdPrefix:      new("tsk_01"),
		Terminal:      new(false),
	})
	if err != nil {
		t.Fatal(err)
	}
	if got.Selector.String() != "a=b,!c" {
		t.Errorf("got the selector %q", got.Selector)
	}
	got.Selector = Selector{}
	want := Query{Slot: "build", Status: soltiv1.TaskStatus_TASK_STATUS_FAILED, IDPrefix: "tsk_01", Terminal: new(false), Limit: 5, Offset: math.MaxUint32}
	if diff := cmp.Diff(got, want, cmp.AllowUnexported(Selector{})); diff != "" {
		t.Errorf("query (-got +want):\n%s", diff)
	}
}

func TestLimitsOfAPage(t *testing.T) {
	for limit, want := range map[uint32]int{0: 100, 1: 1, 1000: 1000, 1001: 1000, math.MaxUint32: 1000} {
		got, err := QueryOf(&soltiv1.ListTasksRequest{Limit: limit})
		if err != nil || got.Limit != want {
			t.Errorf("limit %d: got %d, %v, want %d", limit, got.Limit, err, want)
		}
	}
}

func TestQueryListsAllProblems(t *testing.T) {
	_, err := QueryOf(&soltiv1.ListTasksRequest{Slot: new(""), Status: new(soltiv1.TaskStatus(8)), LabelSelector: "a in"})
	want := []string{
		"slot cannot be empty",
		"status: invalid status 8, one of pending, running, succeeded, failed, timeout, canceled, exhausted",
		"label_selector: at position 5: found the end, expected '(' and a list of values",
	}
	if diff := cmp.Diff(problemsOf(t, err), want); diff != "" {
		t.Errorf("problems (-got +want):\n%s", diff)
	}
	_, err = QueryOf(&soltiv1.ListTasksRequest{Status: new(soltiv1.TaskStatus(0))})
	if got := problemsOf(t, err); len(got) != 1 || !strings.Contains(got[0], "invalid status 0") {
		t.Errorf("got %v, want a status that is given as 0 refused", got)
	}
}

func TestParseStatus(t *testing.T) {
	for number, name := range soltiv1.TaskStatus_name {
		short := strings.TrimPrefix(name, "TASK_STATUS_")
		for _, s := range []string{name, short, strings.ToLower(name), strings.ToLower(short), short[:1] + strings.ToLower(short[1:])} {
			got, err := ParseStatus(s)
			if number == 0 {
				if err == nil {
					t.Errorf("%q: got %v, want an error", s, got)
				}
				continue
			}
			if err != nil || int32(got) != number {
				t.Errorf("%q: got %v, %v, want %s", s, got, err, name)
			}
		}
	}
	for _, s := range []string{"", " running", "run", "1", "TASK_STATUS_", "TASK_STATUS_TASK_STATUS_RUNNING", "cancelled", "runnıng", "ſucceeded"} {
		got, err := ParseStatus(s)
		if p := problemsOf(t, err); got != 0 || len(p) != 1 || !strings.Contains(p[0], "invalid status") {
			t.Errorf("%q: got %v, %v", s, got, p)
		}
	}
}

func TestLogQueryOfARequest(t *testing.T) {
	tests := []struct {
		name string
		req  *soltiv1.StreamTaskLogsRequest
		want LogQuery
	}{
		{"nothing asked", &soltiv1.StreamTaskLogsRequest{}, LogQuery{Follow: true}},
		{"tail", &soltiv1.StreamTaskLogsRequest{Tail: new(uint64(5))}, LogQuery{Tail: 5, HasTail: true, Follow: true}},
		{"tail of nothing", &soltiv1.StreamTaskLogsRequest{Tail: new(uint64(0))}, LogQuery{HasTail: true, Follow: true}},
		{"all", &soltiv1.StreamTaskLogsRequest{Tail: new(uint64(AllLines)), Follow: new(false)}, LogQuery{Tail: AllLines, HasTail: true}},
		{"since means all", &soltiv1.StreamTaskLogsRequest{SinceMs: new(int64(7))}, LogQuery{Tail: AllLines, HasTail: true, Since: 7, Follow: true}},
		{"since before 1970 means all", &soltiv1.StreamTaskLogsRequest{SinceMs: new(int64(-7))}, LogQuery{Tail: AllLines, HasTail: true, Follow: true}},
		{"attempt means all", &soltiv1.StreamTaskLogsRequest{Attempt: new(uint32(2))}, LogQuery{Tail: AllLines, HasTail: true, Attempt: 2, Follow: true}},
		{"tail beside since and attempt", &soltiv1.StreamTaskLogsRequest{Tail: new(uint64(3)), SinceMs: new(int64(7)), Attempt: new(uint32(2))}, LogQuery{Tail: 3, HasTail: true, Since: 7, Attempt: 2, Follow: true}},
		{"one stream, resumed", &soltiv1.StreamTaskLogsRequest{Stream: soltiv1.OutputStreamKind_OUTPUT_STREAM_KIND_STDERR, After: "x", Follow: new(true)}, LogQuery{Stream: soltiv1.OutputStreamKind_OUTPUT_STREAM_KIND_STDERR, After: "x", Follow: true}},
	}
	for _, tt := range tests {
		if got, err := LogQueryOf(tt.req); err != nil || got != tt.want {
			t.Errorf("%s: got %+v, %v, want %+v", tt.name, got, err, tt.want)
		}
	}
	_, err := LogQueryOf(&soltiv1.StreamTaskLogsRequest{Attempt: new(uint32(0)), Stream: 3})
	want := []string{"attempt must be ≥ 1: attempts are counted from 1", "stream has the unknown value 3"}
	if got := problemsOf(t, err); !slices.Equal(got, want) {
		t.Errorf("got %q, want %q", got, want)
	}
}
