package main

import (
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"

	"github.com/google/go-cmp/cmp"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"

	slotdv1 "slotd/messages/slotd/v1"
	soltiv1 "slotd/messages/solti/v1"
)

func taskIn(id string, status *soltiv1.TaskStatusInfo) *soltiv1.TaskData {
	return &soltiv1.TaskData{Metadata: &soltiv1.ObjectMeta{Id: id}, Status: status}
}

func ended(phase soltiv1.TaskStatus, code int32, reason string) *soltiv1.TaskStatusInfo {
	return &soltiv1.TaskStatusInfo{Phase: phase, Terminal: true, Attempt: 1, ExitCode: new(code), Reason: &reason}
}

func succeeded() *soltiv1.TaskStatusInfo {
	return ended(soltiv1.TaskStatus_TASK_STATUS_SUCCEEDED, 0, "Completed")
}

func failedWith(code int32) *soltiv1.TaskStatusInfo {
	return ended(soltiv1.TaskStatus_TASK_STATUS_FAILED, code, "NonZeroExit")
}

func canceled() *soltiv1.TaskStatusInfo {
	return &soltiv1.TaskStatusInfo{Phase: soltiv1.TaskStatus_TASK_STATUS_CANCELED, Terminal: true, Reason: new("Canceled")}
}

// submitted is a daemon that has admitted idA, whose log and state are as given.
func submitted(t *testing.T, status *soltiv1.TaskStatusInfo, logs http.HandlerFunc) routes {
	t.Helper()
	return routes{
		"POST /api/v1/tasks":                 jsonAnswer(t, &soltiv1.SubmitTaskResponse{TaskId: idA}),
		"GET /api/v1/tasks/" + idA + "/logs": logs,
		"GET /api/v1/tasks/" + idA:           jsonAnswer(t, &soltiv1.GetTaskStatusResponse{Task: taskIn(idA, status)}),
	}
}

func line(stream string, text string) string {
	return fmt.Sprintf(`{"type":"chunk","attempt":1,"stream":%q,"seq":0,"ts":1772600767123,"line":%q}`, stream, text)
}

const runStarted = `{"type":"runStarted","attempt":1,"startedAt":1}`

func TestRunFollowsFromTheFirstLineAndExitsAsTheTask(t *testing.T) {
	for _, tc := range []struct {
		status *soltiv1.TaskStatusInfo
		code   int
		says   string
	}{
		{succeeded(), 0, ""},
		{failedWith(7), 7, ""},
		{canceled(), 143, "slotd: " + idA + ": was canceled\n"},
		{&soltiv1.TaskStatusInfo{Phase: soltiv1.TaskStatus_TASK_STATUS_TIMEOUT, Terminal: true, Reason: new("TimedOut"), Error: new("timed out after 1s")}, 124, "slotd: " + idA + ": timed out after 1s\n"},
		{&soltiv1.TaskStatusInfo{Phase: soltiv1.TaskStatus_TASK_STATUS_FAILED, Terminal: true, Reason: new("SpawnFailed"), ExitCode: proto.Int32(127), Error: new("/no: not found")}, 127, "slotd: " + idA + ": /no: not found\n"},
		{&soltiv1.TaskStatusInfo{Phase: soltiv1.TaskStatus_TASK_STATUS_FAILED, Terminal: true, Reason: new("NodeLost"), Error: new("the daemon ended")}, 125, "slotd: " + idA + ": the daemon ended\n"},
	} {
		w := daemon(t, submitted(t, tc.status, func(rw http.ResponseWriter, r *http.Request) {
			if r.URL.RawQuery != "follow=true&tail=all" {
				t.Errorf("got %s", r.URL.RawQuery)
			}
			frames(runStarted, line("stdout", "one"), line("stderr", "bad"), line("stdout", "two"))(rw, r)
		}))
		code := w.run(t, "run", "--", "true")
		if code != tc.code || w.out.String() != "one\ntwo\n" || w.talk.String() != "bad\n"+tc.says {
			t.Errorf("exit %d, want %d; stdout %q, stderr %q", code, tc.code, w.out.String(), w.talk.String())
		}
	}
}

