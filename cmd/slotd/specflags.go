package main

import (
	"encoding/base64"
	"errors"
	"io"
	"os"
	"path"
	"path/filepath"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"google.golang.org/protobuf/proto"

	"slotd/messages"
	soltiv1 "slotd/messages/solti/v1"
)

// specFlags are the flags of run and submit that describe a task. They become a spec in two steps: the kind (a command,
// a script, a module, an image or a file that holds a whole spec), then everything that was said about it.
type specFlags struct {
	file    string
	script  string
	runtime string
	wasm    string
	image   string

	slot       string
	admission  soltiv1.AdmissionStrategy
	restart    restart
	maxRetries uint64
	timeout    time.Duration
	backoff    *soltiv1.BackoffStrategy
	grace      time.Duration
	env        []string
	secrets    []string
	cwd        string
	labels     []string
	selector   *soltiv1.RunnerSelector
	memory     uint64
	cpus       uint64
	pids       uint64
	mounts     []string
	pull       string

	key    string
	dryRun bool

	given func(name string) bool
}

const defaultTimeout = messages.DefaultTimeoutMs * time.Millisecond

func (f *specFlags) bind(cmd *cobra.Command) {
	fs := cmd.Flags()
	fs.SetInterspersed(false) // what follows the command is the command's
	f.given = fs.Changed

	fs.StringVarP(&f.file, "file", "f", "", "read the spec from a YAML or JSON file, - is stdin; flags change it")
	fs.StringVar(&f.script, "script", "", "run this script file, - is stdin")
	fs.StringVar(&f.runtime, "runtime", "", "what runs the script: bash, python, node or a command (default: by the file's ending)")
	fs.StringVar(&f.wasm, "wasm", "", "run this WebAssembly module")
	fs.StringVar(&f.image, "image", "", "run this container image")

	fs.StringVar(&f.slot, "slot", "", "the slot (default: the name of the command, script, module or image)")
	bind(fs, &f.admission, "admission", "", "drop", "policy", "when the slot is busy: drop, replace or queue", parseAdmission)
	bind(fs, &f.restart, "restart", "", "never", "policy", "never, on-failure, always or always:INTERVAL", parseRestart)
	bind(fs, &f.maxRetries, "max-retries", "", "", "n", "retries in a row after the first failure (default unlimited)", parseCount(0, 1<<32-1))
	f.timeout = defaultTimeout
	bind(fs, &f.timeout, "timeout", "", "1h", "duration", "time limit of each attempt", parsePositive)
	bind(fs, &f.backoff, "backoff", "", "", "spec", "first=1s,max=30s,factor=2,jitter=none|full|equal|decorrelated", parseBackoff)
	bind(fs, &f.grace, "grace", "", "", "duration", "time between SIGTERM and SIGKILL (default 5s)", parseDuration)
	fs.StringArrayVarP(&f.env, "env", "e", nil, "environment `K=V`; K alone takes the caller's value")
	fs.StringArrayVar(&f.secrets, "secret", nil, "as --env, and the value is never shown or logged (`K[=V]`)")
	fs.StringVar(&f.cwd, "cwd", "", "working directory of the command or script")
	fs.StringArrayVarP(&f.labels, "label", "l", nil, "label `k=v` of the task")
	bind(fs, &f.selector, "selector", "", "", "expr", "choose the runner by its labels, such as gpu=yes,zone in (a,b)", parseRunnerSelector)
	bind(fs, &f.memory, "memory", "", "", "size", "memory limit of an attempt, such as 512MiB", parseBytes)
	bind(fs, &f.cpus, "cpus", "", "", "n", "processor limit of an attempt in cores, such as 0.5", parseCPUs)
	bind(fs, &f.pids, "pids", "", "", "n", "process limit of an attempt", parseCount(1, 1<<32-1))
	fs.StringArrayVar(&f.mounts, "mount", nil, "make a path of the host visible to a module or container: `SRC:DST[:ro]`")
	fs.StringVar(&f.pull, "pull", "", "when to pull the image: missing, always or never (default missing)")

	fs.StringVar(&f.key, "idempotency-key", "", "a repeat with this key within 24h is the same task")
	fs.BoolVar(&f.dryRun, "dry-run", false, "check, fill in defaults and print the spec; needs no server")
	cmd.MarkFlagsMutuallyExclusive("file", "script", "wasm", "image")
}

