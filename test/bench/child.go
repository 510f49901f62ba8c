package bench

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"strconv"
)

// What the program does when it is started again, each followed by a number of lines.
const (
	childWrite = "write-lines" // write them to stdout as fast as possible
	childServe = "serve-lines" // serve them as a bare SSE server until stdin ends
)

// Child does the work of a process that a probe started. The first argument names it; it returns an error for a name
// that it does not know.
func Child(ctx context.Context, args []string) error {
	if len(args) != 2 {
		return fmt.Errorf("want the work and a number of lines, got %q", args)
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
	}
	return fmt.Errorf("unknown work %q", args[0])
}

// IsChild says whether the arguments are meant for Child.
func IsChild(args []string) bool {
	return len(args) > 0 && (args[0] == childWrite || args[0] == childServe)
}

// child prepares the program to be started again for some work on n lines.
func (c Config) child(ctx context.Context, work string, n int) *exec.Cmd {
	args := append(append([]string{}, c.Self[1:]...), work, strconv.Itoa(n))
	cmd := exec.CommandContext(ctx, c.Self[0], args...)
	cmd.Stderr = os.Stderr
	return cmd
}