func TestRunExhaustedByTimeoutsAsksForTheLastRun(t *testing.T) {
	r := submitted(t, &soltiv1.TaskStatusInfo{Phase: soltiv1.TaskStatus_TASK_STATUS_EXHAUSTED, Terminal: true, Attempt: 2, Reason: new("RetriesExhausted"), Error: new("timed out")}, frames())
	r["GET /api/v1/tasks/"+idA+"/runs"] = jsonAnswer(t, &soltiv1.ListTaskRunsResponse{Runs: []*soltiv1.TaskRunInfo{
		{Attempt: 1, Status: soltiv1.TaskStatus_TASK_STATUS_FAILED}, {Attempt: 2, Status: soltiv1.TaskStatus_TASK_STATUS_TIMEOUT},
	}})
	w := daemon(t, r)
	if code := w.run(t, "run", "--", "true"); code != 124 || !strings.Contains(w.talk.String(), "gave up after attempt 2: timed out") {
		t.Errorf("exit %d, said %q", code, w.talk.String())
	}
}

func TestRunTakesALogThatEndedEarlyUpAgain(t *testing.T) {
	var opened atomic.Int32
	r := submitted(t, nil, func(w http.ResponseWriter, r *http.Request) {
		if opened.Add(1) == 1 {
			frames(line("stdout", "one"))(w, r)
			return
		}
		if got := r.Header.Get("Last-Event-ID"); got != "e0" {
			t.Errorf("resumed after %q", got)
		}
		frames(line("stdout", "two"))(w, r)
	})
	r["GET /api/v1/tasks/"+idA] = func(w http.ResponseWriter, r *http.Request) {
		status := &soltiv1.TaskStatusInfo{Phase: soltiv1.TaskStatus_TASK_STATUS_RUNNING}
		if opened.Load() > 1 {
			status = succeeded()
		}
		jsonAnswer(t, &soltiv1.GetTaskStatusResponse{Task: taskIn(idA, status)})(w, r)
	}
	w := daemon(t, r)
	if code := w.run(t, "run", "--", "true"); code != 0 || w.out.String() != "one\ntwo\n" {
		t.Errorf("exit %d, got %q, said %q", code, w.out.String(), w.talk.String())
	}
}

func TestRunKnowsAnOutcomeThatCannotBeAskedForAnyMore(t *testing.T) {
	for name, gone := range map[string]http.HandlerFunc{
		"the task was removed": refuse(404, "TaskNotFound", "gone"),
		"the daemon is broken": refuse(500, "Internal", "broken"),
	} {
		var asked atomic.Int32
		r := submitted(t, nil, frames(line("stdout", "one")))
		r["GET /api/v1/tasks/"+idA] = func(w http.ResponseWriter, r *http.Request) {
			// Whoever waits beside the log is told; who asks when the log has ended comes too late.
			if r.URL.Query().Get("wait") == "60000ms" && asked.Add(1) == 1 {
				jsonAnswer(t, &soltiv1.GetTaskStatusResponse{Task: taskIn(idA, canceled())})(w, r)
				return
			}
			gone(w, r)
		}
		w := daemon(t, r)
		if code := w.run(t, "run", "--", "true"); code != exitCanceled || w.out.String() != "one\n" {
			t.Errorf("%s: exit %d, got %q, said %q", name, code, w.out.String(), w.talk.String())
		}
	}
}

