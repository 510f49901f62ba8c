package subprocess

import (
	"encoding/base64"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"

	"slotd/actors/runner"
	"slotd/actors/runner/runnertest"
	soltiv1 "slotd/messages/solti/v1"
	"slotd/test/need"
)

// begin starts an attempt whose output can be looked at.
func begin(t *testing.T, r *Runner, task *soltiv1.SubprocessTask) (p runner.Process, out, errs *runnertest.Sink, err error) {
	t.Helper()
	out, errs = runnertest.NewSink(), runnertest.NewSink()
	p, err = r.Start(t.Context(), runner.Attempt{
		TaskID: "tsk_1", Number: 7, Slot: "build", Node: "n1", Spec: spec(task), Stdout: out, Stderr: errs,
	})
	return p, out, errs, err
}

// outputOf runs an attempt that must succeed.
func outputOf(t *testing.T, r *Runner, task *soltiv1.SubprocessTask) string {
	t.Helper()
	p, out, errs, err := begin(t, r, task)
	if err != nil {
		t.Fatal(err)
	}
	if got, want := p.Wait(), (runner.Exit{}); got != want {
		t.Fatalf("exit %+v, want %+v; errors %q", got, want, errs.Bytes())
	}
	return string(out.Bytes())
}

func commandTask(name string, args ...string) *soltiv1.SubprocessTask {
	return commandSpec(name, args...).GetKind().GetSubprocess()
}

func scriptTask(runtime soltiv1.ScriptRuntime, body string, args ...string) *soltiv1.SubprocessTask {
	return &soltiv1.SubprocessTask{Mode: &soltiv1.SubprocessTask_Script{Script: &soltiv1.ScriptMode{
		Runtime: &soltiv1.ScriptMode_WellKnown{WellKnown: runtime},
		Body:    base64.StdEncoding.EncodeToString([]byte(body)),
		Args:    args,
	}}}
}

func TestArgumentsAreNotReadByAShell(t *testing.T) {
	r := open(t, Config{})
	task := commandTask("printf", "%s|", "$HOME", "a b", "*", "", "`id`", "\xff")
	if got, want := outputOf(t, r, task), "$HOME|a b|*||`id`|\xff|"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
}

func TestLaterLayersOfTheEnvironmentWin(t *testing.T) {
	for _, key := range []string{"USER", "LANG", "TZ"} {
		t.Setenv(key, "daemon")
	}
	t.Setenv("TMPDIR", t.TempDir())
	t.Setenv("PATH", os.Getenv("PATH"))
	t.Setenv("HOME", "/root")
	t.Setenv("SECRET", "daemon")
	r := open(t, Config{Env: map[string]string{"REGION": "eu", "TZ": "runner", "SLOTD_SLOT": "forged"}})
	task := commandTask("env", "-0")
	for _, kv := range []string{
		"REGION=spec", "LANG=spec", "TWICE=first", "EMPTY=", "SLOTD_NODE=forged", "TWICE=second", "ODD=a=b\nc",
	} {
		key, value, _ := strings.Cut(kv, "=")
		task.Env = append(task.Env, &soltiv1.KeyValue{Key: key, Value: value})
	}
	got := strings.Split(strings.TrimSuffix(outputOf(t, r, task), "\x00"), "\x00")
	want := []string{
		"PATH=" + os.Getenv("PATH"), "HOME=/root", "USER=daemon", "LANG=spec", "TZ=runner", "TMPDIR=" + os.Getenv("TMPDIR"),
		"REGION=eu", "TWICE=second", "EMPTY=", "SLOTD_NODE=n1", "ODD=a=b\nc",
		"SLOTD_SLOT=build", "SLOTD_TASK_ID=tsk_1", "SLOTD_ATTEMPT=7",
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("environment (-want +got):\n%s", diff)
	}
}

func TestAttemptsInheritNothing(t *testing.T) {
	given, err := unix.Open("/etc/hostname", unix.O_RDONLY, 0) // as by a shell that started this process
	if err != nil {
		t.Fatal(err)
	}
	defer closeFD(given)
	eachTree(t, func(t *testing.T, open func(*testing.T, Config) *Runner) {
		r := open(t, Config{})
		if got, want := outputOf(t, r, commandTask("ls", "/proc/self/fd")), "0\n1\n2\n3\n"; got != want { // 3 is ls's own
			t.Errorf("descriptors %q, want %q", got, want)
		}
		if got, want := outputOf(t, r, commandTask("readlink", "/proc/self/fd/0")), "/dev/null\n"; got != want {
			t.Errorf("stdin %q, want %q", got, want)
		}
		s, err := parseStat(0, []byte(outputOf(t, r, commandTask("cat", "/proc/self/stat"))))
		if err != nil {
			t.Fatal(err)
		}
		if s.group == unix.Getpgrp() || s.tty != 0 {
			t.Errorf("group %d, terminal %d; want another group than %d, and no terminal", s.group, s.tty, unix.Getpgrp())
		}
	})
}

