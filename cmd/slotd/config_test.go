package main

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/spf13/pflag"
)

// load reads settings as serve would.
func load(t *testing.T, w *world, args ...string) (Config, map[string]string, error) {
	t.Helper()
	fs := pflag.NewFlagSet("serve", pflag.ContinueOnError)
	configFlags(fs, settings(w.getenv))
	if err := fs.Parse(args); err != nil {
		t.Fatal(err)
	}
	c, list, err := w.loadConfig(fs)
	origins := make(map[string]string, len(list))
	for _, pick := range list {
		origins[pick.name] = pick.origin
	}
	return c, origins, err
}

func write(t *testing.T, text string) string {
	t.Helper()
	file := filepath.Join(t.TempDir(), "slotd.yaml")
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return file
}

func TestSettingsDefaults(t *testing.T) {
	got, _, err := load(t, newWorld(t), "--node", "n", "--data", "/d")
	if err != nil {
		t.Fatal(err)
	}
	want := Config{LogLevel: 3, Node: NodeConfig{
		Name: "n", HTTP: "127.0.0.1:8085", GRPC: "127.0.0.1:50052", MaxConnsPerAddr: 4096, DataDir: "/d", Store: "pebble",
		SlotQueue: 100, MaxTasks: 1_000_000, Retain: 24 * time.Hour, RetainTasks: 100_000,
		LogBytes: 64 << 20, LogTotal: 10 << 30, ShutdownGrace: 10 * time.Second,
	}}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}

func TestFlagsWinOverVariablesOverTheFileOverDefaults(t *testing.T) {
	file := write(t, "http: 127.0.0.1:1\ngrpc: 127.0.0.1:1\nslot-queue: 1\nmax-tasks: 1\ninsecure: true\nretain: 1h\n")
	w := newWorld(t, "SLOTD_CONFIG="+file, "SLOTD_GRPC=127.0.0.1:2", "SLOTD_SLOT_QUEUE=2", "SLOTD_RETAIN=", "SLOTD_TASK_ID=ours")
	got, origins, err := load(t, w, "--slot-queue", "3", "--data", "/d")
	if err != nil {
		t.Fatal(err)
	}
	if n := got.Node; n.HTTP != "127.0.0.1:1" || n.GRPC != "127.0.0.1:2" || n.SlotQueue != 3 || n.MaxTasks != 1 || n.Retain != time.Hour || !got.Insecure {
		t.Errorf("got %+v", got)
	}
	for name, want := range map[string]string{
		"http": file, "grpc": "SLOTD_GRPC", "slot-queue": "--slot-queue", "max-tasks": file, "insecure": file, "log-level": "default", "data": "--data", "retain": file,
	} {
		if origins[name] != want {
			t.Errorf("%s: got origin %s, want %s", name, origins[name], want)
		}
	}
}

func TestListsComeFromEveryPlace(t *testing.T) {
	want := map[string]string{"zone": "a", "example.com/gpu": "yes"}
	for name, w := range map[string]struct {
		env  []string
		args []string
	}{
		"flags":      {nil, []string{"--node-label", "zone=a", "--node-label", "example.com/gpu=yes"}},
		"a variable": {[]string{"SLOTD_NODE_LABEL=zone=a, example.com/gpu=yes"}, nil},
		"lines":      {[]string{"SLOTD_NODE_LABEL=zone=a\nexample.com/gpu=yes\n"}, nil},
		"a list":     {nil, []string{"--config", write(t, "node-label: [zone=a, example.com/gpu=yes]")}},
		"a mapping":  {nil, []string{"--config", write(t, "node-label:\n  zone: a\n  example.com/gpu: \"yes\"\n")}},
	} {
		got, _, err := load(t, newWorld(t, w.env...), append(w.args, "--data", "/d")...)
		if err != nil {
			t.Errorf("%s: %v", name, err)
		}
		if diff := cmp.Diff(want, got.Node.Labels); diff != "" {
			t.Errorf("%s: %s", name, diff)
		}
	}
	got, _, err := load(t, newWorld(t, "MINE=x=y"), "--runner-env", "A=1,2", "--runner-env", "MINE", "--data", "/d")
	if diff := cmp.Diff([]string{"A=1,2", "MINE=x=y"}, got.Node.RunnerEnv); err != nil || diff != "" {
		t.Error(err, diff)
	}
}

