package main

import (
	"flag"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"google.golang.org/protobuf/proto"

	slotdv1 "slotd/messages/slotd/v1"
	soltiv1 "slotd/messages/solti/v1"
)

var update = flag.Bool("update", false, "rewrite the golden files; read the diff")

// golden compares text with a file of testdata.
func golden(t *testing.T, name, got string) {
	t.Helper()
	file := filepath.Join("testdata", name+".golden")
	if *update {
		if err := os.WriteFile(file, []byte(got), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if got != string(want) {
		t.Errorf("%s: got\n%s\nwant\n%s", file, got, want)
	}
}

const (
	idA = "tsk_01KAV00000000000000000007A"
	idB = "tsk_01KAV00000000000000000007B"
	idC = "tsk_01KAV00000000000000000007C"
)

func ago(d time.Duration) int64 { return clock.Add(-d).UnixMilli() }

func command(words ...string) *soltiv1.TaskKind {
	return &soltiv1.TaskKind{Kind: &soltiv1.TaskKind_Subprocess{Subprocess: &soltiv1.SubprocessTask{
		Mode: &soltiv1.SubprocessTask_Command{Command: &soltiv1.CommandMode{Command: words[0], Args: words[1:]}},
	}}}
}

func exampleTasks() *soltiv1.ListTasksResponse {
	return &soltiv1.ListTasksResponse{Total: 7, Tasks: []*soltiv1.TaskData{
		{
			Metadata: &soltiv1.ObjectMeta{Id: idA, CreatedAt: ago(50 * time.Hour), UpdatedAt: ago(time.Hour), ResourceVersion: 3},
			Spec:     &soltiv1.CreateSpec{Slot: "build", Kind: command("make", "-j", "all\nof it"), TimeoutMs: 1000, Labels: map[string]string{"tier": "b", "app": "web"}},
			Status: &soltiv1.TaskStatusInfo{
				Phase: soltiv1.TaskStatus_TASK_STATUS_FAILED, Attempt: 2, Reason: new("NonZeroExit"), ExitCode: proto.Int32(2),
				Error: new("exited with code 2"), NextAttemptAt: new(ago(-90 * time.Second)), Node: new("n1"),
			},
		},
		{
			Metadata: &soltiv1.ObjectMeta{Id: idB, CreatedAt: ago(5 * time.Second)},
			Spec:     &soltiv1.CreateSpec{Slot: "build", Kind: command("true")},
			Status:   &soltiv1.TaskStatusInfo{Phase: soltiv1.TaskStatus_TASK_STATUS_PENDING, QueuePosition: proto.Uint32(1)},
		},
		{
			Metadata: &soltiv1.ObjectMeta{Id: idC, CreatedAt: ago(time.Minute)},
			Spec: &soltiv1.CreateSpec{Slot: "x", Kind: &soltiv1.TaskKind{Kind: &soltiv1.TaskKind_Container{
				Container: &soltiv1.ContainerTask{Image: "alpine", Args: []string{strings.Repeat("y", 80)}},
			}}},
			Status: &soltiv1.TaskStatusInfo{Phase: soltiv1.TaskStatus_TASK_STATUS_FAILED, Attempt: 1, Terminal: true, Signal: proto.Int32(9), Reason: new("Signaled")},
		},
	}}
}

func TestListFormats(t *testing.T) {
	for _, format := range formatNames() {
		w := daemon(t, routes{"GET /api/v1/tasks": jsonAnswer(t, exampleTasks())})
		if code := w.run(t, "ls", "-o", format); code != 0 {
			t.Fatalf("exit %d: %s", code, w.talk.String())
		}
		golden(t, "ls-"+format, w.out.String())
		if said := w.talk.String() != ""; said != (format == "table" || format == "wide") {
			t.Errorf("%s: said %q", format, w.talk.String())
		}
	}
}

func TestListAsksForTheNewest(t *testing.T) {
	w := daemon(t, routes{"GET /api/v1/tasks": func(rw http.ResponseWriter, r *http.Request) {
		if got := r.URL.RawQuery; got != "label=app%3Dweb&limit=7&newest=true&slot=s&status=running" {
			t.Errorf("got %s", got)
		}
		jsonAnswer(t, &soltiv1.ListTasksResponse{})(rw, r)
	}})
	if code := w.run(t, "ls", "--slot", "s", "--status", "RUNNING", "-l", "app=web", "--limit", "7"); code != 0 {
		t.Error(code)
	}
	if w.out.String() != "" || w.talk.String() != "slotd: no tasks\n" {
		t.Errorf("got %q, said %q", w.out.String(), w.talk.String())
	}
	if w := daemon(t, routes{"GET /api/v1/tasks": jsonAnswer(t, &soltiv1.ListTasksResponse{})}); w.run(t, "ls", "-q") != 0 || w.talk.String() != "" {
		t.Errorf("quiet said %q", w.talk.String())
	}
}

func TestListAll(t *testing.T) {
	page := exampleTasks()
	page.Total = 3
	for _, format := range []string{"name", "json", "table"} {
		w := daemon(t, routes{"GET /api/v1/tasks": func(rw http.ResponseWriter, r *http.Request) {
			if got := r.URL.RawQuery; got != "limit=1000" {
				t.Errorf("got %s", got)
			}
			jsonAnswer(t, page)(rw, r)
		}})
		if code := w.run(t, "ls", "-a", "-o", format); code != 0 {
			t.Error(code, w.talk.String())
		}
		if got := w.out.String(); strings.Count(got, idB) != 1 || strings.Count(got, idC) != 1 {
			t.Errorf("got %s", got)
		}
	}
}

func TestGetFormats(t *testing.T) {
	task := exampleTasks().GetTasks()[0]
	for _, format := range []string{"table", "json", "jsonl", "yaml", "name"} {
		w := daemon(t, routes{"GET /api/v1/tasks/" + idA: jsonAnswer(t, &soltiv1.GetTaskStatusResponse{Task: task})})
		if code := w.run(t, "get", idA, "-o", format); code != 0 {
			t.Fatalf("exit %d: %s", code, w.talk.String())
		}
		golden(t, "get-"+format, w.out.String())
	}
}

func TestIdsMayBeShort(t *testing.T) {
	r := routes{
		"GET /api/v1/tasks": func(w http.ResponseWriter, r *http.Request) {
			page := &soltiv1.ListTasksResponse{}
			for _, id := range []string{idA, idB} {
				if strings.HasPrefix(id, r.URL.Query().Get("id")) {
					page.Tasks = append(page.Tasks, &soltiv1.TaskData{Metadata: &soltiv1.ObjectMeta{Id: id}})
					page.Total++
				}
			}
			jsonAnswer(t, page)(w, r)
		},
		"GET /api/v1/tasks/" + idB + "/runs": jsonAnswer(t, &soltiv1.ListTaskRunsResponse{Runs: []*soltiv1.TaskRunInfo{{Attempt: 1}}}),
	}
	w := daemon(t, r)
	if code := w.run(t, "runs", idB[:30], "-o", "name"); code != 0 || w.out.String() != "1\n" {
		t.Errorf("exit %d, got %q, said %q", code, w.out.String(), w.talk.String())
	}
	w = daemon(t, r)
	if code := w.run(t, "runs", "tsk_01KAV"); code != exitError || !strings.Contains(w.talk.String(), idA+", "+idB) {
		t.Errorf("exit %d, said %q", code, w.talk.String())
	}
	w = daemon(t, r)
	if code := w.run(t, "runs", "tsk_02"); code != exitNotFound {
		t.Errorf("exit %d, said %q", code, w.talk.String())
	}
}

func TestRunsFormats(t *testing.T) {
	runs := &soltiv1.ListTaskRunsResponse{Runs: []*soltiv1.TaskRunInfo{
		{
			Attempt: 1, Status: soltiv1.TaskStatus_TASK_STATUS_FAILED, StartedAt: ago(time.Hour), FinishedAt: new(ago(time.Hour - 1234*time.Millisecond)),
			ExitCode: proto.Int32(1), Reason: new("NonZeroExit"), Error: new("exited with code 1"), Node: new("n1"),
		},
		{Attempt: 2, Status: soltiv1.TaskStatus_TASK_STATUS_RUNNING, StartedAt: ago(70 * time.Second)},
	}}
	for _, format := range []string{"table", "wide", "json"} {
		w := daemon(t, routes{"GET /api/v1/tasks/" + idA + "/runs": jsonAnswer(t, runs)})
		if code := w.run(t, "runs", idA, "-o", format); code != 0 {
			t.Fatalf("exit %d: %s", code, w.talk.String())
		}
		golden(t, "runs-"+format, w.out.String())
	}
}

func TestSlotsFormats(t *testing.T) {
	busy := &slotdv1.SlotView{
		Slot: "build", Phase: "occupied", Holder: new(idA), HolderKind: new("subprocess"), Queue: []string{idB, idC},
		Counters: &slotdv1.DecisionCounters{Admitted: 1, Queued: 2, Dropped: 3},
	}
	for _, format := range []string{"table", "wide", "json", "name"} {
		w := daemon(t, routes{"GET /api/v1/slots": jsonAnswer(t, &slotdv1.ListSlotsResponse{Slots: []*slotdv1.SlotView{busy}})})
		if code := w.run(t, "slots", "-o", format); code != 0 {
			t.Fatalf("exit %d: %s", code, w.talk.String())
		}
		golden(t, "slots-"+format, w.out.String())
	}
	w := daemon(t, routes{"GET /api/v1/slots/build": jsonAnswer(t, &slotdv1.GetSlotResponse{Slot: busy})})
	if code := w.run(t, "slots", "build", "-o", "json"); code != 0 {
		t.Fatalf("exit %d: %s", code, w.talk.String())
	}
	golden(t, "slot-json", w.out.String())
}

func TestColorNeedsATerminalOrConsent(t *testing.T) {
	for _, tc := range []struct {
		tty  bool
		env  string
		flag string
		want bool
	}{
		{false, "", "auto", false},
		{true, "", "auto", true},
		{true, "NO_COLOR=1", "auto", false},
		{true, "TERM=dumb", "auto", false},
		{true, "NO_COLOR=1", "always", true},
		{true, "", "never", false},
	} {
		w := daemon(t, routes{"GET /api/v1/tasks": jsonAnswer(t, exampleTasks())})
		w.environ = append(w.environ, tc.env)
		w.tty = func(any) bool { return tc.tty }
		if code := w.run(t, "ls", "--color", tc.flag); code != 0 {
			t.Error(code)
		}
		if got := strings.Contains(w.out.String(), "\x1b["); got != tc.want {
			t.Errorf("%+v: colored %v", tc, got)
		}
		if !strings.Contains(w.out.String(), "Failed") {
			t.Errorf("%+v: color alone tells the phase", tc)
		}
	}
}

func TestAnUnreachableDaemonIsExplained(t *testing.T) {
	socket := filepath.Join(t.TempDir(), "none.sock")
	for _, tc := range []struct {
		env  []string
		args []string
		want string
	}{
		{nil, []string{"--addr", "unix://" + socket, "ls"}, "unix://" + socket + " (--addr)"},
		{[]string{"SLOTD_ADDR=unix://" + socket}, []string{"ls"}, "unix://" + socket + " (SLOTD_ADDR)"},
	} {
		w := newWorld(t, tc.env...)
		code := w.run(t, tc.args...)
		if said := w.talk.String(); code != exitNoServer || !strings.Contains(said, "no slotd answers at "+tc.want) || !strings.Contains(said, "slotd serve") {
			t.Errorf("exit %d, said %s", code, said)
		}
	}
	w := newWorld(t)
	if got, err := w.target(); err != nil || got.config().Addr != "http://127.0.0.1:8085" || got.config().Source != "the default address" {
		t.Errorf("got %v, %v", got, err)
	}
}

func TestVersionDoesWithoutADaemon(t *testing.T) {
	w := newWorld(t, "SLOTD_ADDR=unix:///nowhere")
	if code := w.run(t, "version"); code != 0 || !strings.Contains(w.out.String(), "client") || strings.Contains(w.out.String(), "daemon") {
		t.Errorf("exit %d, got %s", code, w.out.String())
	}
	w = daemon(t, routes{"GET /version": jsonAnswer(t, &slotdv1.VersionResponse{Version: "v9"})})
	if code := w.run(t, "version", "-o", "jsonl"); code != 0 || !strings.Contains(w.out.String(), `{"version":"v9"`) {
		t.Errorf("exit %d, got %s", code, w.out.String())
	}
}

func TestCompletionOffersWhatLives(t *testing.T) {
	for _, tc := range []struct {
		args []string
		want string
	}{
		{[]string{"__complete", "get", ""}, idA + "\tbuild Failed\n" + idB + "\tbuild Pending\n" + idC + "\tx Failed\n:4\n"},
		{[]string{"__complete", "cancel", idB, ""}, idA + "\tbuild Failed\n" + idC + "\tx Failed\n:4\n"},
		{[]string{"__complete", "get", idA, ""}, ":4\n"},
		{[]string{"__complete", "run", "--slot", "b"}, "build\toccupied\n:4\n"},
		{[]string{"__complete", "ls", "--status", ""}, "pending\nrunning\nsucceeded\nfailed\ntimeout\ncanceled\nexhausted\n:4\n"},
	} {
		w := daemon(t, routes{
			"GET /api/v1/tasks": jsonAnswer(t, exampleTasks()),
			"GET /api/v1/slots": jsonAnswer(t, &slotdv1.ListSlotsResponse{Slots: []*slotdv1.SlotView{{Slot: "build", Phase: "occupied"}, {Slot: "x"}}}),
		})
		if code := w.run(t, tc.args...); code != 0 || w.out.String() != tc.want {
			t.Errorf("%v: exit %d, got %q, want %q", tc.args, code, w.out.String(), tc.want)
		}
	}
	for _, shell := range []string{"bash", "zsh", "fish", "powershell"} {
		w := newWorld(t)
		if code := w.run(t, "completion", shell); code != 0 || !strings.Contains(w.out.String(), "slotd") {
			t.Errorf("%s: exit %d", shell, code)
		}
	}
}
