package subprocess

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"golang.org/x/sys/unix"

	"slotd/actors/runner"
	"slotd/messages"
	soltiv1 "slotd/messages/solti/v1"
)

// The names execvp and the shells give these two.
const (
	codeNotFound = 127
	codeUnusable = 126
)

// defaultPath is searched when the environment has no PATH, as execvp does.
const defaultPath = "/bin:/usr/bin"

// command is what one attempt executes.
type command struct {
	path    string // for execve, after the change to cwd
	argv    []string
	env     []string
	cwd     string // empty: that of this process
	scratch string // directory of the script file, or empty
	file    string // the script file
}

// command works out what an attempt executes and writes its script, if it has one, into the directory scratch.
func (r *Runner) command(a runner.Attempt, scratch string) (*command, error) {
	task := a.Spec.GetKind().GetSubprocess()
	if task == nil {
		return nil, &runner.SpawnError{Code: codeUnusable, Path: a.TaskID, Err: errors.New("not a subprocess task")}
	}
	c := &command{env: r.env.of(a, task.GetEnv()), cwd: task.GetCwd()}
	if err := checkDir(c.cwd); err != nil {
		return nil, err
	}
	var err error
	switch mode := task.GetMode().(type) {
	case *soltiv1.SubprocessTask_Command:
		c.argv = append([]string{mode.Command.GetCommand()}, mode.Command.GetArgs()...)
		c.path, err = c.find(c.argv[0])
	case *soltiv1.SubprocessTask_Script:
		err = c.script(mode.Script, scratch)
	default:
		err = &runner.SpawnError{Code: codeUnusable, Path: a.TaskID, Err: errors.New("neither command nor script")}
	}
	if err != nil {
		return nil, err
	}
	for _, arg := range c.argv {
		if strings.Contains(arg, "\x00") {
			err := &runner.SpawnError{Code: codeUnusable, Path: c.path, Err: errors.New("an argument contains a NUL byte")}
			return nil, errors.Join(err, c.discard())
		}
	}
	return c, nil
}

// script writes the body into a file of its own and runs it as `<interpreter> <file> <args…>`. The directory is the
// attempt's alone: python and node look for modules beside the script.
func (c *command) script(s *soltiv1.ScriptMode, scratch string) error {
	var interpreter string
	switch s.GetWellKnown() {
	case soltiv1.ScriptRuntime_SCRIPT_RUNTIME_BASH:
		interpreter, c.file = "bash", "script.sh"
	case soltiv1.ScriptRuntime_SCRIPT_RUNTIME_PYTHON:
		interpreter, c.file = "python3", "script.py"
	case soltiv1.ScriptRuntime_SCRIPT_RUNTIME_NODE:
		interpreter, c.file = "node", "script.js"
	default:
		interpreter, c.file = s.GetCustom().GetCommand(), "script"
	}
	var err error
	if c.path, err = c.find(interpreter); err != nil {
		return err
	}
	body, err := messages.DecodeScript(s)
	if err != nil {
		return &runner.SpawnError{Code: codeUnusable, Path: c.file, Err: err}
	}
	if err := os.Mkdir(scratch, 0o700); err != nil {
		return fmt.Errorf("script: %w", err)
	}
	c.scratch = scratch
	c.file = filepath.Join(scratch, c.file)
	if err := os.WriteFile(c.file, body, 0o600); err != nil {
		return errors.Join(fmt.Errorf("script: %w", err), c.discard())
	}
	c.argv = append([]string{interpreter, c.file}, s.GetArgs()...)
	return nil
}

// discard removes the script, and what its interpreter may have put beside it. Only the latter takes a descriptor.
func (c *command) discard() error {
	if c.scratch == "" {
		return nil
	}
	if err := errors.Join(unix.Unlink(c.file), unix.Rmdir(c.scratch)); err == nil {
		return nil
	}
	return os.RemoveAll(c.scratch)
}