// spec builds what the flags and arguments describe. Defaults of the daemon are not filled in.
func (f *specFlags) spec(a *app, args []string) (*soltiv1.CreateSpec, error) {
	spec, slot, err := f.kind(a, args)
	if err != nil {
		return nil, err
	}
	if f.slot != "" {
		slot = f.slot
	} else if f.given("slot") {
		return nil, usagef("--slot must not be empty")
	}
	spec.Slot = slot
	for _, apply := range []func(*soltiv1.CreateSpec) error{
		f.applyPolicy, f.applyEnv(a), f.applyPlace, f.applyLabels, f.applyLimits, f.applyContainer,
	} {
		if err := apply(spec); err != nil {
			return nil, err
		}
	}
	return spec, nil
}

// kind chooses what is run, and the slot's name when nobody gives another.
func (f *specFlags) kind(a *app, args []string) (*soltiv1.CreateSpec, string, error) {
	if f.runtime != "" && f.script == "" {
		return nil, "", usagef("--runtime %q needs --script", f.runtime)
	}
	switch {
	case f.given("file"):
		if len(args) > 0 {
			return nil, "", usagef("--file holds the whole task: no command may follow (%q)", args[0])
		}
		spec, err := readSpec(a.stdin, f.file)
		return spec, spec.GetSlot(), err
	case f.given("script"):
		return f.scriptKind(a.stdin, args)
	case f.given("wasm"):
		module, err := filepath.Abs(f.wasm)
		if err != nil || f.wasm == "" {
			return nil, "", usagef("--wasm %q: must be the path of a module", f.wasm)
		}
		return ofKind(&soltiv1.TaskKind{Kind: &soltiv1.TaskKind_Wasm{
			Wasm: &soltiv1.WasmTask{Module: module, Args: args},
		}}), slotName(filepath.Base(module)), nil
	case f.given("image"):
		return ofKind(&soltiv1.TaskKind{Kind: &soltiv1.TaskKind_Container{
			Container: &soltiv1.ContainerTask{Image: f.image, Args: args},
		}}), slotName(imageName(f.image)), nil
	case len(args) > 0:
		return ofSubprocess(&soltiv1.SubprocessTask{Mode: &soltiv1.SubprocessTask_Command{
			Command: &soltiv1.CommandMode{Command: args[0], Args: args[1:]},
		}}), slotName(filepath.Base(args[0])), nil
	default:
		return nil, "", usagef("nothing to run: give -- COMMAND [ARGS…], --script, --wasm, --image or --file")
	}
}

func ofKind(kind *soltiv1.TaskKind) *soltiv1.CreateSpec {
	return &soltiv1.CreateSpec{Kind: kind}
}

func ofSubprocess(task *soltiv1.SubprocessTask) *soltiv1.CreateSpec {
	return ofKind(&soltiv1.TaskKind{Kind: &soltiv1.TaskKind_Subprocess{Subprocess: task}})
}

func (f *specFlags) scriptKind(stdin io.Reader, args []string) (*soltiv1.CreateSpec, string, error) {
	name, body := "stdin", []byte(nil)
	var err error
	if f.script == "-" {
		body, err = io.ReadAll(io.LimitReader(stdin, messages.MaxScriptBytes+1))
	} else {
		name = filepath.Base(f.script)
		body, err = os.ReadFile(f.script)
	}
	if err != nil {
		return nil, "", usagef("--script: %w", err)
	}
	script := &soltiv1.ScriptMode{Body: base64.StdEncoding.EncodeToString(body), Args: args}
	if err := setRuntime(script, f.runtime, f.script); err != nil {
		return nil, "", err
	}
	return ofSubprocess(&soltiv1.SubprocessTask{
		Mode: &soltiv1.SubprocessTask_Script{Script: script},
	}), slotName(name), nil
}

func (f *specFlags) applyPolicy(spec *soltiv1.CreateSpec) error {
	if f.given("admission") {
		spec.Admission = f.admission
	}
	if f.given("restart") {
		spec.Restart = f.restart.strategy
		spec.RestartIntervalMs = f.restart.intervalMs
	}
	if f.given("max-retries") {
		spec.MaxRetries = new(uint32(f.maxRetries))
	}
	if f.given("timeout") || !f.given("file") {
		spec.TimeoutMs = millis(f.timeout)
	}
	if f.given("backoff") {
		spec.Backoff = f.backoff
	}
	if f.given("grace") {
		spec.StopGraceMs = new(millis(f.grace))
	}
	if f.selector != nil {
		spec.RunnerSelector = f.selector
	}
	return nil
}

