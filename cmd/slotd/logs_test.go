package main

import (
	"fmt"
	"net/http"
	"slices"
	"strings"
	"syscall"
	"testing"

	"github.com/google/go-cmp/cmp"

	soltiv1 "slotd/messages/solti/v1"
)

// talking is a daemon with three tasks, the first two of one slot, whose logs are as given.
func talking(t *testing.T, logs map[string]http.HandlerFunc) routes {
	t.Helper()
	slots := map[string]string{idA: "build", idB: "build", idC: "web"}
	all := &soltiv1.ListTasksResponse{}
	r := routes{}
	for _, id := range []string{idA, idB, idC} {
		task := &soltiv1.TaskData{Metadata: &soltiv1.ObjectMeta{Id: id}, Spec: &soltiv1.CreateSpec{Slot: slots[id]}}
		r["GET /api/v1/tasks/"+id] = jsonAnswer(t, &soltiv1.GetTaskStatusResponse{Task: task})
		r["GET /api/v1/tasks/"+id+"/logs"] = logs[id]
		all.Tasks, all.Total = append(all.Tasks, task), all.Total+1
	}
	r["GET /api/v1/tasks"] = func(w http.ResponseWriter, req *http.Request) {
		if got := req.URL.Query().Get("label"); got != "app=web" {
			t.Errorf("got selector %q", got)
		}
		jsonAnswer(t, all)(w, req)
	}
	return r
}

func TestLogsOfSeveralTasksTellWhoseTheyAre(t *testing.T) {
	logs := map[string]http.HandlerFunc{
		idA: frames(line("stdout", "one"), line("stderr", "two")), idB: frames(line("stdout", "three")), idC: frames(line("stdout", "four")),
	}
	for _, tc := range []struct{ args, want []string }{
		{[]string{idA}, []string{"one", "two"}},
		{[]string{idA, idC, idA}, []string{"build | one", "build | two", "web   | four"}},
		{[]string{idC, idA}, []string{"web   | four", "build | one", "build | two"}},
		{[]string{idB, idA}, []string{"build/00007B | three", "build/00007A | one", "build/00007A | two"}},
		{[]string{"-l", "app=web"}, []string{"build/00007A | one", "build/00007A | two", "build/00007B | three", "web          | four"}},
	} {
		for _, follow := range []bool{false, true} {
			w := daemon(t, talking(t, logs))
			w.stderr = &w.out
			args := append([]string{"logs"}, tc.args...)
			if follow {
				args = append(args, "-f")
			}
			code := w.run(t, args...)
			got, want := strings.Split(strings.TrimSuffix(w.out.String(), "\n"), "\n"), slices.Clone(tc.want)
			if follow { // side by side
				slices.Sort(got)
				slices.Sort(want)
			}
			if diff := cmp.Diff(want, got); code != 0 || diff != "" {
				t.Errorf("%v: exit %d: %s", args, code, diff)
			}
		}
	}
	w := daemon(t, talking(t, logs))
	w.must(t, "logs", idB, idC, "-o", "jsonl")
	want := fmt.Sprintf(`{"taskId":%q,`, idB) + line("stdout", "three")[1:] + "\n" + fmt.Sprintf(`{"taskId":%q,`, idC) + line("stdout", "four")[1:] + "\n"
	if w.out.String() != want {
		t.Errorf("got %s", w.out.String())
	}
}

func TestIdsThatEndAlikeAreShownFurther(t *testing.T) {
	w := newWorld(t)
	got := w.tellApart([]logSource{{id: "tsk_1xabcdef", slot: "s"}, {id: "tsk_2yabcdef", slot: "s"}})
	if got[0].prefix != "s/xabcdef | " || got[1].prefix != "s/yabcdef | " {
		t.Errorf("got %q, %q", got[0].prefix, got[1].prefix)
	}
}

