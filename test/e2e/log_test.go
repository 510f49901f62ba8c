package e2e

import (
	"bufio"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"
)

func TestLinesAsTheyAre(t *testing.T) {
	t.Parallel()
	d := serve(t)
	id := d.submit(shell("lane", `printf 'a\0b\n\xff\xfe\n\r\ncrlf\r\n\n'; head -c 10485760 /dev/zero | tr '\0' x; printf '\nexact\n'
		head -c 65536 /dev/zero | tr '\0' y; echo; echo '{"json": "ü'$'\u2028''"}'; printf 'last'`))
	d.end(id)
	events := d.kept(id, "tail=all")
	want := []struct {
		line      string
		truncated bool
	}{
		{"a\x00b", false},
		{"\ufffd\ufffd", false},
		{"", false},
		{"crlf", false},
		{"", false},
		{strings.Repeat("x", 65536), true},
		{"exact", false},
		{strings.Repeat("y", 65536), false},
		{`{"json": "ü` + "\u2028" + `"}`, false},
		{"last", false},
	}
	if len(events) != len(want)+2 || events[0].name != "run-started" || events[len(events)-1].name != "run-finished" {
		t.Fatalf("%d events, want %d", len(events), len(want)+2)
	}
	for i, e := range events[1 : len(events)-1] {
		if e.data.Line != want[i].line || e.data.Truncated != want[i].truncated {
			t.Errorf("line %d is %d bytes %q…, truncated %v", i, len(e.data.Line), tailOf(e.data.Line, 40), e.data.Truncated)
		}
		if e.data.Seq == nil || *e.data.Seq != i || e.data.Stream != "stdout" || e.data.Attempt != 1 || e.data.Ts == 0 || e.id == "" {
			t.Errorf("line %d: %+v, id %q", i, e.data.Seq, e.id)
		}
	}
	if strings.Contains(events[1].raw, "truncated\":false") {
		t.Errorf("frame %q", events[1].raw)
	}
}

func TestLogFilters(t *testing.T) {
	t.Parallel()
	d := serve(t)
	id := d.submit(shell("lane", `echo o1-$SLOTD_ATTEMPT; sleep 0.1; echo e1-$SLOTD_ATTEMPT >&2; sleep 0.1; echo o2-$SLOTD_ATTEMPT; exit 1`).
		with("restart", "RESTART_STRATEGY_ON_FAILURE").with("maxRetries", 1).with("backoff", object{"firstMs": 1, "maxMs": 1, "factor": 1}))
	d.end(id)
	second := d.kept(id, "attempt=2")[0].data.StartedAt
	for query, want := range map[string]string{
		"tail=all":                   "+1 o1-1 e1-1 o2-1 -1 +2 o1-2 e1-2 o2-2 -2",
		"tail=all&follow=false":      "+1 o1-1 e1-1 o2-1 -1 +2 o1-2 e1-2 o2-2 -2",
		"":                           "",
		"tail=0":                     "",
		"tail=1":                     "+2 o2-2 -2",
		"tail=3":                     "+2 o1-2 e1-2 o2-2 -2",
		"tail=4":                     "+1 o2-1 -1 +2 o1-2 e1-2 o2-2 -2",
		"tail=18446744073709551616":  "+1 o1-1 e1-1 o2-1 -1 +2 o1-2 e1-2 o2-2 -2",
		"stream=stderr&tail=all":     "+1 e1-1 -1 +2 e1-2 -2",
		"stream=stdout&tail=1":       "+2 o2-2 -2",
		"stream=stderr&tail=1":       "+2 e1-2 -2",
		"attempt=1":                  "+1 o1-1 e1-1 o2-1 -1",
		"attempt=2&stream=stdout":    "+2 o1-2 o2-2 -2",
		"attempt=2&tail=1":           "+2 o2-2 -2",
		"attempt=9":                  "",
		"since=1h":                   "+1 o1-1 e1-1 o2-1 -1 +2 o1-2 e1-2 o2-2 -2",
		"since=2100-01-01T00:00:00Z": "",
		"since=" + time.UnixMilli(second).UTC().Format("2006-01-02T15:04:05.000Z") + "&stream=stderr": "+2 e1-2 -2",
	} {
		if got := strings.Join(outline(d.open(id, query).rest()), " "); got != want {
			t.Errorf("%q: %s, want %s", query, got, want)
		}
	}
	for _, query := range []string{"tail=x", "tail=-1", "tail=", "follow=maybe", "since=yesterday", "since=-1s", "attempt=x", "attempt=-1", "stream=stdin", "stream=", "nonsense=1", "tail=1&tail=2"} {
		if a := d.get("/api/v1/tasks/" + id + "/logs?" + query); a.status != http.StatusBadRequest || a.label() != "InvalidRequest" {
			t.Errorf("%q: %v, want 400", query, a)
		}
	}
	if a := d.get("/api/v1/tasks/"+id+"/logs", "Last-Event-ID", "no id of ours"); a.status != http.StatusBadRequest {
		t.Errorf("a strange event id: %v, want 400", a)
	}
	// The end of an attempt tells how.
	events := d.kept(id, "tail=1")
	if last := events[len(events)-1].data; !same(last.ExitCode, new(1)) || last.Signal != nil || last.FinishedAt == 0 {
		t.Errorf("the last event is %+v", last)
	}
}

