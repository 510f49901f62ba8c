package main

import (
	"fmt"
	"io"
	"os"
	"syscall"
	"time"
)

// stayLimit is when what a puppet has started ends by itself, so that a test that failed leaves nothing for good.
const stayLimit = 15 * time.Minute

// readyFD is a pipe of what a puppet starts: closing it says that it has signed in.
const readyFD = 3

// stay is the life of what a puppet starts: it waits to be told, or to be killed.
func stay(told <-chan os.Signal) error {
	if err := syscall.Close(readyFD); err != nil {
		return fmt.Errorf("say that it has signed in: %w", err)
	}
	limit := time.NewTimer(stayLimit)
	select {
	case <-told:
	case <-limit.C:
	}
	return nil
}

// branch starts what the part asks for, and returns when it has signed in: no process of a tree is ever unknown, unless
// the tree is killed meanwhile.
func (p *part) branch() error {
	switch p.tree {
	case "":
		return nil
	case "zombie": // dead, and not reaped as long as this process lives
		return p.fork(os.Environ(), nil, false, "/bin/true")
	}
	signedIn, other, err := os.Pipe()
	if err != nil {
		return err
	}
	argv, err := p.childArgv()
	if err != nil {
		return err
	}
	orphan := append([]string{"/bin/sh", "-c", `"$@" & exit 0`, "sh"}, argv...)
	switch p.tree {
	case "child":
		err = p.fork(os.Environ(), other, false, argv...)
	case "double": // in a session of its own, and an orphan once the shell has ended
		err = p.fork(os.Environ(), other, true, orphan...)
	case "bare": // the same, with an environment that tells nothing
		err = p.fork(nil, other, true, orphan...)
	default:
		err = fmt.Errorf("no such tree: %q", p.tree)
	}
	if err != nil {
		return err
	}
	if err := other.Close(); err != nil {
		return err
	}
	_, err = io.Copy(io.Discard, signedIn)
	return err
}

func (p *part) childArgv() ([]string, error) {
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	argv := []string{self, "-marks", p.dir, "-child", fmt.Sprintf("%d/%s/%s/%d", p.self.Life, p.self.Slot, p.self.Task, p.self.Attempt)}
	if p.deaf {
		argv = append(argv, "-deaf")
	}
	return argv, nil
}

func (p *part) fork(env []string, ready *os.File, session bool, argv ...string) error {
	files := []uintptr{0, 1, 2}
	if ready != nil {
		files = append(files, ready.Fd())
	}
	_, err := syscall.ForkExec(argv[0], argv, &syscall.ProcAttr{Env: env, Files: files, Sys: &syscall.SysProcAttr{Setsid: session}})
	return err
}