func TestRunDetachedPrintsOnlyTheID(t *testing.T) {
	w := daemon(t, routes{"POST /api/v1/tasks": func(rw http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		if err != nil {
			t.Error(err)
		}
		var got soltiv1.SubmitTaskRequest
		if err := protojson.Unmarshal(body, &got); err != nil {
			t.Error(err)
		}
		if got.GetSpec().GetSlot() != "echo" || r.Header.Get("Idempotency-Key") != "k" {
			t.Errorf("got %v", &got)
		}
		jsonAnswer(t, &soltiv1.SubmitTaskResponse{TaskId: idA})(rw, r)
	}})
	if code := w.run(t, "run", "-d", "--idempotency-key", "k", "--", "echo", "-d"); code != 0 || w.out.String() != idA+"\n" || w.talk.String() != "" {
		t.Errorf("exit %d, got %q, said %q", code, w.out.String(), w.talk.String())
	}
}

func TestWhatIsSlotdsOwnExits125FromRun(t *testing.T) {
	for name, r := range map[string]routes{
		"refused": {"POST /api/v1/tasks": refuse(409, "SlotBusy", "slot is busy")},
		"removed": func() routes {
			r := submitted(t, nil, frames())
			r["GET /api/v1/tasks/"+idA] = refuse(404, "TaskNotFound", "gone")
			return r
		}(),
		"no log": submitted(t, nil, refuse(500, "Internal", "broken")),
	} {
		w := daemon(t, r)
		if code := w.run(t, "run", "--", "true"); code != exitOwn || w.talk.String() == "" {
			t.Errorf("%s: exit %d, said %q", name, code, w.talk.String())
		}
	}
	w := newWorld(t, "SLOTD_ADDR=unix:///nowhere")
	if code := w.run(t, "run", "--", "true"); code != exitOwn || !strings.Contains(w.talk.String(), "slotd serve") {
		t.Errorf("exit %d, said %q", code, w.talk.String())
	}
	w = daemon(t, routes{"POST /api/v1/tasks": refuse(409, "SlotBusy", "slot is busy")})
	if code := w.run(t, "submit", "--", "true"); code != exitRejected || w.talk.String() != "slotd: slot is busy\n" {
		t.Errorf("exit %d, said %q", code, w.talk.String())
	}
}

// interruptible is a task that goes on until it is canceled, and how it was.
type interruptible struct {
	mu     sync.Mutex
	asked  []string
	ending chan struct{}
}

func (i *interruptible) cancels() []string {
	i.mu.Lock()
	defer i.mu.Unlock()
	return append([]string(nil), i.asked...)
}

func (i *interruptible) routes(t *testing.T, endsAfter int) routes {
	t.Helper()
	i.ending = make(chan struct{})
	r := submitted(t, canceled(), func(w http.ResponseWriter, r *http.Request) {
		frames(line("stdout", "here"))(w, r)
		if err := http.NewResponseController(w).Flush(); err != nil {
			t.Error(err)
		}
		select {
		case <-i.ending:
		case <-r.Context().Done():
		}
	})
	r["POST /api/v1/tasks/"+idA+"/cancel"] = func(w http.ResponseWriter, r *http.Request) {
		i.mu.Lock()
		i.asked = append(i.asked, r.URL.RawQuery)
		if len(i.asked) == endsAfter {
			close(i.ending)
		}
		i.mu.Unlock()
		select {
		case <-i.ending:
			jsonAnswer(t, &slotdv1.CancelTaskResponse{Task: taskIn(idA, canceled())})(w, r)
		case <-r.Context().Done():
		}
	}
	return r
}

