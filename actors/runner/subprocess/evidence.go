package subprocess

import (
	"fmt"
	"maps"
	"os"
	"slices"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// evidence is what dead daemons have left in writing about their attempts, and what has been proven with it. A process
// belongs to an attempt when
//
//   - it is the leader that the journal records,
//   - its environment names the attempt (task ids are unique, whoever has one in the environment got it from slotd),
//   - its parent belongs to the attempt,
//   - the process that began its session belongs to the attempt, or the session is the one that the recorded leader began
//     and somebody proven is in it: as long as anybody is in a session, its number is not given to another process,
//   - or it was proven so a moment ago.
//
// It belongs to one goroutine.
type evidence struct {
	names   map[string]bool // of attempts
	leaders map[life]string // to the attempt's name
	begun   map[string]int  // the pid of an attempt's leader, which is also its session
	proven  map[life]string // all that was ever proven
	table   map[int]stat    // of the present look
	whose   map[int]string  // of the present look: the attempt's name by pid
}

func newEvidence() *evidence {
	return &evidence{
		names: make(map[string]bool), leaders: make(map[life]string), begun: make(map[string]int), proven: make(map[life]string),
	}
}

// name adds an attempt of which only the name is known.
func (e *evidence) name(attempt string) { e.names[attempt] = true }

// lead adds the leader of an attempt.
func (e *evidence) lead(attempt string, leader life) {
	e.leaders[leader] = attempt
	e.begun[attempt] = leader.pid
}

// look searches the process table anew. It fails when it finds this very process.
func (e *evidence) look() error {
	table, err := readTable()
	if err != nil {
		return err
	}
	e.judge(table)
	if attempt := e.whose[os.Getpid()]; attempt != "" {
		return &startedByError{attempt}
	}
	return nil
}

// judge says of every process of a table to which attempt it is proven to belong.
func (e *evidence) judge(table map[int]stat) {
	e.table, e.whose = table, make(map[int]string)
	sessions := make(map[int]string)
	for pid, s := range table {
		attempt := e.direct(s)
		if attempt == "" {
			continue
		}
		e.whose[pid] = attempt
		// Session 0 is that of kernel threads, and of whoever came from outside this pid namespace.
		if s.session > 0 && s.session == e.begun[attempt] {
			sessions[s.session] = attempt
		}
	}
	for grown := true; grown; {
		grown = false
		for pid, s := range table {
			if e.whose[pid] != "" {
				continue
			}
			for _, attempt := range []string{e.whose[s.parent], e.whose[s.session], sessions[s.session]} {
				if attempt != "" {
					e.whose[pid], grown = attempt, true
					break
				}
			}
		}
	}
	for pid, attempt := range e.whose {
		e.proven[table[pid].life()] = attempt
	}
}

// direct says to which attempt a process belongs by what it is itself.
func (e *evidence) direct(s stat) string {
	if attempt := e.proven[s.life()]; attempt != "" {
		return attempt
	}
	if attempt := e.leaders[s.life()]; attempt != "" {
		return attempt
	}
	if attempt := markOf(s.pid); e.names[attempt] {
		return attempt
	}
	return ""
}

// living lists the proven processes that are not dead.
func (e *evidence) living() ([]int, error) {
	if err := e.look(); err != nil {
		return nil, err
	}
	return slices.DeleteFunc(slices.Sorted(maps.Keys(e.whose)), func(pid int) bool { return e.table[pid].dead() }), nil
}

// emptyLooks in a row are believed. From one look a process may hide: by forking and exiting while it is taken, or by
// executing something, when for a moment it has no environment.
const emptyLooks = 3

// kill ends every process that is proven to belong to one of the attempts, again and again until none is found.
func (e *evidence) kill(deadline time.Time) error {
	if len(e.names) == 0 {
		return nil
	}
	empty := 0
	for pause := firstPause; empty < emptyLooks; pause = min(2*pause, lastPause) {
		missed := signalAll(e.living, unix.SIGKILL)
		left, err := e.living()
		empty++
		switch {
		case err != nil:
			return err
		case len(left) == 0:
		case time.Now().After(deadline):
			return e.survival(left, missed)
		default:
			empty = 0
		}
		time.Sleep(pause)
	}
	return nil
}

// startedByError says that this very process belongs to what it would have to kill.
type startedByError struct{ attempt string }

func (e *startedByError) Error() string {
	return fmt.Sprintf("this process was started by attempt %s of an earlier daemon, which has to be killed with all it "+
		"started; start the daemon from elsewhere", e.attempt)
}

// survival names those that live on.
func (e *evidence) survival(left []int, missed error) error {
	var all []string
	for _, pid := range left {
		all = append(all, e.table[pid].describe(e.whose[pid]))
	}
	if missed != nil {
		return fmt.Errorf("survive SIGKILL: %s (%w)", strings.Join(all, ", "), missed)
	}
	return fmt.Errorf("survive SIGKILL: %s", strings.Join(all, ", "))
}
