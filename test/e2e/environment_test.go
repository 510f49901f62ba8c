package e2e

import (
	"net/http"
	"os"
	"slices"
	"strconv"
	"strings"
	"testing"
)

func TestEnvironmentIsExactlyTheDocumentedOne(t *testing.T) {
	t.Parallel()
	d := launch{
		args: []string{"--runner-env", "FROM_RUNNER=runner", "--runner-env", "BOTH=runner"},
		env:  []string{"LEAK=daemon", "TZ=UTC", "LANG=C.UTF-8", "HOME=/home/of/daemon", "USER=somebody", "TMPDIR=/tmp", "AWS_SECRET=x"},
	}.serve(t)
	spec := subprocess("lane", object{
		"command": object{"command": "env"},
		"env": []object{
			{"key": "OWN", "value": "first"},
			{"key": "OWN", "value": "last"},
			{"key": "BOTH", "value": "spec"},
			{"key": "HOME", "value": "/spec"},
			{"key": "SLOTD_ATTEMPT", "value": "99"},
			{"key": "EMPTY", "value": ""},
			{"key": "odd key", "value": "a=b\nc"},
		},
	})
	id := d.submit(spec)
	if got := d.end(id).ended(); got != "SUCCEEDED Completed" {
		t.Fatalf("ended %s", got)
	}
	var got []string
	for _, e := range d.kept(id, "tail=all&stream=stdout") {
		if e.name == "chunk" {
			got = append(got, e.data.Line)
		}
	}
	want := []string{
		"PATH=" + os.Getenv("PATH"), "HOME=/spec", "USER=somebody", "LANG=C.UTF-8", "TZ=UTC", "TMPDIR=/tmp",
		"OWN=last", "BOTH=runner", "FROM_RUNNER=runner", "EMPTY=", "odd key=a=b", "c",
		"SLOTD_TASK_ID=" + id, "SLOTD_ATTEMPT=1", "SLOTD_SLOT=lane", "SLOTD_NODE=" + d.node,
	}
	slices.Sort(got)
	slices.Sort(want)
	if !slices.Equal(got, want) {
		t.Errorf("the environment is\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
}

// Nothing but the three standard streams is handed down, and stdin is empty.
func TestAttemptsInheritNothingElse(t *testing.T) {
	t.Parallel()
	d := serve(t)
	id := d.submit(shell("lane", `readlink /proc/self/fd/0; cat; ls /proc/$$/fd | tr '\n' ' '; echo; grep -E '^Sig(Ign|Blk)' /proc/self/status; ps -o tty= -p $$`))
	d.end(id)
	got := outline(d.kept(id, "tail=all"))
	if len(got) != 7 || got[1] != "/dev/null" {
		t.Fatalf("log %q", got)
	}
	if fds := strings.Fields(got[2]); len(fds) > 4 || !slices.Equal(fds[:3], []string{"0", "1", "2"}) { // 255 is bash's own
		t.Errorf("descriptors %v", fds)
	}
	for _, mask := range got[3:5] {
		const libc = 1<<31 | 1<<32 // 32 and 33 are the C library's own; a program that glibc has spawned ignores them
		held, err := strconv.ParseUint(strings.Fields(mask)[1], 16, 64)
		if err != nil || held&^libc != 0 {
			t.Errorf("%s, %v: signals are held back from tasks", mask, err)
		}
	}
	if strings.TrimSpace(got[5]) != "?" {
		t.Errorf("terminal %q", got[5])
	}
}

func TestSecretsAreNeverShown(t *testing.T) {
	t.Parallel()
	const secret = "hunter2-very-secret"
	d := serve(t, "--log-level", "trace", "--runner-env", "RUNNER_TOKEN=hunter2-very-secret-too")
	spec := func(slot string, argv ...string) object {
		return subprocess(slot, object{
			"command": object{"command": argv[0], "args": argv[1:]},
			"env":     []object{{"key": "TOKEN", "value": secret, "secret": true}, {"key": "OPEN", "value": "visible"}},
		})
	}
	id := d.submit(spec("lane", "bash", "-c", `test ${#TOKEN} = 19`))
	if got := d.end(id).ended(); got != "SUCCEEDED Completed" {
		t.Fatalf("the task did not get its secret: %s", got)
	}
	failed := d.submit(spec("fails", "no-such-command-anywhere"))
	d.end(failed)
	invalid := subprocess("lane", object{"command": object{"command": "true"}, "env": []object{{"key": "A=B", "value": secret, "secret": true}, {"key": "", "value": secret, "secret": true}}})
	answers := map[string]answer{
		"get":           d.get("/api/v1/tasks/" + id),
		"wait":          d.get("/api/v1/tasks/" + id + "?wait=1s"),
		"cancel":        d.do(http.MethodPost, "/api/v1/tasks/"+id+"/cancel", ""),
		"list":          d.get("/api/v1/tasks"),
		"runs":          d.get("/api/v1/tasks/" + failed + "/runs"),
		"failed":        d.get("/api/v1/tasks/" + failed),
		"slots":         d.get("/api/v1/slots"),
		"introspection": d.get("/api/v1/introspection"),
		"invalid":       d.post(invalid),
		"reused": func() answer {
			d.post(spec("key", "true"), "Idempotency-Key", "k")
			return d.post(spec("key", "false"), "Idempotency-Key", "k")
		}(),
		"malformed": d.do(http.MethodPost, "/api/v1/tasks", `{"spec":{"kind":{"subprocess":{"env":[{"key":"A","value":"`+secret+`","secret":"`+secret+`"}]}}}}`, "Content-Type", "application/json"),
		"query":     d.get("/api/v1/tasks?slot=a&" + "token=1"),
	}
	for name, a := range answers {
		if strings.Contains(string(a.body), secret) {
			t.Errorf("%s shows the secret: %v", name, a)
		}
	}
	if !strings.Contains(string(answers["get"].body), "visible") || !strings.Contains(string(answers["get"].body), "***") {
		t.Errorf("get by id shows %v", answers["get"])
	}
	if strings.Contains(string(answers["list"].body), "visible") || !strings.Contains(string(answers["list"].body), "OPEN") {
		t.Errorf("the list shows %v, want keys without values", answers["list"])
	}
	if d.stop(15) != 0 {
		t.Error("the daemon did not stop")
	}
	if strings.Contains(d.log.String(), secret) {
		t.Error("the daemon's log has the secret")
	}
	if !strings.Contains(d.log.String(), "http request") {
		t.Error("the daemon's log has no access log to look at")
	}
}