func TestBadSettingsAreNamed(t *testing.T) {
	for _, tc := range []struct {
		env  []string
		file string
		args []string
		code int
		says string
	}{
		{nil, "", []string{"--slot-queue", "0"}, 2, `--slot-queue "0": must be a whole number from 1 to`},
		{[]string{"SLOTD_RETAIN=soon"}, "", nil, 2, `SLOTD_RETAIN="soon": must be a duration`},
		{nil, "log-bytes: 1k", nil, 1, `: log-bytes "1k": must be at least 262144 bytes`},
		{nil, "slots: 3\nquue: 1", nil, 1, "unknown key quue, slots"},
		{nil, "slot-qeue: 3", nil, 1, "unknown key slot-qeue; the keys are the names of the flags of `slotd serve`; did you mean slot-queue?"},
		{nil, "", []string{"--log-level", "wran"}, 2, "; did you mean warn?"},
		{nil, "", []string{"--store", "pebbel"}, 2, "must be one of pebble, memory; did you mean pebble?"},
		{nil, "http: [a, b]", nil, 1, "must be one value, not a list"},
		{nil, "http: {a: b}", nil, 1, "must be one value, not a mapping"},
		{nil, "http:", nil, 1, "must have a value"},
		{nil, "http: [", nil, 1, "config file"},
		{nil, "http: a\nhttp: b", nil, 1, "config file"},
		{nil, "", []string{"--config", "/does/not/exist"}, 1, "config file: open /does/not/exist"},
		{nil, "", []string{"--store", "etcd"}, 2, `--store "etcd": must be one of pebble, memory`},
		{nil, "", []string{"--http", "8085"}, 2, `--http "8085": must be host:port`},
		{nil, "", []string{"--http", "127.0.0.1:70000"}, 2, "the port must be a number from 0 to 65535"},
		{nil, "", []string{"--http", "0.0.0.0:1"}, 2, "or add --insecure"},
		{nil, "", []string{"--grpc", ":1"}, 2, "or add --insecure"},
		{nil, "", []string{"--http", "example.com:1"}, 2, "or add --insecure"},
		{nil, "", []string{"--http", "[::]:1", "--tls-cert", "c", "--tls-key", "k"}, 2, "with TLS but without authentication"},
		{nil, "", []string{"--tls-cert", "c"}, 2, "--tls-cert needs --tls-key"},
		{nil, "", []string{"--tls-key", "k"}, 2, "--tls-key needs --tls-cert"},
		{nil, "", []string{"--tls-client-ca", "a", "--http", "0.0.0.0:1"}, 2, "--tls-client-ca needs --tls-cert and --tls-key"},
		{nil, "", []string{"--max-conns-per-addr", "0"}, 2, "must be a whole number from 1 to"},
		{nil, "", []string{"--log-total", "1MiB"}, 2, "must not be less than --log-bytes"},
		{nil, "", []string{"--log-level", "loud"}, 2, "must be one of trace, debug, info, warn, error, off"},
		{nil, "", []string{"--log-format", "xml"}, 2, "must be one of text, json"},
		{nil, "", []string{"--node", "a b"}, 2, "--node"},
		{nil, "", []string{"--node-label", "x"}, 2, `--node-label "x": "x" must be k=v`},
		{nil, "", []string{"--node-label", "a in (b)"}, 2, "must be k=v"},
		{nil, "", []string{"--runner-env", "=hush"}, 2, `--runner-env "***": entry 1 must be K=V`},
		{nil, "", []string{"--runner-env", "GONE"}, 2, "the daemon's environment has no GONE"},
		{nil, "", []string{"--allowed-host", "http://x"}, 2, "must be a host name or an address"},
		{nil, "", []string{"--shutdown-grace", "-1s"}, 2, "--shutdown-grace"},
		{nil, "", []string{"--unix", "/" + strings.Repeat("x", 108)}, 2, "at most 107 bytes"},
		{[]string{"SLOTD_INSECURE=maybe"}, "", nil, 2, "must be true or false"},
	} {
		w := newWorld(t, tc.env...)
		args := append([]string{"serve", "--data", filepath.Join(t.TempDir(), "d")}, tc.args...)
		if tc.file != "" {
			args = append(args, "--config", write(t, tc.file))
		}
		code := w.run(t, args...)
		if said := w.talk.String(); code != tc.code || !strings.Contains(said, tc.says) || strings.Contains(said, "hush") {
			t.Errorf("%v %q: exit %d, want %d; want %q in:\n%s", tc.args, tc.file, code, tc.code, tc.says, said)
		}
	}
}

func TestInsecureAllowsEveryAddress(t *testing.T) {
	c, _, err := load(t, newWorld(t), "--http", "0.0.0.0:0", "--grpc", "off", "--insecure", "--data", "/d")
	if err != nil || c.validate() != nil || c.Node.GRPC != "" {
		t.Errorf("got %+v, %v, %v", c, err, c.validate())
	}
}

func TestDataDirectoryOfAUser(t *testing.T) {
	if os.Geteuid() == 0 {
		if got := defaultData(newWorld(t, "XDG_STATE_HOME=/x").getenv); got != "/var/lib/slotd" {
			t.Errorf("root: got %s", got)
		}
		return
	}
	for want, env := range map[string][]string{
		"/x/slotd": {"XDG_STATE_HOME=/x"}, "/home/u/.local/state/slotd": {"XDG_STATE_HOME=relative"},
	} {
		if got := defaultData(newWorld(t, env...).getenv); got != want {
			t.Errorf("got %s, want %s", got, want)
		}
	}
}

func TestConfigShowTellsOrigins(t *testing.T) {
	w := newWorld(t, "SLOTD_ADDR=unix:///s", "SLOTD_MAX_RUNNING=5")
	code := w.run(t, "config", "show", "-o", "json", "--data", "/d", "--node", "n", "--runner-env", "TOKEN=hush", "--insecure")
	if code != 0 {
		t.Fatal(w.talk.String())
	}
	var got struct {
		Settings []shownSetting `json:"settings"`
	}
	if err := json.Unmarshal([]byte(w.out.String()), &got); err != nil {
		t.Fatal(err)
	}
	byKey := make(map[string]shownSetting)
	for _, s := range got.Settings {
		byKey[s.Key] = s
	}
	for _, want := range []shownSetting{
		{"addr", "unix:///s", "SLOTD_ADDR"},
		{"http", "127.0.0.1:8085", "default"},
		{"data", "/d", "--data"},
		{"max-running", "5", "SLOTD_MAX_RUNNING"},
		{"runner-env", "TOKEN=***", "--runner-env"},
		{"insecure", "true", "--insecure"},
		{"unix", "", "default"},
	} {
		if byKey[want.Key] != want {
			t.Errorf("got %v, want %v", byKey[want.Key], want)
		}
	}
	if len(got.Settings) != len(settings(w.getenv))+len(reachSettings())+3 {
		t.Errorf("got %d settings", len(got.Settings))
	}
	w = newWorld(t)
	if code := w.run(t, "config", "show", "--data", "/d", "--node", "n"); code != 0 {
		t.Fatal(w.talk.String())
	}
	golden(t, "config-show", w.out.String())
}
