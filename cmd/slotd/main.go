// Command slotd supervises tasks in named slots: a daemon (slotd serve) and the verbs to use it.
//
// One file holds one verb. They share an [app], the outside world as a verb sees it, so that a test runs a whole
// command line without a process: streams, environment, signals and clock. Stdout is data, stderr is talk. Flags that
// describe a task are in specflags.go, tables and formats in output.go, exit codes in exit.go. Where the daemon is, and
// with which token and certificates, is decided in target.go; what is rewritten in place on a terminal goes through
// screen.go. The daemon's settings are in config.go, and wire.go puts a node together.
package main

import (
	"context"
	"io"
	"os"
	"os/signal"
	"runtime/debug"
	"syscall"
	"time"

	"github.com/hashicorp/go-hclog"
	"github.com/mattn/go-isatty"
)

// gcPercent lets the heap grow to three times what is live before it is collected, unless GOGC says otherwise: a node's
// live heap is small, and half as many collections leave a tenth more of the machine to tasks.
const gcPercent = 200

func main() {
	if os.Getenv("GOGC") == "" {
		debug.SetGCPercent(gcPercent)
	}
	a := &app{
		stdin:   os.Stdin,
		stdout:  os.Stdout,
		stderr:  os.Stderr,
		environ: os.Environ(),
		now:     time.Now,
		notify:  notify,
		tty:     isTerminal,
		hush:    hush,
		start:   startNode,
	}
	os.Exit(a.execute(context.Background(), os.Args[1:]))
}

// notify delivers signals until stop is called. A hang-up that this process was started to ignore (nohup) stays ignored.
func notify(signals ...os.Signal) (<-chan os.Signal, func()) {
	ch := make(chan os.Signal, 8)
	for _, s := range signals {
		if s == syscall.SIGHUP && signal.Ignored(s) {
			continue
		}
		signal.Notify(ch, s)
	}
	return ch, func() { signal.Stop(ch) }
}

func isTerminal(stream any) bool {
	file, ok := stream.(*os.File)
	return ok && isatty.IsTerminal(file.Fd())
}

// app is the outside world as a verb sees it, and the flags that all verbs share.
type app struct {
	stdin          io.Reader
	stdout, stderr io.Writer
	environ        []string
	now            func() time.Time
	notify         func(...os.Signal) (<-chan os.Signal, func())
	tty            func(stream any) bool
	hush           time.Duration // a wait is silent so long
	start          func(NodeConfig, hclog.Logger) (node, error)

	asked     reach // what the flags tell of the daemon
	context   string
	plaintext bool
	output    format
	color     string
	quiet     bool

	screen  *screen // nil: stderr is no terminal
	begun   bool    // the command line was understood and a verb began
	reached target  // of the last connection
}
