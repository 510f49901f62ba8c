package bench

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"slices"
	"strconv"
)

// What the program does when it is started again, each followed by a number. Those that need a folder work in theirs.
const (
	childWrite = "write-lines"     // write so many lines to stdout as fast as possible
	childServe = "serve-lines"     // serve so many lines as a bare SSE server until stdin ends
	childAdmit = "serve-submits"   // admit so many submissions at most as a bare server until stdin ends
	childFill  = "fill-store"      // make a store of so many tasks, tell that it is there, and wait to be killed
	childPile  = "fill-pile"       // the same, of tasks that have ended in a few slots
	childConst = "serve-constants" // answer reads with the messages of the present folder until stdin ends
	childRead  = "read-the-store"  // read so many tasks that a store has
)

// Child does the work of a process that a probe started. The first argument names it; it returns an error for a name
// that it does not know.
func Child(ctx context.Context, args []string) error {
	if len(args) != 2 {
		return fmt.Errorf("want the work and a number, got %q", args)
	}
	n, err := strconv.Atoi(args[1])
	if err != nil {
		return err
	}
	switch args[0] {
	case childWrite:
		return WriteLines(os.Stdout, n)
	case childServe:
		return ServeLines(ctx, n, os.Stdin, os.Stdout)
	case childAdmit:
		return ServeSubmits(ctx, n, os.Stdin, os.Stdout)
	case childFill:
		return FillStore(ctx, n, os.Stdin, os.Stdout)
	case childPile:
		return FillPile(ctx, n, os.Stdin, os.Stdout)
	case childConst:
		return ServeConstants(ctx, os.Stdin, os.Stdout)
	case childRead:
		return ReadStore(n)
	}
	return fmt.Errorf("unknown work %q", args[0])
}

// IsChild says whether the arguments are meant for Child.
func IsChild(args []string) bool {
	return len(args) > 0 && slices.Contains([]string{childWrite, childServe, childAdmit, childFill, childPile, childConst, childRead}, args[0])
}

// startConstants starts the bare servers of reads in a folder with their answers.
func startConstants(ctx context.Context, c Config, dir string) (s served, stop func() error, err error) {
	cmd := c.child(ctx, childConst, 0)
	cmd.Dir = dir
	stdin, err := cmd.StdinPipe()
	if err != nil {
		return served{}, nil, err
	}
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		return served{}, nil, err
	}
	if err := cmd.Start(); err != nil {
		return served{}, nil, err
	}
	s.pid = cmd.Process.Pid
	stop = func() error { return errors.Join(stdin.Close(), cmd.Wait()) }
	if _, err := fmt.Fscanln(stdout, &s.http, &s.grpc); err != nil {
		return served{}, nil, errors.Join(err, stop())
	}
	return s, stop, nil
}

// child prepares the program to be started again for some work on n things.
func (c Config) child(ctx context.Context, work string, n int) *exec.Cmd {
	args := append(append([]string{}, c.Self[1:]...), work, strconv.Itoa(n))
	cmd := exec.CommandContext(ctx, c.Self[0], args...)
	cmd.Stderr = os.Stderr
	return cmd
}