func TestInterruptsOfARunCancelThenKillThenGiveUp(t *testing.T) {
	var once interruptible
	w := daemon(t, once.routes(t, 1))
	exit := make(chan int, 1)
	go func() { exit <- w.run(t, "run", "--", "true") }()
	eventually(t, "the task runs", func() bool { return w.out.String() == "here\n" })
	w.signals <- syscall.SIGINT
	if code := <-exit; code != exitCanceled || !strings.Contains(w.talk.String(), "canceling "+idA) {
		t.Errorf("exit %d, said %q", code, w.talk.String())
	}
	if diff := cmp.Diff([]string{""}, once.cancels()); diff != "" {
		t.Error(diff)
	}

	var twice interruptible
	w = daemon(t, twice.routes(t, 2))
	go func() { exit <- w.run(t, "run", "--", "true") }()
	eventually(t, "the task runs", func() bool { return w.out.String() == "here\n" })
	w.signals <- syscall.SIGINT
	eventually(t, "it was canceled", func() bool { return len(twice.cancels()) == 1 })
	w.signals <- syscall.SIGINT
	if code := <-exit; code != exitCanceled {
		t.Errorf("exit %d, said %q", code, w.talk.String())
	}
	if diff := cmp.Diff([]string{"", "grace=0ms"}, twice.cancels()); diff != "" {
		t.Error(diff)
	}

	var never interruptible
	w = daemon(t, never.routes(t, 99))
	go func() { exit <- w.run(t, "run", "--", "true") }()
	eventually(t, "the task runs", func() bool { return w.out.String() == "here\n" })
	for range 3 {
		w.signals <- syscall.SIGTERM
	}
	if code := <-exit; code != exitOwn || !strings.Contains(w.talk.String(), "may still run") {
		t.Errorf("exit %d, said %q", code, w.talk.String())
	}
}

func TestAnInterruptBeforeTheAnswerCancelsTheTaskOnceItHasAnID(t *testing.T) {
	var task interruptible
	r := task.routes(t, 1)
	answer, waiting := make(chan struct{}), make(chan struct{})
	r["POST /api/v1/tasks"] = func(w http.ResponseWriter, req *http.Request) {
		close(waiting)
		<-answer
		jsonAnswer(t, &soltiv1.SubmitTaskResponse{TaskId: idA})(w, req)
	}
	w := daemon(t, r)
	exit := make(chan int, 1)
	go func() { exit <- w.run(t, "run", "--", "true") }()
	<-waiting
	w.signals <- syscall.SIGINT
	eventually(t, "the interrupt is told", func() bool { return strings.Contains(w.talk.String(), "once more gives up") })
	close(answer)
	if code := <-exit; code != exitCanceled {
		t.Errorf("exit %d, said %q", code, w.talk.String())
	}
}

// shut is an output that nobody reads.
type shut struct{ err error }

func (s shut) Write([]byte) (int, error) { return 0, s.err }

func TestOutputThatNobodyReadsCancelsTheTask(t *testing.T) {
	for _, tc := range []struct {
		err  error
		code int
	}{{syscall.EPIPE, exitCanceled}, {errors.New("disk full"), exitOwn}} {
		var task interruptible
		w := daemon(t, task.routes(t, 1))
		w.stdout = shut{tc.err}
		// The write happens a moment after the line came; the next line meets its error.
		code := w.run(t, "run", "--", "true")
		if code != tc.code || len(task.cancels()) != 1 {
			t.Errorf("%v: exit %d after %d cancels, said %q", tc.err, code, len(task.cancels()), w.talk.String())
		}
	}
}