func TestScriptsRunFromAPrivateFile(t *testing.T) {
	eachTree(t, func(t *testing.T, open func(*testing.T, Config) *Runner) {
		r := open(t, Config{})
		for _, test := range []struct {
			name, interpreter, want string
			task                    *soltiv1.SubprocessTask
		}{
			{
				"bash", "bash", "600 700 a b|c\n",
				scriptTask(soltiv1.ScriptRuntime_SCRIPT_RUNTIME_BASH,
					`[[ -n $BASH ]] && echo "$(stat -c %a "$0") $(stat -c %a "$(dirname "$0")") $1|$2"`, "a b", "c"),
			},
			{
				"python", "python3", "600 ['a b', 'c'] ü\n",
				scriptTask(soltiv1.ScriptRuntime_SCRIPT_RUNTIME_PYTHON,
					"import os,sys\nsys.stdout.reconfigure(encoding='utf-8')\nprint('%o' % (os.stat(sys.argv[0]).st_mode & 0o777), sys.argv[1:], 'ü')\n", "a b", "c"),
			},
			{
				"node", "node", "600 [\"a b\",\"c\"]\n",
				scriptTask(soltiv1.ScriptRuntime_SCRIPT_RUNTIME_NODE,
					"const fs=require('fs');console.log((fs.statSync(process.argv[1]).mode&0o777).toString(8), JSON.stringify(process.argv.slice(2)))\n", "a b", "c"),
			},
		} {
			t.Run(test.name, func(t *testing.T) {
				need.Tool(t, test.interpreter)
				if got := outputOf(t, r, test.task); got != test.want {
					t.Errorf("got %q, want %q", got, test.want)
				}
				if left := glob(t, r.home.dir+"/tsk_*"); len(left) > 0 {
					t.Errorf("left behind: %v", left)
				}
			})
		}
	})
}

func TestACustomRuntimeGetsTheFileAndNotTheFlag(t *testing.T) {
	r := open(t, Config{})
	task := scriptTask(0, `echo "$# $1"`, "-n")
	task.GetScript().Runtime = &soltiv1.ScriptMode_Custom{Custom: &soltiv1.CustomRuntime{Command: "sh", Flag: "--no-such-flag"}}
	if got, want := outputOf(t, r, task), "1 -n\n"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
}

func TestSpawnErrorsNameThePathInQuestion(t *testing.T) {
	dir := t.TempDir()
	write := func(name, text string, mode os.FileMode) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte(text), mode); err != nil {
			t.Fatal(err)
		}
		return path
	}
	plainFile := write("plain", "x", 0o644)
	garbage := write("garbage", "\x00\x01\x02", 0o755)
	lost := write("lost", "#!/no/such/interpreter -x\n", 0o755)
	custom := scriptTask(0, "x")
	custom.GetScript().Runtime = &soltiv1.ScriptMode_Custom{Custom: &soltiv1.CustomRuntime{Command: "no-such-interpreter"}}
	in := func(cwd string, task *soltiv1.SubprocessTask) *soltiv1.SubprocessTask {
		task.Cwd = &cwd
		return task
	}
	with := func(path string, task *soltiv1.SubprocessTask) *soltiv1.SubprocessTask {
		task.Env = []*soltiv1.KeyValue{{Key: "PATH", Value: path}}
		return task
	}
	eachTree(t, func(t *testing.T, open func(*testing.T, Config) *Runner) {
		r := open(t, Config{})
		for _, test := range []struct {
			name string
			task *soltiv1.SubprocessTask
			want runner.SpawnError
		}{
			{"no such name", commandTask("no-such-program"), runner.SpawnError{Code: 127, Path: "no-such-program"}},
			{"no such path", commandTask("/no/such"), runner.SpawnError{Code: 127, Path: "/no/such", Err: fs.ErrNotExist}},
			{"a path through a file", commandTask(plainFile + "/x"), runner.SpawnError{Code: 126, Path: plainFile + "/x", Err: unix.ENOTDIR}},
			{"not below cwd", in(dir, commandTask("./missing")), runner.SpawnError{Code: 127, Path: "./missing", Err: fs.ErrNotExist}},
			{"not on its own PATH", with(dir, commandTask("true")), runner.SpawnError{Code: 127, Path: "true"}},
			{"not executable", commandTask(plainFile), runner.SpawnError{Code: 126, Path: plainFile, Err: fs.ErrPermission}},
			{"not executable on PATH", with(dir, commandTask("plain")), runner.SpawnError{Code: 126, Path: plainFile, Err: fs.ErrPermission}},
			{"a directory", commandTask(dir), runner.SpawnError{Code: 126, Path: dir, Err: unix.EISDIR}},
			{"no format", commandTask(garbage), runner.SpawnError{Code: 126, Path: garbage, Err: unix.ENOEXEC}},
			{"no interpreter for the file", commandTask(lost), runner.SpawnError{Code: 126, Path: lost, Err: fs.ErrNotExist}},
			{"no interpreter for the script", custom, runner.SpawnError{Code: 127, Path: "no-such-interpreter"}},
			{"no cwd", in(dir+"/gone", commandTask("true")), runner.SpawnError{Code: 126, Path: dir + "/gone", Err: fs.ErrNotExist}},
			{"cwd is a file", in(plainFile, commandTask("true")), runner.SpawnError{Code: 126, Path: plainFile, Err: unix.ENOTDIR}},
			{"NUL in an argument", commandTask("/bin/true", "a\x00b"), runner.SpawnError{Code: 126, Path: "/bin/true"}},
			{"too long", commandTask("/bin/true", strings.Repeat("x", 1<<18)), runner.SpawnError{Code: 126, Path: "/bin/true", Err: unix.E2BIG}},
		} {
			t.Run(test.name, func(t *testing.T) {
				_, _, _, err := begin(t, r, test.task)
				got, ok := errors.AsType[*runner.SpawnError](err)
				if !ok {
					t.Fatalf("start: %v, want a SpawnError", err)
				}
				if got.Code != test.want.Code || got.Path != test.want.Path || test.want.Err != nil && !errors.Is(got, test.want.Err) {
					t.Errorf("got %d %q (%v), want %d %q (%v)", got.Code, got.Path, got.Err, test.want.Code, test.want.Path, test.want.Err)
				}
				if left := glob(t, r.home.dir+"/tsk_*"); len(left) > 0 {
					t.Errorf("left behind: %v", left)
				}
			})
		}
	})
}