func TestAFailingLogEndsNoOther(t *testing.T) {
	logs := map[string]http.HandlerFunc{
		idA: refuse(500, "Internal", "broken"), idB: refuse(404, "TaskNotFound", "gone"), idC: frames(line("stdout", "four")),
	}
	for _, tc := range []struct {
		args []string
		code int
		says []string
	}{
		{[]string{idA, idB, idC}, 1, []string{idA + ": broken", idB + ": gone"}},
		{[]string{idB, idA, idC}, 3, []string{idB + ": gone", idA + ": broken"}},
		{[]string{"-f", idC, idB, idA}, 3, []string{idB + ": gone", idA + ": broken"}},
		{[]string{"nonsense", idA, idC}, 3, []string{"nonsense: no task has an id", idA + ": broken"}},
	} {
		w := daemon(t, talking(t, logs))
		code := w.run(t, append([]string{"logs"}, tc.args...)...)
		if code != tc.code || !strings.HasSuffix(w.out.String(), " | four\n") {
			t.Errorf("%v: exit %d, want %d, got %q", tc.args, code, tc.code, w.out.String())
		}
		for _, want := range tc.says {
			if strings.Count(w.talk.String(), want) != 1 {
				t.Errorf("%v: said %q, want %q once", tc.args, w.talk.String(), want)
			}
		}
	}
	w := newWorld(t, "SLOTD_ADDR=unix:///nowhere")
	if code := w.run(t, "logs", idA, idB, idC); code != exitNoServer || strings.Count(w.talk.String(), "no slotd answers") != 1 {
		t.Errorf("exit %d, said %q", code, w.talk.String())
	}
}

func TestAnInterruptEndsAllLogs(t *testing.T) {
	open := func(w http.ResponseWriter, r *http.Request) {
		frames(line("stdout", "here"))(w, r)
		if err := http.NewResponseController(w).Flush(); err != nil {
			t.Error(err)
		}
		<-r.Context().Done()
	}
	w := daemon(t, talking(t, map[string]http.HandlerFunc{idA: open, idB: open, idC: open}))
	exit := make(chan int, 1)
	go func() { exit <- w.run(t, "logs", "-f", idA, idB, idC) }()
	eventually(t, "all are followed", func() bool { return strings.Count(w.out.String(), "here") == 3 })
	w.signals <- syscall.SIGINT
	if code := <-exit; code != 130 || w.talk.String() != "" {
		t.Errorf("exit %d, said %q", code, w.talk.String())
	}
}

func TestPrefixesAreColoredOnATerminal(t *testing.T) {
	logs := map[string]http.HandlerFunc{idA: frames(line("stdout", "one")), idC: frames(line("stdout", "four"))}
	for _, tc := range []struct {
		tty  bool
		args []string
		want string
	}{
		{true, nil, "\x1b[36mbuild | \x1b[0mone\n\x1b[33mweb   | \x1b[0mfour\n"},
		{false, nil, "build | one\nweb   | four\n"},
		{true, []string{"--color", "never"}, "build | one\nweb   | four\n"},
		{false, []string{"--color", "always"}, "\x1b[36mbuild | \x1b[0mone\n\x1b[33mweb   | \x1b[0mfour\n"},
	} {
		w := daemon(t, talking(t, logs))
		w.tty = func(any) bool { return tc.tty }
		if got := w.must(t, append([]string{"logs", idA, idC}, tc.args...)...); got != tc.want {
			t.Errorf("%v %v: got %q", tc.tty, tc.args, got)
		}
	}
}

func TestWhichLogsMustBeSaidClearly(t *testing.T) {
	many := &soltiv1.ListTasksResponse{}
	for i := range followLimit + 1 {
		many.Tasks = append(many.Tasks, &soltiv1.TaskData{Metadata: &soltiv1.ObjectMeta{Id: fmt.Sprintf("tsk_%03d", i)}})
		many.Total++
	}
	for _, tc := range []struct {
		tasks *soltiv1.ListTasksResponse
		args  []string
		code  int
		says  string
	}{
		{nil, []string{"logs"}, 2, "takes the ids of one or more tasks"},
		{nil, []string{"logs", "-l", "a=b", idA}, 2, "ids or a selector, not both"},
		{nil, []string{"logs", "-l", " "}, 2, "must not be empty"},
		{nil, []string{"logs", "-l", "a in"}, 2, "--selector"},
		{&soltiv1.ListTasksResponse{}, []string{"logs", "-l", "a=b"}, 0, "no tasks"},
		{many, []string{"logs", "-f", "-l", "a=b"}, 2, "65 tasks are too many, at most 64 are followed"},
	} {
		r := routes{}
		if tc.tasks != nil {
			r["GET /api/v1/tasks"] = jsonAnswer(t, tc.tasks)
		}
		w := daemon(t, r)
		if code := w.run(t, tc.args...); code != tc.code || !strings.Contains(w.talk.String(), tc.says) {
			t.Errorf("%v: exit %d, want %d; said %q", tc.args, code, tc.code, w.talk.String())
		}
	}
}