func TestFollowersSeeEveryAttemptAndResumeWhereTheyWere(t *testing.T) {
	t.Parallel()
	d := serve(t)
	gate := filepath.Join(t.TempDir(), "gate")
	id := d.submit(shell("lane", `echo begin-$SLOTD_ATTEMPT; while ! test -e "$0-$SLOTD_ATTEMPT"; do sleep 0.02; done; echo end-$SLOTD_ATTEMPT; test $SLOTD_ATTEMPT = 3`, gate).
		with("restart", "RESTART_STRATEGY_ON_FAILURE").with("backoff", object{"firstMs": 1, "maxMs": 1, "factor": 1}))
	open := func(n int) {
		if err := os.WriteFile(gate+"-"+strconv.Itoa(n), nil, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	all := d.open(id, "tail=all")
	begun := all.line("begin-1")
	// From now on: what runs is announced, what was said before is not repeated.
	live := d.open(id, "")
	first, ok := live.next()
	if !ok || first.name != "run-started" || first.data.Attempt != 1 {
		t.Fatalf("the live stream begins with %+v", first)
	}
	open(1)
	all.line("begin-2")
	resumed := d.open(id, "tail=0", "Last-Event-ID", begun.id)
	open(2)
	open(3)
	if got := d.end(id).ended(); got != "SUCCEEDED Completed" {
		t.Fatalf("ended %s", got)
	}
	if got := strings.Join(outline(live.rest()), " "); got != "end-1 -1 +2 begin-2 end-2 -2 +3 begin-3 end-3 -3" {
		t.Errorf("live: %s", got)
	}
	if got := strings.Join(outline(all.rest()), " "); got != "end-2 -2 +3 begin-3 end-3 -3" {
		t.Errorf("from the beginning: %s", got)
	}
	if got := strings.Join(outline(resumed.rest()), " "); got != "end-1 -1 +2 begin-2 end-2 -2 +3 begin-3 end-3 -3" {
		t.Errorf("resumed: %s", got)
	}
	// Every id resumes exactly after its event; the last one says that there is nothing more.
	events := d.kept(id, "tail=all")
	for i, e := range events {
		if i == len(events)-1 {
			if a := d.get("/api/v1/tasks/"+id+"/logs?tail=all", "Last-Event-ID", e.id); a.status != http.StatusNoContent {
				t.Errorf("after the last event: %v, want 204", a)
			}
			continue
		}
		want := strings.Join(outline(events[i+1:]), " ")
		if got := strings.Join(outline(d.open(id, "tail=all", "Last-Event-ID", e.id).rest()), " "); got != want {
			t.Errorf("after %s: %s, want %s", e.id, got, want)
		}
	}
}

// A reader that stops reading is nobody's concern: the task writes 1 GB as if there were none, memory stays bounded and
// another task and another reader notice nothing.
func TestStoppedReaderOfAGigabyte(t *testing.T) {
	t.Parallel()
	d := serve(t, "--log-bytes", "16MiB")
	gate := filepath.Join(t.TempDir(), "gate")
	id := d.submit(shell("flood", `echo ready; while ! test -e "$0"; do sleep 0.02; done; yes "$(printf '%01999d' 7)" | head -c 1000000000; echo; echo done`, gate))
	conn := d.dial()
	if _, err := fmt.Fprintf(conn, "GET /api/v1/tasks/%s/logs?tail=all HTTP/1.1\r\nHost: %s\r\n\r\n", id, d.http); err != nil {
		t.Fatal(err)
	}
	r := bufio.NewReaderSize(conn, 16)
	if line, err := r.ReadString('\n'); err != nil || !strings.Contains(line, "200") {
		t.Fatalf("answer %q, %v", line, err)
	} // and never another byte is read
	if err := os.WriteFile(gate, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	beside := d.open(id, "stream=stderr")
	for i := range 5 {
		begun := time.Now()
		if got := d.end(d.submit(shell("beside-"+strconv.Itoa(i), "echo hello"))).ended(); got != "SUCCEEDED Completed" || time.Since(begun) > 20*time.Second {
			t.Errorf("another task: %s after %v", got, time.Since(begun))
		}
	}
	if got := d.end(id).ended(); got != "SUCCEEDED Completed" {
		t.Errorf("ended %s", got)
	}
	if got := strings.Join(outline(beside.rest()), " "); got != "+1 -1" {
		t.Errorf("the other reader saw %s", got)
	}
	if peak := statusKiB(t, d.process.Pid, "VmHWM"); peak > 600<<10 {
		t.Errorf("the daemon has used %d MiB", peak>>10)
	}
	if got := outline(d.kept(id, "tail=1")); strings.Join(got, " ") != "+1 done -1" {
		t.Errorf("the end of the log is %v", got)
	}
	if kept := number(t, d.introspect().Logs.Bytes); kept > 20<<20 {
		t.Errorf("%d bytes of log are kept, want at most about 16 MiB", kept)
	}
	events := d.kept(id, "tail=all")
	if events[0].name != "lagged" || events[0].data.Skipped == 0 || events[1].name != "run-started" {
		t.Errorf("a replay after dropped lines begins with %s and %s", events[0].name, events[1].name)
	}
	chunks := 0
	for _, e := range events {
		if e.name == "chunk" {
			chunks++
		}
	}
	// Among the events that are gone is the begin of the attempt: the one before the first chunk only repeats it.
	if skipped := events[0].data.Skipped; skipped+chunks != 500_003+1 {
		t.Errorf("%d events skipped and %d lines kept, want the begin and 500003 lines together", skipped, chunks)
	}
}
