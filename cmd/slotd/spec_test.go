package main

import (
	"encoding/base64"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/testing/protocmp"

	soltiv1 "slotd/messages/solti/v1"
)

// dryRun returns the spec that submit --dry-run prints.
func dryRun(t *testing.T, w *world, args ...string) *soltiv1.CreateSpec {
	t.Helper()
	if code := w.run(t, append([]string{"submit", "--dry-run", "-o", "json"}, args...)...); code != 0 {
		t.Fatalf("%v: exit %d: %s", args, code, w.talk.String())
	}
	var spec soltiv1.CreateSpec
	if err := protojson.Unmarshal([]byte(w.out.String()), &spec); err != nil {
		t.Fatal(err)
	}
	return &spec
}

func specOf(t *testing.T, text string) *soltiv1.CreateSpec {
	t.Helper()
	var spec soltiv1.CreateSpec
	if err := protojson.Unmarshal([]byte(text), &spec); err != nil {
		t.Fatal(err)
	}
	return &spec
}

// defaults is what the daemon fills in.
const defaults = `"stopGraceMs":5000,"backoff":{"jitter":"JITTER_STRATEGY_FULL","firstMs":1000,"maxMs":30000,"factor":2},` +
	`"admission":"ADMISSION_STRATEGY_DROP_IF_RUNNING"`