func TestLogsPutStreamsWhereTheyBelong(t *testing.T) {
	events := []string{
		runStarted, line("stdout", "one"), line("stderr", "bad"), `{"type":"lagged","skipped":42}`,
		`{"type":"chunk","attempt":1,"stream":"stdout","seq":1,"ts":5,"line":"cut","truncated":true}`,
		`{"type":"runFinished","attempt":1,"exitCode":0,"finishedAt":5}`, `{"type":"runStarted","attempt":2,"startedAt":9}`,
	}
	route := func(query string) routes {
		return routes{"GET /api/v1/tasks/" + idA + "/logs": func(w http.ResponseWriter, r *http.Request) {
			if r.URL.RawQuery != query {
				t.Errorf("got %s, want %s", r.URL.RawQuery, query)
			}
			frames(events...)(w, r)
		}}
	}
	w := daemon(t, route("follow=false&tail=all"))
	if code := w.run(t, "logs", idA); code != 0 || w.out.String() != "one\ncut\n" {
		t.Errorf("exit %d, got %q", code, w.out.String())
	}
	want := "bad\nslotd: missing here: 42 lines, dropped or damaged before they could be read\n" +
		"slotd: a line was longer than 65536 bytes and is cut there; later cuts are not told\nslotd: attempt 2\n"
	if w.talk.String() != want {
		t.Errorf("said %q", w.talk.String())
	}
	w = daemon(t, route("attempt=3&follow=true&since=5m&stream=stderr&tail=9"))
	if code := w.run(t, "logs", idA, "-t", "-f", "-n", "9", "--since", "5m", "--attempt", "3", "--stderr"); code != 0 || w.out.String() != "2026-03-04T05:06:07.123Z one\n1970-01-01T00:00:00.005Z cut\n" {
		t.Errorf("exit %d, got %q", code, w.out.String())
	}
	w = daemon(t, route("follow=false&tail=all"))
	if code := w.run(t, "logs", idA, "-o", "jsonl"); code != 0 || w.out.String() != strings.Join(events, "\n")+"\n" {
		t.Errorf("exit %d, got %q", code, w.out.String())
	}
}

func TestAnInterruptDetachesFromAFollow(t *testing.T) {
	var task interruptible
	w := daemon(t, task.routes(t, 1))
	exit := make(chan int, 1)
	go func() { exit <- w.run(t, "logs", "-f", idA) }()
	eventually(t, "the log is followed", func() bool { return w.out.String() == "here\n" })
	w.signals <- syscall.SIGINT
	if code := <-exit; code != 130 || w.talk.String() != "" || len(task.cancels()) != 0 {
		t.Errorf("exit %d after %d cancels, said %q", code, len(task.cancels()), w.talk.String())
	}
}

// states answers for several tasks: each with its status, or with nothing until the client gives up.
func states(t *testing.T, of map[string]*soltiv1.TaskStatusInfo) routes {
	t.Helper()
	r := routes{}
	for id, status := range of {
		r["GET /api/v1/tasks/"+id] = func(w http.ResponseWriter, r *http.Request) {
			if status == nil {
				<-r.Context().Done()
				return
			}
			jsonAnswer(t, &soltiv1.GetTaskStatusResponse{Task: taskIn(id, status)})(w, r)
		}
	}
	return r
}

