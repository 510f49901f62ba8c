package main

import (
	"context"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/hashicorp/go-hclog"

	"slotd/gateway/client"
)

// local is a world whose nodes are real, and whose temporary files are its own.
func local(t *testing.T) (w *world, tmp string) {
	t.Helper()
	tmp = t.TempDir()
	t.Setenv("TMPDIR", tmp)
	w = newWorld(t)
	w.start = startNode
	w.now = time.Now
	return w, tmp
}

func TestRunLocalBehavesAsWithAServerAndLeavesNothing(t *testing.T) {
	for _, tc := range []struct {
		args []string
		code int
		out  string
		talk string
	}{
		{[]string{"--", "sh", "-c", "echo out; echo err >&2; exit 3"}, 3, "out\n", "err\n"},
		{[]string{"--", "true"}, 0, "", ""},
		{[]string{"-e", "A=b c", "--", "sh", "-c", `printf '%s|' "$A" "$@"`, "x", "--", "-d", ""}, 0, "b c|--|-d||\n", ""},
		{[]string{"--", "/no/such/command"}, 127, "", "/no/such/command"},
		{[]string{"--timeout", "50ms", "--", "sleep", "60"}, 124, "", "timed out"},
		{[]string{"--", "sh", "-c", "kill -9 $$"}, 137, "", "SIGKILL"},
		{[]string{"--restart", "on-failure", "--max-retries", "1", "--backoff", "first=1ms,max=1ms", "--", "sh", "-c", "echo try; exit 9"}, 9, "try\ntry\n", "gave up after attempt 2"},
		{[]string{"--image", "alpine"}, 125, "", "container"},
	} {
		w, tmp := local(t)
		code := w.run(t, append([]string{"run", "--local"}, tc.args...)...)
		if code != tc.code || w.out.String() != tc.out || !strings.Contains(w.talk.String(), tc.talk) {
			t.Errorf("%v: exit %d, want %d; stdout %q, want %q; stderr %q, want %q", tc.args, code, tc.code, w.out.String(), tc.out, w.talk.String(), tc.talk)
		}
		if left, err := os.ReadDir(tmp); err != nil || len(left) != 0 {
			t.Errorf("%v: left behind: %v, %v", tc.args, left, err)
		}
	}
}

func TestNoLineIsLostOrDoubled(t *testing.T) {
	var want strings.Builder
	for i := range 20_000 {
		want.WriteString(strconv.Itoa(i+1) + "\n")
	}
	w, _ := local(t)
	if code := w.run(t, "run", "--local", "--", "seq", "20000"); code != 0 || w.out.String() != want.String() {
		t.Errorf("exit %d, %d bytes, want %d", code, len(w.out.String()), want.Len())
	}
}

func TestAnInterruptEndsALocalRunWithItsTask(t *testing.T) {
	w, tmp := local(t)
	exit := make(chan int, 1)
	go func() {
		exit <- w.run(t, "run", "--local", "--", "sh", "-c", "echo $$; trap 'echo bye; exit 0' TERM; while :; do sleep 0.01; done")
	}()
	eventually(t, "the task runs", func() bool { return strings.HasSuffix(w.out.String(), "\n") })
	pid, err := strconv.Atoi(strings.TrimSpace(w.out.String()))
	if err != nil {
		t.Fatal(err)
	}
	w.signals <- syscall.SIGINT
	if code := <-exit; code != exitCanceled || !strings.HasSuffix(w.out.String(), "\nbye\n") {
		t.Errorf("exit %d, got %q, said %q", code, w.out.String(), w.talk.String())
	}
	if err := syscall.Kill(pid, 0); err != syscall.ESRCH {
		t.Errorf("the task's process: %v", err)
	}
	if left, err := os.ReadDir(tmp); err != nil || len(left) != 0 {
		t.Errorf("left behind: %v, %v", left, err)
	}
}

func TestANodeAnswersOnEveryListener(t *testing.T) {
	w, tmp := local(t)
	cfg, err := defaultNodeConfig(w.getenv)
	if err != nil {
		t.Fatal(err)
	}
	cfg.HTTP, cfg.GRPC, cfg.Unix, cfg.DataDir = "127.0.0.1:0", "127.0.0.1:0", tmp+"/s.sock", tmp+"/d"
	n, err := startNode(cfg, hclog.NewNullLogger())
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	if err := n.Ready(ctx); err != nil {
		t.Error(err)
	}
	for _, addr := range []string{"http://" + n.Addresses().http, "unix://" + n.Addresses().unix} {
		c, err := client.New(client.Config{Addr: addr})
		if err != nil {
			t.Fatal(err)
		}
		if view, err := c.Introspection(ctx); err != nil || view.GetNode() != cfg.Name || len(view.GetRunners()) != 1 {
			t.Errorf("%s: got %v, %v", addr, view, err)
		}
		c.Close()
	}
	// What is in use is told, and nothing of the second node stays.
	cfg.HTTP, cfg.Unix = n.Addresses().http, ""
	if _, err := startNode(cfg, hclog.NewNullLogger()); err == nil || !strings.Contains(err.Error(), "is in use") {
		t.Errorf("got %v", err)
	}
	if err := n.Drain(ctx, 0); err != nil {
		t.Error(err)
	}
	if err := n.Stop(); err != nil {
		t.Error(err)
	}
}

// A store that does not know the tasks of a data directory must not cost them their output.
func TestStrangeStoreLeavesOutputAlone(t *testing.T) {
	cfg, err := defaultNodeConfig(func(string) (string, bool) { return "", false })
	if err != nil {
		t.Fatal(err)
	}
	cfg.DataDir = t.TempDir()
	output := filepath.Join(cfg.DataDir, "logs", "tsk_01J00000000000000000000000", "1.seg")
	if err := os.MkdirAll(filepath.Dir(output), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(output, []byte("precious"), 0o600); err != nil {
		t.Fatal(err)
	}
	kept, err := openStore(cfg, hclog.NewNullLogger())
	if err != nil {
		t.Fatal(err)
	}
	if err := kept.Close(); err != nil {
		t.Error(err)
	}
	aside, err := filepath.Glob(filepath.Join(cfg.DataDir, "logs.*", "tsk_*", "1.seg"))
	if err != nil || len(aside) != 1 {
		t.Errorf("a new store: set aside are %v, %v", aside, err)
	}
	if err := os.Rename(filepath.Dir(filepath.Dir(aside[0])), filepath.Join(cfg.DataDir, "logs")); err != nil {
		t.Fatal(err)
	}
	for range 2 {
		if kept, err = openStore(cfg, hclog.NewNullLogger()); err != nil {
			t.Fatal(err)
		}
		if err := kept.Close(); err != nil {
			t.Error(err)
		}
	}
	if _, err := os.Stat(output); err != nil {
		t.Errorf("the same store again: %v", err)
	}
	cfg.Store = storeMemory
	if kept, err := openStore(cfg, hclog.NewNullLogger()); err == nil {
		t.Errorf("a store in memory: %v, want a refusal", kept)
	}
}