// find does what execvp does: a name with a slash is a path, seen from cwd; any other is searched on the PATH of the
// attempt's own environment, relative entries of which are seen from cwd too.
func (c *command) find(name string) (string, error) {
	if strings.Contains(name, "/") {
		return name, nil // execve says what is wrong with it, and diagnose to whom
	}
	search := defaultPath
	for _, entry := range c.env {
		if value, ok := strings.CutPrefix(entry, "PATH="); ok {
			search = value
		}
	}
	var refused *runner.SpawnError
	for _, dir := range filepath.SplitList(search) {
		path := filepath.Join(dir, name)
		if !strings.Contains(path, "/") {
			path = "./" + path
		}
		err := checkExecutable(c.seen(path))
		if err == nil {
			return path, nil
		}
		if passes(err) {
			return "", fmt.Errorf("look for %s: %s: %w", name, path, err)
		}
		if refused == nil && errors.Is(err, fs.ErrPermission) {
			refused = &runner.SpawnError{Code: codeUnusable, Path: path, Err: err}
		}
	}
	if refused != nil {
		return "", refused
	}
	return "", &runner.SpawnError{Code: codeNotFound, Path: name, Err: errors.New("not found on PATH")}
}

// seen is the path as this process has to name it.
func (c *command) seen(path string) string {
	if filepath.IsAbs(path) {
		return path
	}
	return filepath.Join(c.cwd, path)
}

// diagnose turns an error of fork or exec into what the caller is owed. The errno alone does not say whether it belongs
// to the working directory, the file or its interpreter, so it looks again.
func (c *command) diagnose(err error) error {
	if passes(err) {
		return fmt.Errorf("start %s: %w", c.path, err)
	}
	if dirErr := checkDir(c.cwd); dirErr != nil {
		return dirErr
	}
	unusable := &runner.SpawnError{Code: codeUnusable, Path: c.path, Err: err}
	if !errors.Is(err, fs.ErrNotExist) {
		if info, statErr := os.Stat(c.seen(c.path)); statErr == nil && info.IsDir() {
			unusable.Err = unix.EISDIR
		}
		return unusable
	}
	if _, statErr := os.Stat(c.seen(c.path)); statErr != nil {
		return &runner.SpawnError{Code: codeNotFound, Path: c.path, Err: err}
	}
	unusable.Err = fmt.Errorf("bad interpreter %s: %w", interpreterOf(c.seen(c.path)), err)
	return unusable
}

// passes says that an error comes from the state the machine is in, and not from what was asked for: it may be gone at the
// next attempt.
func passes(err error) bool {
	return slices.ContainsFunc([]error{
		unix.EAGAIN, unix.ENOMEM, unix.EMFILE, unix.ENFILE, unix.ENOSPC, unix.EDQUOT, unix.EINTR, unix.EIO, unix.EBUSY,
		unix.ETXTBSY, unix.ENODEV, unix.ESTALE,
	}, func(passing error) bool { return errors.Is(err, passing) })
}

// interpreterOf names what the first line of a file, or its ELF header, asks for.
func interpreterOf(path string) string {
	f, err := os.Open(path)
	if err != nil {
		return "(unreadable)"
	}
	defer f.Close() //nolint:errcheck // only read
	head := make([]byte, 256)
	n, err := f.Read(head)
	line, ok := strings.CutPrefix(string(head[:n]), "#!")
	if err != nil || !ok {
		return "(loader)"
	}
	line, _, _ = strings.Cut(line, "\n")
	name, _, _ := strings.Cut(strings.TrimSpace(line), " ")
	return name
}

func checkDir(dir string) error {
	if dir == "" {
		return nil
	}
	info, err := os.Stat(dir)
	if err == nil && !info.IsDir() {
		err = unix.ENOTDIR
	}
	if err == nil {
		err = unix.Faccessat(unix.AT_FDCWD, dir, unix.X_OK, unix.AT_EACCESS)
	}
	switch {
	case err == nil:
		return nil
	case passes(err):
		return fmt.Errorf("working directory %s: %w", dir, err)
	default:
		return &runner.SpawnError{Code: codeUnusable, Path: dir, Err: fmt.Errorf("working directory: %w", plain(err))}
	}
}

func checkExecutable(path string) error {
	info, err := os.Stat(path)
	if err != nil {
		return plain(err)
	}
	if info.IsDir() {
		return unix.EISDIR
	}
	return unix.Faccessat(unix.AT_FDCWD, path, unix.X_OK, unix.AT_EACCESS)
}

// plain drops the path from an error that will be shown beside it.
func plain(err error) error {
	if pathErr, ok := errors.AsType[*fs.PathError](err); ok {
		return pathErr.Err
	}
	return err
}