// applyEnv adds --env and --secret in that order, after what a file says: the last value of a key wins.
func (f *specFlags) applyEnv(a *app) func(*soltiv1.CreateSpec) error {
	return func(spec *soltiv1.CreateSpec) error {
		var env []*soltiv1.KeyValue
		for _, text := range f.env {
			key, value, ok := strings.Cut(text, "=")
			if key == "" {
				return usagef("--env: must be K=V, or K to take the caller's value")
			}
			if !ok {
				if value, ok = a.getenv(key); !ok {
					continue // as docker run does
				}
			}
			env = append(env, &soltiv1.KeyValue{Key: key, Value: value})
		}
		for _, text := range f.secrets {
			key, value, ok := strings.Cut(text, "=")
			if key == "" {
				return usagef("--secret: must be K=V, or K to take the caller's value")
			}
			if !ok {
				if value, ok = a.getenv(key); !ok {
					return usagef("--secret %s: the caller's environment has no such variable", key)
				}
			}
			env = append(env, &soltiv1.KeyValue{Key: key, Value: value, Secret: true})
		}
		switch kind := spec.GetKind().GetKind().(type) {
		case *soltiv1.TaskKind_Subprocess:
			kind.Subprocess.Env = append(kind.Subprocess.Env, env...)
		case *soltiv1.TaskKind_Wasm:
			kind.Wasm.Env = append(kind.Wasm.Env, env...)
		case *soltiv1.TaskKind_Container:
			kind.Container.Env = append(kind.Container.Env, env...)
		}
		return nil
	}
}

func (f *specFlags) applyPlace(spec *soltiv1.CreateSpec) error {
	if !f.given("cwd") {
		return nil
	}
	sub := spec.GetKind().GetSubprocess()
	if sub == nil {
		return usagef("--cwd %q: only a command or a script has a working directory", f.cwd)
	}
	cwd, err := filepath.Abs(f.cwd)
	if err != nil || f.cwd == "" {
		return usagef("--cwd %q: must be a directory", f.cwd)
	}
	sub.Cwd = &cwd
	return nil
}

func (f *specFlags) applyLabels(spec *soltiv1.CreateSpec) error {
	for _, text := range f.labels {
		key, value, ok := strings.Cut(text, "=")
		if !ok || key == "" {
			return usagef("--label %q: must be k=v", text)
		}
		if spec.Labels == nil {
			spec.Labels = make(map[string]string)
		}
		spec.Labels[key] = value
	}
	return nil
}

func (f *specFlags) applyLimits(spec *soltiv1.CreateSpec) error {
	limits := spec.GetLimits()
	if limits == nil {
		limits = &soltiv1.ResourceLimits{}
	}
	for name, to := range map[string]func(){
		"memory": func() { limits.MemoryBytes = &f.memory },
		"cpus":   func() { limits.CpuMillis = &f.cpus },
		"pids":   func() { limits.Pids = &f.pids },
	} {
		if f.given(name) {
			to()
			spec.Limits = limits
		}
	}
	return nil
}

func (f *specFlags) applyContainer(spec *soltiv1.CreateSpec) error {
	mounts := make([]*soltiv1.Mount, 0, len(f.mounts))
	for _, text := range f.mounts {
		mount, err := parseMount(text)
		if err != nil {
			return err
		}
		mounts = append(mounts, mount)
	}
	container, wasm := spec.GetKind().GetContainer(), spec.GetKind().GetWasm()
	switch {
	case container != nil:
		container.Mounts = append(container.Mounts, mounts...)
	case wasm != nil:
		wasm.Mounts = append(wasm.Mounts, mounts...)
	case len(mounts) > 0:
		return usagef("--mount %q: only a module or a container has mounts", f.mounts[0])
	}
	if !f.given("pull") {
		return nil
	}
	if container == nil {
		return usagef("--pull %q: only a container has an image to pull", f.pull)
	}
	container.Pull = &f.pull
	return nil
}

// check finds every mistake that can be found without a daemon: all problems of the spec, with defaults filled in as
// the daemon will. It returns the filled-in copy.
func check(spec *soltiv1.CreateSpec) (*soltiv1.CreateSpec, error) {
	full := proto.CloneOf(spec)
	messages.Defaults(full)
	err := messages.Validate(full)
	if invalid, ok := errors.AsType[*messages.InvalidError](err); ok {
		return nil, usagef("the task is not valid:\n  %s", strings.Join(invalid.Problems, "\n  "))
	}
	return full, err
}

// slotName makes a slot's name of a file's or an image's: what a slot may not contain becomes "-".
func slotName(base string) string {
	name := strings.Map(func(r rune) rune {
		switch {
		case r >= 'a' && r <= 'z', r >= 'A' && r <= 'Z', r >= '0' && r <= '9', r == '.', r == '_', r == '-':
			return r
		}
		return '-'
	}, base)
	if name == "" || name == "." || name == ".." {
		return "-"
	}
	return name[:min(len(name), messages.MaxSlotBytes)]
}

// imageName is the last part of an image's path, without tag and digest.
func imageName(image string) string {
	image, _, _ = strings.Cut(image, "@")
	name, _, _ := strings.Cut(path.Base(image), ":")
	return name
}