func TestFlagsBecomeASpec(t *testing.T) {
	dir := t.TempDir()
	t.Chdir(dir)
	if err := os.WriteFile("job.py", []byte("print(1)\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	body := base64.StdEncoding.EncodeToString([]byte("print(1)\n"))
	for _, tc := range []struct {
		name string
		args []string
		want string
	}{
		{
			"a command with nothing said",
			[]string{"--", "/usr/bin/make", "-j", "--", "--slot", "x"},
			`{"slot":"make","timeoutMs":3600000,"restart":"RESTART_STRATEGY_NEVER",` + defaults + `,
			"kind":{"subprocess":{"failOnNonZero":true,"command":{"command":"/usr/bin/make","args":["-j","--","--slot","x"]}}}}`,
		},
		{
			"flags end at the command",
			[]string{"--slot", "s", "echo", "--slot", "x"},
			`{"slot":"s","timeoutMs":3600000,"restart":"RESTART_STRATEGY_NEVER",` + defaults + `,
			"kind":{"subprocess":{"failOnNonZero":true,"command":{"command":"echo","args":["--slot","x"]}}}}`,
		},
		{
			"everything said",
			[]string{
				"--slot", "s", "--admission", "queue", "--restart", "always:250ms", "--max-retries", "0", "--timeout", "90s",
				"--backoff", "first=2s,max=1m,factor=1.5,jitter=none", "--grace", "0s", "--env", "A=b=c", "-e", "HERE", "-e", "MISSING",
				"--secret", "TOKEN", "--cwd", "sub", "--label", "app=web", "-l", "tier=", "--selector", "zone in (a,b),gpu,!old,disk=ssd,os!=win,c notin (x,y)",
				"--memory", "64MiB", "--cpus", "1.5", "--pids", "7", "--", "true",
			},
			`{"slot":"s","admission":"ADMISSION_STRATEGY_QUEUE","restart":"RESTART_STRATEGY_ALWAYS","restartIntervalMs":250,
			"maxRetries":0,"timeoutMs":90000,"backoff":{"jitter":"JITTER_STRATEGY_NONE","firstMs":2000,"maxMs":60000,"factor":1.5},
			"stopGraceMs":0,"labels":{"app":"web","tier":""},"limits":{"memoryBytes":67108864,"cpuMillis":1500,"pids":7},
			"runnerSelector":{"matchExpressions":[
				{"key":"zone","operator":"SELECTOR_OPERATOR_IN","values":["a","b"]},
				{"key":"gpu","operator":"SELECTOR_OPERATOR_EXISTS"},
				{"key":"old","operator":"SELECTOR_OPERATOR_DOES_NOT_EXIST"},
				{"key":"disk","operator":"SELECTOR_OPERATOR_IN","values":["ssd"]},
				{"key":"os","operator":"SELECTOR_OPERATOR_NOT_IN","values":["win"]},
				{"key":"c","operator":"SELECTOR_OPERATOR_NOT_IN","values":["x","y"]}]},
			"kind":{"subprocess":{"failOnNonZero":true,"cwd":"` + dir + `/sub","command":{"command":"true"},"env":[
				{"key":"A","value":"b=c"},{"key":"HERE","value":"yes"},{"key":"TOKEN","value":"***","secret":true}]}}}`,
		},
		{
			"a script by its ending",
			[]string{"--script", "job.py", "--", "x"},
			`{"slot":"job.py","timeoutMs":3600000,"restart":"RESTART_STRATEGY_NEVER",` + defaults + `,
			"kind":{"subprocess":{"failOnNonZero":true,"script":{"wellKnown":"SCRIPT_RUNTIME_PYTHON","body":"` + body + `","args":["x"]}}}}`,
		},
		{
			"a script with a command of its own",
			[]string{"--script", "job.py", "--runtime", "pypy"},
			`{"slot":"job.py","timeoutMs":3600000,"restart":"RESTART_STRATEGY_NEVER",` + defaults + `,
			"kind":{"subprocess":{"failOnNonZero":true,"script":{"custom":{"command":"pypy","flag":"-c"},"body":"` + body + `"}}}}`,
		},
		{
			"a module",
			[]string{"--wasm", "m.wasm", "--mount", "/a:/b:ro", "--", "x"},
			`{"slot":"m.wasm","timeoutMs":3600000,"restart":"RESTART_STRATEGY_NEVER",` + defaults + `,
			"kind":{"wasm":{"module":"` + dir + `/m.wasm","args":["x"],"mounts":[{"source":"/a","target":"/b","readOnly":true}]}}}`,
		},
		{
			"an image",
			[]string{"--image", "docker.io/library/al_pine:3.20@sha256:abc", "--pull", "never", "--mount", "d:/d", "--", "ls"},
			`{"slot":"al_pine","timeoutMs":3600000,"restart":"RESTART_STRATEGY_NEVER",` + defaults + `,
			"kind":{"container":{"image":"docker.io/library/al_pine:3.20@sha256:abc","args":["ls"],"network":"bridge","pull":"never",
			"mounts":[{"source":"` + dir + `/d","target":"/d"}]}}}`,
		},
	} {
		t.Run(tc.name, func(t *testing.T) {
			w := newWorld(t, "HERE=yes", "TOKEN=hush")
			if diff := cmp.Diff(specOf(t, tc.want), dryRun(t, w, tc.args...), protocmp.Transform()); diff != "" {
				t.Error(diff)
			}
			if strings.Contains(w.out.String(), "hush") {
				t.Error("a secret was printed")
			}
		})
	}
}

func TestSpecFilesAndFlagsTogether(t *testing.T) {
	file := filepath.Join(t.TempDir(), "task.yaml")
	text := "slot: nightly\ntimeout_ms: \"5000\"\nadmission: ADMISSION_STRATEGY_REPLACE\nkind:\n  subprocess:\n" +
		"    command: {command: backup}\n    env:\n    - {key: A, value: \"1\"}\n"
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	got := dryRun(t, newWorld(t), "-f", file)
	if got.GetSlot() != "nightly" || got.GetTimeoutMs() != 5000 || got.GetAdmission() != soltiv1.AdmissionStrategy_ADMISSION_STRATEGY_REPLACE {
		t.Errorf("got %v", got)
	}
	got = dryRun(t, newWorld(t), "-f", file, "--slot", "other", "--timeout", "1s", "-e", "A=2", "--admission", "drop")
	if env := got.GetKind().GetSubprocess().GetEnv(); got.GetSlot() != "other" || got.GetTimeoutMs() != 1000 || len(env) != 2 || env[1].GetValue() != "2" ||
		got.GetAdmission() != soltiv1.AdmissionStrategy_ADMISSION_STRATEGY_DROP_IF_RUNNING {
		t.Errorf("got %v", got)
	}

	w := newWorld(t)
	w.stdin = strings.NewReader(`{"slot":"s","kind":{"subprocess":{"command":{"command":"true"}}}}`)
	if got := dryRun(t, w, "-f", "-"); got.GetTimeoutMs() != 3600000 {
		t.Errorf("got timeout %d, want the command line's default for a file that has none", got.GetTimeoutMs())
	}
}

func TestWhatIsPrintedCanBeReadBack(t *testing.T) {
	w := newWorld(t)
	if code := w.run(t, "submit", "--dry-run", "-o", "yaml", "--slot", "s", "-l", "a=b", "--", "echo", "a: b", "#c"); code != 0 {
		t.Fatal(w.talk.String())
	}
	again := newWorld(t)
	again.stdin = strings.NewReader(w.out.String())
	direct := dryRun(t, newWorld(t), "--slot", "s", "-l", "a=b", "--", "echo", "a: b", "#c")
	if diff := cmp.Diff(direct, dryRun(t, again, "-f", "-"), protocmp.Transform()); diff != "" {
		t.Error(diff)
	}
}

func TestSpecMistakesAreAllNamed(t *testing.T) {
	for _, tc := range []struct {
		stdin string
		args  []string
		says  []string
	}{
		{"", []string{"-f", "-"}, []string{"--file stdin: is empty"}},
		{"slot: [", []string{"-f", "-"}, []string{"--file stdin: "}},
		{"slot: a\nslot: b\n", []string{"-f", "-"}, []string{"slot"}},
		{"slto: a\n", []string{"-f", "-"}, []string{`--file stdin: unknown field "slto"`}},
		{"slot: a\ntimeout_ms: 0\n", []string{"-f", "-"}, []string{"timeout_ms cannot be zero", "missing task kind"}},
		{"", []string{"-f", "/does/not/exist"}, []string{"--file: open /does/not/exist: no such file or directory"}},
		{"slot: a", []string{"-f", "-", "--", "true"}, []string{"no command may follow"}},
		{"", []string{"--script", "/no.sh"}, []string{"--script: open /no.sh"}},
		{"x", []string{"--script", "-"}, []string{"add --runtime"}},
		{"", []string{"--script", "-", "--runtime", "bash"}, []string{"body cannot be empty"}},
		{"", []string{"--runtime", "bash", "--", "true"}, []string{"needs --script"}},
		{"", []string{"--image", "a", "--wasm", "b"}, []string{"[file script wasm image]"}},
		{"", []string{"--image", "a", "--cwd", "/"}, []string{"--cwd"}},
		{"", []string{"--pull", "never", "--", "true"}, []string{"--pull"}},
		{"", []string{"--image", "a", "--pull", "maybe"}, []string{"pull"}},
		{"", []string{"--mount", "/a:/b", "--", "true"}, []string{"--mount"}},
		{"", []string{"--image", "a", "--mount", "/a"}, []string{`--mount "/a": must be SRC:DST`}},
		{"", []string{"--env", "=x", "--", "true"}, []string{"--env"}},
		{"", []string{"--secret", "GONE", "--", "true"}, []string{"--secret GONE: the caller's environment has no such variable"}},
		{"", []string{"--label", "x", "--", "true"}, []string{"--label"}},
		{"", []string{"--label", "-x=1", "--", "true"}, []string{"labels"}},
		{"", []string{"--selector", "a in (", "--", "true"}, []string{"--selector"}},
		{"", []string{"--selector", "", "--", "true"}, []string{"--selector"}},
		{"", []string{"--restart", "sometimes", "--", "true"}, []string{"must be one of never, on-failure, always, always:INTERVAL"}},
		{"", []string{"--restart", "always:x", "--", "true"}, []string{"the interval of always:INTERVAL must be a duration"}},
		{"", []string{"--restart", "never:1s", "--", "true"}, []string{"--restart"}},
		{"", []string{"--backoff", "first=0s", "--", "true"}, []string{"first must be more than zero"}},
		{"", []string{"--backoff", "first=1m,max=1s", "--", "true"}, []string{"must not be less than first"}},
		{"", []string{"--backoff", "factor=0.5", "--", "true"}, []string{"factor must be a number, 1 or more"}},
		{"", []string{"--backoff", "jitter=some", "--", "true"}, []string{"jitter must be one of"}},
		{"", []string{"--backoff", "speed=1", "--", "true"}, []string{"must be a list of"}},
		{"", []string{"--grace", "2h", "--", "true"}, []string{"stop_grace_ms"}},
		{"", []string{"--memory", "0", "--", "true"}, []string{"must be a size"}},
		{"", []string{"--slot", "", "--", "true"}, []string{"--slot must not be empty"}},
		{"", []string{"--slot", "a b", "--timeout", "900000h", "--", "true"}, []string{"slot", "timeout_ms"}},
		{"", []string{"--idempotency-key", strings.Repeat("k", 256), "--", "true"}, []string{"--idempotency-key"}},
	} {
		w := newWorld(t)
		w.stdin = strings.NewReader(tc.stdin)
		code := w.run(t, append([]string{"submit"}, tc.args...)...)
		for _, says := range tc.says {
			if got := w.talk.String(); code != exitUsage || !strings.Contains(got, says) {
				t.Errorf("%v: got exit %d, want 2, and %q in:\n%s", tc.args, code, says, got)
			}
		}
	}
}

func TestSlotNames(t *testing.T) {
	for from, want := range map[string]string{
		"make": "make", "a b/c": "a-b-c", "": "-", ".": "-", "..": "-", "é": "-", strings.Repeat("x", 70): strings.Repeat("x", 64),
	} {
		if got := slotName(from); got != want {
			t.Errorf("%q: got %q, want %q", from, got, want)
		}
	}
	for image, want := range map[string]string{"alpine": "alpine", "r.io:5000/a/b:1": "b", "a/b@sha256:00": "b"} {
		if got := imageName(image); got != want {
			t.Errorf("%q: got %q, want %q", image, got, want)
		}
	}
}
