// Command puppet is the process of every task in the fault tests. It does what its flags say, and makes marks of what it
// does (package mark). A script would cost ten times as much to start.
package main

import (
	"flag"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"slotd/test/faults/mark"
)

// part is one performance.
type part struct {
	dir   string        // of marks
	run   time.Duration // how long it runs
	code  int           // what it exits with
	until uint          // from this attempt on it exits with 0; 0 = never
	lines int           // to each stream, spread over its time
	tree  string        // what it starts: nothing, child, double, bare or zombie
	deaf  bool          // does not hear SIGTERM
	child string        // it is what another puppet has started for that life, slot, task and attempt

	pad  mark.Pad
	self mark.Mark
}

func main() {
	var p part
	flag.StringVar(&p.dir, "marks", "", "`directory` of marks")
	flag.DurationVar(&p.run, "run", 0, "how long to run")
	flag.IntVar(&p.code, "exit", 0, "exit code")
	flag.UintVar(&p.until, "until", 0, "attempt from which on the exit code is 0")
	flag.IntVar(&p.lines, "lines", 0, "lines to write to each stream")
	flag.StringVar(&p.tree, "tree", "", "child, double, bare or zombie")
	flag.BoolVar(&p.deaf, "deaf", false, "ignore SIGTERM")
	flag.StringVar(&p.child, "child", "", "be what another puppet starts for `life/slot/task/attempt`")
	flag.Parse()
	code, err := p.play()
	if err != nil {
		fmt.Fprintln(os.Stderr, "puppet:", err)
		code = 99
	}
	os.Exit(code)
}

func (p *part) play() (code int, err error) {
	told := make(chan os.Signal, 1)
	if p.deaf {
		signal.Ignore(syscall.SIGTERM)
	} else {
		signal.Notify(told, syscall.SIGTERM)
	}
	if err := p.introduce(); err != nil {
		return 0, err
	}
	if p.child != "" {
		return 143, stay(told)
	}
	if err := p.branch(); err != nil {
		return 0, err
	}
	written, termed, err := p.speak(told)
	if err != nil {
		return 0, err
	}
	code = p.code
	if p.until > 0 && uint(p.self.Attempt) >= p.until {
		code = 0
	}
	if termed {
		code = 143
	}
	end := p.self
	end.Kind, end.Code, end.Told, end.Lines = mark.End, code, termed, written
	return code, p.pad.Write(end)
}

// introduce makes the first mark and signs in at the slot.
func (p *part) introduce() error {
	born, err := mark.Born(os.Getpid())
	if err != nil {
		return err
	}
	p.self = mark.Mark{Kind: mark.Start, PID: os.Getpid(), Born: born}
	who := p.child
	if who != "" {
		p.self.Kind = mark.Child
	} else {
		who = strings.Join([]string{os.Getenv("FAULTS_LIFE"), os.Getenv("SLOTD_SLOT"), os.Getenv("SLOTD_TASK_ID"), os.Getenv("SLOTD_ATTEMPT")}, "/")
	}
	if _, err := fmt.Sscanf(strings.ReplaceAll(who, "/", " "), "%d %s %s %d", &p.self.Life, &p.self.Slot, &p.self.Task, &p.self.Attempt); err != nil {
		return fmt.Errorf("which attempt is %q: %w", who, err)
	}
	if p.pad, err = mark.OpenPad(filepath.Join(p.dir, "marks")); err != nil {
		return err
	}
	if err := p.pad.Write(p.self); err != nil {
		return err
	}
	living, err := mark.Enter(filepath.Join(p.dir, "slots"), p.self)
	if err != nil {
		return err
	}
	for _, other := range living {
		met := p.self
		met.Kind, met.Other = mark.Overlap, other
		if err := p.pad.Write(met); err != nil {
			return err
		}
	}
	return nil
}

// speak runs for its time and writes its lines, numbered from 0 and all alike, so that what is missing shows.
func (p *part) speak(told <-chan os.Signal) (written int, termed bool, err error) {
	step := p.run
	if p.lines > 0 {
		step /= time.Duration(p.lines)
	}
	timer := time.NewTimer(step)
	for {
		if written < p.lines {
			for _, stream := range []*os.File{os.Stdout, os.Stderr} {
				if _, err := fmt.Fprintf(stream, "%s/%d line %d\n", p.self.Task, p.self.Attempt, written); err != nil {
					return written, false, err
				}
			}
			written++
		}
		select {
		case <-told:
			return written, true, nil
		case <-timer.C:
			if written >= p.lines {
				return written, false, nil
			}
			timer.Reset(step)
		}
	}
}