func TestBadInterpretersAreNamed(t *testing.T) {
	path := filepath.Join(t.TempDir(), "lost")
	if err := os.WriteFile(path, []byte("#! /no/such/interpreter -x\n"), 0o755); err != nil {
		t.Fatal(err)
	}
	_, _, _, err := begin(t, open(t, Config{}), commandTask(path))
	if want := path + ": bad interpreter /no/such/interpreter: no such file or directory"; err == nil || err.Error() != want {
		t.Errorf("got %v, want %s", err, want)
	}
}

func TestCommandsAreFoundAsTheAttemptSeesThem(t *testing.T) {
	dir := t.TempDir()
	if err := os.Mkdir(dir+"/bin", 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(dir+"/bin/where", []byte("#!/bin/sh\npwd\n"), 0o755); err != nil {
		t.Fatal(err)
	}
	r := open(t, Config{})
	for _, test := range []struct{ name, path, cwd string }{
		{"./where", "", dir + "/bin"},
		{"bin/where", "", dir},
		{"where", "bin", dir},
		{"where", "", dir + "/bin"}, // an empty entry is the working directory
		{"where", "/no/such:.", dir + "/bin"},
		{dir + "/bin/where", "/no/such", "/"},
	} {
		task := commandTask(test.name)
		task.Cwd = &test.cwd
		task.Env = []*soltiv1.KeyValue{{Key: "PATH", Value: test.path + ":/usr/bin"}}
		if got, want := outputOf(t, r, task), test.cwd+"\n"; got != want {
			t.Errorf("%+v: got %q, want %q", test, got, want)
		}
	}
}

func TestFullMachinesAreWorthAnotherTry(t *testing.T) {
	r := open(t, Config{Tree: TreeAuto})
	restore := exhaustDescriptors(t)
	_, _, _, err := begin(t, r, commandTask("/bin/true"))
	restore()
	if _, spawn := errors.AsType[*runner.SpawnError](err); spawn || !errors.Is(err, unix.EMFILE) {
		t.Errorf("start: %v, want a passing error with %v", err, unix.EMFILE)
	}
	outputOf(t, r, commandTask("/bin/true"))
}

// exhaustDescriptors lets no further descriptor be opened until restore. Those that are open stay open.
func exhaustDescriptors(t *testing.T) (restore func()) {
	t.Helper()
	return limitDescriptors(t, 3)
}

// limitDescriptors lets no descriptor with a number from limit on be opened until restore.
func limitDescriptors(t *testing.T, limit uint64) (restore func()) {
	t.Helper()
	var before unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_NOFILE, &before); err != nil {
		t.Fatal(err)
	}
	lowered := before
	lowered.Cur = limit
	if err := unix.Setrlimit(unix.RLIMIT_NOFILE, &lowered); err != nil {
		t.Fatal(err)
	}
	return func() {
		if err := unix.Setrlimit(unix.RLIMIT_NOFILE, &before); err != nil {
			t.Error(err)
		}
	}
}