func TestWaitExitsAsTheTasks(t *testing.T) {
	all := map[string]*soltiv1.TaskStatusInfo{idA: succeeded(), idB: failedWith(3), idC: nil}
	running := &soltiv1.TaskStatusInfo{Phase: soltiv1.TaskStatus_TASK_STATUS_RUNNING}
	for _, tc := range []struct {
		of   map[string]*soltiv1.TaskStatusInfo
		args []string
		code int
	}{
		{all, []string{idA}, 0},
		{all, []string{idA, idB}, 3},
		{map[string]*soltiv1.TaskStatusInfo{idA: failedWith(9), idB: failedWith(3)}, []string{idA, idB}, 9},
		{map[string]*soltiv1.TaskStatusInfo{idA: failedWith(9), idB: failedWith(3)}, []string{idB, idA}, 3},
		{all, []string{"--any", idC, idB}, 3},
		{all, []string{"--any", idC, idA}, 0},
		{all, []string{"--timeout", "30ms", idB, idC}, exitWaitTimeout},
		{map[string]*soltiv1.TaskStatusInfo{idA: running}, []string{"--for", "running", idA}, 0},
		{map[string]*soltiv1.TaskStatusInfo{idA: failedWith(3)}, []string{"--for", "running", idA}, 0},
		{map[string]*soltiv1.TaskStatusInfo{idA: canceled()}, []string{idA}, 143},
	} {
		w := daemon(t, states(t, tc.of))
		if code := w.run(t, append([]string{"wait"}, tc.args...)...); code != tc.code || w.out.String() != "" {
			t.Errorf("%v: exit %d, want %d; got %q, said %q", tc.args, code, tc.code, w.out.String(), w.talk.String())
		}
	}
	w := daemon(t, routes{"GET /api/v1/tasks/" + idA: refuse(404, "TaskNotFound", "no task")})
	if code := w.run(t, "wait", idA); code != exitNotFound {
		t.Errorf("exit %d", code)
	}
	w = daemon(t, states(t, all))
	if code := w.run(t, "wait", idA, idB, "-o", "name"); code != 3 || w.out.String() != idA+"\n"+idB+"\n" {
		t.Errorf("exit %d, got %q", code, w.out.String())
	}
	// An id that names no task keeps no other from being waited for; the order of the arguments decides.
	r := states(t, all)
	r["GET /api/v1/tasks"] = jsonAnswer(t, &soltiv1.ListTasksResponse{})
	for _, tc := range []struct {
		args []string
		code int
	}{{[]string{idB, "tsk_9", "nonsense"}, 3}, {[]string{idA, "tsk_9", idB, "nonsense"}, exitNotFound}} {
		w = daemon(t, r)
		said := 0
		if code := w.run(t, append([]string{"wait", "-o", "name"}, tc.args...)...); code != tc.code || !strings.Contains(w.out.String(), idB) {
			t.Errorf("%v: exit %d, want %d; got %q", tc.args, code, tc.code, w.out.String())
		}
		for _, id := range []string{"tsk_9", "nonsense"} {
			said += strings.Count(w.talk.String(), fmt.Sprintf("begins with %q", id))
		}
		if said != 2 {
			t.Errorf("%v: said %q", tc.args, w.talk.String())
		}
	}
	w = newWorld(t, "SLOTD_ADDR=unix:///nowhere")
	if code := w.run(t, "wait", idA, idB); code != exitNoServer || strings.Count(w.talk.String(), "no slotd answers") != 1 {
		t.Errorf("exit %d, said %q", code, w.talk.String())
	}
}

func TestCancelAndRmPrintWhatTheyEnded(t *testing.T) {
	cancel := func(query string) http.HandlerFunc {
		return func(w http.ResponseWriter, r *http.Request) {
			if r.URL.RawQuery != query {
				t.Errorf("got query %q, want %q", r.URL.RawQuery, query)
			}
			id := strings.Split(r.URL.Path, "/")[4]
			jsonAnswer(t, &slotdv1.CancelTaskResponse{Task: taskIn(id, canceled())})(w, r)
		}
	}
	w := daemon(t, routes{"POST /api/v1/tasks/" + idA + "/cancel": cancel("grace=0ms"), "POST /api/v1/tasks/" + idB + "/cancel": cancel("grace=0ms")})
	if code := w.run(t, "cancel", "--grace", "0s", idB, idA); code != 0 || w.out.String() != idB+"\n"+idA+"\n" || w.talk.String() != "" {
		t.Errorf("exit %d, got %q, said %q", code, w.out.String(), w.talk.String())
	}
	w = daemon(t, routes{"POST /api/v1/tasks/" + idA + "/cancel": cancel(""), "POST /api/v1/tasks/" + idB + "/cancel": refuse(404, "TaskNotFound", "no task")})
	if code := w.run(t, "cancel", idB, idA); code != exitNotFound || w.out.String() != idA+"\n" || w.talk.String() != "slotd: "+idB+": no task\n" {
		t.Errorf("exit %d, got %q, said %q", code, w.out.String(), w.talk.String())
	}
	w = daemon(t, routes{"DELETE /api/v1/tasks/" + idA: func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusNoContent) }})
	if code := w.run(t, "rm", idA); code != 0 || w.out.String() != idA+"\n" {
		t.Errorf("exit %d, got %q, said %q", code, w.out.String(), w.talk.String())
	}
}
