package subprocess

import (
	"fmt"
	"io"
	"os"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/hashicorp/go-hclog"
	"golang.org/x/sys/unix"

	"slotd/actors/failpoint"
	"slotd/actors/runner"
)

// drainLimit is how long Wait reads on after the tree is dead. The dead hold no pipes, so only a process elsewhere that
// was handed one can make it last.
const drainLimit = 5 * time.Second

// process is one running attempt.
type process struct {
	name    string
	cmd     *command
	leader  leader
	tree    tree
	streams [2]*os.File // read ends of stdout and stderr
	copied  chan struct{}
	stopped atomic.Bool
	missed  atomic.Bool // a kill failed and must be repeated
	log     hclog.Logger
}

// spawn starts cmd. When it fails, all that is left is cmd's script.
func (r *Runner) spawn(name string, cmd *command, a runner.Attempt) (*process, error) {
	stdout, err := openPipe()
	if err != nil {
		return nil, err
	}
	stderr, err := openPipe()
	if err != nil {
		stdout.closeBoth()
		return nil, err
	}
	p := &process{name: name, cmd: cmd, copied: make(chan struct{}, 2), log: r.log}
	p.tree, err = r.tracker.start(name, func(sys *syscall.SysProcAttr) (int, error) {
		sys.PidFD = &p.leader.fd
		failpoint.Hit("fork/before")
		var err error
		p.leader.pid, err = syscall.ForkExec(cmd.path, cmd.argv, &syscall.ProcAttr{
			Dir:   cmd.cwd,
			Env:   cmd.env,
			Files: []uintptr{r.null.Fd(), uintptr(stdout.write), uintptr(stderr.write)},
			Sys:   sys,
		})
		if err != nil {
			return 0, cmd.diagnose(err)
		}
		failpoint.Hit("fork/after") // it exists, and nobody has been told
		return p.leader.pid, nil
	})
	if err != nil {
		stdout.closeBoth()
		stderr.closeBoth()
		return nil, err
	}
	p.leader.adopt(r.log)
	p.streams = [2]*os.File{stdout.reader(), stderr.reader()}
	go p.copy(a.Stdout, p.streams[0])
	go p.copy(a.Stderr, p.streams[1])
	return p, nil
}

// Wait returns once the tree is dead and reaped, and its output written.
func (p *process) Wait() runner.Exit {
	for !p.leader.await() {
		p.killAgain()
	}
	if !p.tree.settled() {
		if !p.stopped.Load() { // nobody asked for this end, so nobody grants the rest a grace
			if err := p.tree.kill(); err != nil {
				p.log.Warn("kill has to be repeated", "attempt", p.name, "error", err)
			}
		}
		p.tree.settle()
	}
	exit := p.leader.reap(p.log)
	p.tree.release()
	p.drain()
	if err := p.cmd.discard(); err != nil {
		p.log.Error("script file stays behind", "attempt", p.name, "error", err)
	}
	failpoint.Hit("attempt/exited") // nothing is left of it, and nobody has been told
	return exit
}

// Stop asks the whole tree to end.
func (p *process) Stop() {
	p.stopped.Store(true)
	if err := p.tree.terminate(); err != nil {
		p.log.Warn("stop did not reach every process", "attempt", p.name, "error", err)
	}
	if p.tree.strayed() {
		p.leader.signal(stopSignals...)
	}
}

// Kill ends the whole tree. When it cannot, for want of a descriptor, it leaves that to Wait, which does not give up.
func (p *process) Kill() {
	p.stopped.Store(true)
	if err := p.strike(); err != nil {
		p.log.Warn("kill has to be repeated", "attempt", p.name, "error", err)
		p.missed.Store(true)
		p.leader.nudge(time.Unix(1, 0))
	}
}

// strike kills the tree, and the leader where that is.
func (p *process) strike() error {
	err := p.tree.kill()
	if p.tree.strayed() {
		p.leader.signal(unix.SIGKILL)
	}
	return err
}

// killAgain repeats a kill that missed, now and a little later, while the leader lives.
func (p *process) killAgain() {
	p.leader.nudge(time.Time{})
	if p.missed.Swap(false) && p.strike() != nil {
		p.missed.Store(true)
		p.leader.nudge(time.Now().Add(lastPause))
	}
}

func (p *process) copy(to io.Writer, from *os.File) {
	defer func() { p.copied <- struct{}{} }()
	_, err := io.Copy(to, from)
	if err == nil || os.IsTimeout(err) {
		return
	}
	p.log.Error("output is lost", "attempt", p.name, "error", err)
	// The attempt must not block on a full pipe, nor die of a broken one, because its output has nowhere to go.
	if _, err := io.Copy(io.Discard, from); err != nil && !os.IsTimeout(err) {
		p.log.Error("output cannot be read", "attempt", p.name, "error", err)
	}
}

// drain waits for the copying to end, and ends it after drainLimit.
func (p *process) drain() {
	limit := time.NewTimer(drainLimit)
	defer limit.Stop()
	for pending := 2; pending > 0; {
		select {
		case <-p.copied:
			pending--
		case <-limit.C:
			p.log.Warn("a process outside the attempt holds its output open", "attempt", p.name)
			for _, s := range p.streams {
				if err := s.SetReadDeadline(time.Unix(1, 0)); err != nil {
					p.log.Error("output cannot be given up", "attempt", p.name, "error", err)
				}
			}
		}
	}
	for _, s := range p.streams {
		if err := s.Close(); err != nil {
			p.log.Error("output pipe does not close", "attempt", p.name, "error", err)
		}
	}
}

// pipe carries one stream. Its descriptors are raw until the attempt runs: os.Pipe would put both ends into the poller,
// and take the write end, which the attempt needs in blocking mode, out of it again.
type pipe struct{ read, write int }

func openPipe() (pipe, error) {
	var fds [2]int
	if err := unix.Pipe2(fds[:], unix.O_CLOEXEC); err != nil {
		return pipe{}, fmt.Errorf("output pipe: %w", err)
	}
	p := pipe{fds[0], fds[1]}
	if err := unix.SetNonblock(p.read, true); err != nil {
		p.closeBoth()
		return pipe{}, fmt.Errorf("output pipe: %w", err)
	}
	return p, nil
}

// reader keeps the read end and leaves the write end to the attempt alone.
func (p pipe) reader() *os.File {
	closeFD(p.write)
	return os.NewFile(uintptr(p.read), "|0")
}

func (p pipe) closeBoth() {
	closeFD(p.read)
	closeFD(p.write)
}

// closeFD closes a descriptor that holds nothing unwritten: Linux frees it whatever close answers.
func closeFD(fd int) { _ = unix.Close(fd) }
