package runnertest

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sync/errgroup"

	"slotd/actors/failpoint"
	"slotd/actors/runner"
)

const (
	crashRounds = 6
	// crashLines is how many lines a daemon may print before it is killed; it prints one around everything that it does.
	crashLines = 100
	// crashLanes is how many attempts a daemon starts and ends again and again.
	crashLanes = 4
	// crashPause is the longest time that such an attempt is let run, and that passes between the last line and the kill.
	crashPause = 20 * time.Millisecond
)

// Serve is the life of a daemon that is there to be killed: it makes a runner and keeps starting attempts. It returns
// only when something fails.
func Serve(s Subject, open func() (runner.Runner, error)) error {
	tell("up")
	r, err := open()
	if err != nil {
		return err
	}
	var lanes errgroup.Group
	for _, p := range []Program{Cleared, Hidden} {
		if s.Spec(p) != nil && !slices.Contains(s.Unprovable, p) {
			lanes.Go(func() error { return serveLane(r, s, string(p), p) })
		}
	}
	for i := range crashLanes {
		lanes.Go(func() error { return serveLane(r, s, strconv.Itoa(i), Exit, Forked, Deserted, Stubborn, Obey) })
	}
	return lanes.Wait()
}

// serveLane runs one attempt after the other, each with one of the programs. Those that would stay are killed, except
// those that leave something without a mark: a daemon that dies between two blows cannot be asked to have proven it.
func serveLane(r runner.Runner, s Subject, lane string, programs ...Program) error {
	for number := uint32(1); ; number++ {
		program := programs[rand.IntN(len(programs))]
		tell("start")
		p, err := r.Start(context.Background(), runner.Attempt{
			TaskID: fmt.Sprintf("tsk_crash_%d_%s", os.Getpid(), lane), Number: number, Slot: lane, Node: "n1",
			Spec: s.Spec(program, "0"), Stdout: io.Discard, Stderr: io.Discard,
		})
		if err != nil {
			return err
		}
		tell("started")
		if len(programs) > 1 {
			time.AfterFunc(rand.N(crashPause), p.Kill)
		}
		p.Wait()
		tell("ended")
	}
}

// tell lets the test count how far this process has come. When the test does not listen any more, it is about to kill.
func tell(what string) { _, _ = fmt.Fprintln(os.Stdout, what) }

// crashed kills daemons and wants the next one to begin with nothing of theirs. Some die while they clear away what
// those before them have left. Whatever a daemon starts has its working directory, and that is how it is found here.
func crashed(t *testing.T, f fixture) {
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	random := rand.New(rand.NewPCG(seed, 0))
	place, mark := t.TempDir(), t.TempDir()
	for round := range crashRounds {
		t.Run(strconv.Itoa(round), func(t *testing.T) {
			for range 1 + round%3 {
				lines := 1
				if random.IntN(4) > 0 {
					lines += random.IntN(crashLines)
				}
				point := ""
				if failpoint.Enabled {
					point = fmt.Sprintf("%s=kill@%d", forkPoints[random.IntN(len(forkPoints))], 1+random.IntN(crashLines/4))
				}
				f.crash(t, place, mark, point, lines, time.Duration(random.Int64N(int64(crashPause))))
			}
			before := livingIn(t, mark)
			f.Anew(t, place)
			left := livingIn(t, mark)
			for pid := range left {
				_ = syscall.Kill(pid, syscall.SIGKILL) // what is left here is left for nobody else
			}
			if len(left) > 0 {
				t.Errorf("of %v are left %v", before, left)
			}
		})
	}
}

// forkPoints are where a daemon that was built for it kills itself, unless it is killed before.
var forkPoints = []string{"fork/before", "fork/after", "attempt/exited"}

// crash lets a daemon live for so many lines and a little longer, or until it comes to the fail-point.
func (f fixture) crash(t *testing.T, place, mark, point string, lines int, longer time.Duration) {
	t.Helper()
	daemon := f.Daemon(t, place)
	daemon.Dir = mark
	daemon.Env = append(daemon.Environ(), "SLOTD_FAILPOINTS="+point)
	var complaints bytes.Buffer
	daemon.Stderr = &complaints
	stdout, err := daemon.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := daemon.Start(); err != nil {
		t.Fatal(err)
	}
	told := bufio.NewScanner(stdout)
	for lines > 0 && told.Scan() {
		lines--
	}
	if lines == 0 {
		<-time.After(longer)
	}
	if err := daemon.Process.Kill(); err != nil && !errors.Is(err, os.ErrProcessDone) {
		t.Error(err)
	}
	_ = daemon.Wait() // with the error of the kill
	if lines > 0 && !strings.Contains(complaints.String(), "fail-point") {
		t.Fatalf("the daemon died by itself: %s", complaints.String())
	}
}

// livingIn returns the command lines of the live processes with that working directory.
func livingIn(t *testing.T, dir string) map[int]string {
	t.Helper()
	all, err := filepath.Glob("/proc/[0-9]*")
	if err != nil {
		t.Fatal(err)
	}
	living := make(map[int]string)
	for _, proc := range all {
		pid, err := strconv.Atoi(filepath.Base(proc))
		if err != nil {
			continue // not a process
		}
		if cwd, err := os.Readlink(proc + "/cwd"); err != nil || cwd != dir || !alive(pid) {
			continue
		}
		line, err := os.ReadFile(proc + "/cmdline")
		if err != nil {
			continue // it has gone
		}
		living[pid] = string(bytes.ReplaceAll(line, []byte{0}, []byte{' '}))
	}
	return living
}
