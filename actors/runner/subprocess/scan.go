package subprocess

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/hashicorp/go-hclog"
	"golang.org/x/sys/unix"
)

// scan finds trees by looking through the process table. This process is a child subreaper, so whatever an attempt
// starts stays among its descendants; and since every leader begins a session, no descendant of one can ever come back
// into the session of this process.
//
// What was started is recorded in a journal, because the descent from this process ends with it.
//
// One goroutine owns the forest: it forks, so that no fresh leader is ever taken for an orphan, and it counts.
type scan struct {
	journal      journal
	asks         chan ask
	quit, done   chan struct{}
	wasSubreaper bool
	log          hclog.Logger
}

// ask is a wish to the owner of the forest. Those that want a fresh count and wait together share one.
type ask struct {
	count bool
	act   func(*forest)
	acted chan struct{}
}

func newScan(home string, log hclog.Logger) (*scan, error) {
	self, err := readStat(os.Getpid())
	if err != nil {
		return nil, err
	}
	s := &scan{asks: make(chan ask), quit: make(chan struct{}), done: make(chan struct{}), wasSubreaper: isSubreaper(), log: log}
	if s.journal, err = openJournal(home); err != nil {
		return nil, err
	}
	if err := setSubreaper(true); err != nil {
		return nil, fmt.Errorf("become a child subreaper: %w", err)
	}
	go s.own(newForest(self, log))
	return s, nil
}

func (s *scan) own(f *forest) {
	defer close(s.done)
	for {
		select {
		case a := <-s.asks:
			s.serve(f, a)
		case <-s.quit:
			return
		}
	}
}

// serve grants one wish and those that wait behind it.
func (s *scan) serve(f *forest, first ask) {
	batch := []ask{first}
	for more := true; more; {
		select {
		case a := <-s.asks:
			batch = append(batch, a)
		default:
			more = false
		}
	}
	counted := false
	for _, a := range batch {
		if a.count && !counted {
			_ = f.count() // sight says how it went
			counted = true
		}
		a.act(f)
		close(a.acted)
	}
}

// do lets the owner act and waits for it. After close it does nothing and says false.
func (s *scan) do(count bool, act func(*forest)) bool {
	a := ask{count: count, act: act, acted: make(chan struct{})}
	select {
	case s.asks <- a:
		<-a.acted
		return true
	case <-s.done:
		return false
	}
}

func (s *scan) start(name string, fork func(*syscall.SysProcAttr) (int, error)) (tree, error) {
	record, err := s.journal.begin(name)
	if err != nil {
		return nil, err
	}
	b := &branch{scan: s, name: name, record: record}
	err = errors.New("the runner is closed")
	s.do(false, func(f *forest) {
		var pid int
		if pid, err = fork(&syscall.SysProcAttr{Setsid: true}); err == nil {
			f.add(b, pid)
		}
	})
	if err != nil {
		return nil, errors.Join(err, record.end())
	}
	return b, nil
}

// close kills what still runs and waits until it is dead. Its leaders are left to whoever waits for them.
func (s *scan) close() error {
	deadline := time.Now().Add(clearLimit)
	left := s.strikeAll()
	for pause := firstPause; left > 0 && time.Now().Before(deadline); pause = min(2*pause, lastPause) {
		time.Sleep(pause)
		left = s.strikeAll()
	}
	close(s.quit)
	<-s.done
	err := setSubreaper(s.wasSubreaper)
	if left > 0 {
		err = errors.Join(err, fmt.Errorf("%d processes survive SIGKILL", left))
	}
	return err
}

func (s *scan) strikeAll() (left int) {
	s.do(true, func(f *forest) {
		for _, b := range f.branches {
			_ = f.signal(b, unix.SIGKILL) // what it missed is among those left
			left += len(f.living(b))
		}
	})
	return left
}

// branch is the tree of one attempt.
type branch struct {
	scan   *scan
	name   string // <task id>-<attempt>
	record *entry
	leader stat
	dying  atomic.Bool // kill was called
}

func (b *branch) terminate() error { return b.signal(stopSignals...) }

func (b *branch) kill() error {
	b.dying.Store(true)
	return b.signal(unix.SIGKILL)
}

func (b *branch) signal(sigs ...unix.Signal) error {
	var err error
	b.scan.do(false, func(f *forest) { err = f.signal(b, sigs...) })
	return err
}

func (b *branch) strayed() bool { return false }

// settled counts until it is sure: a process may hide from one count by forking and exiting while it is taken.
func (b *branch) settled() bool {
	for counts := 1; ; counts++ {
		empty, sure := false, false
		open := b.scan.do(true, func(f *forest) {
			empty = f.sight != blind && len(f.members[b]) == 0
			sure = f.sight == sharp || counts == emptyCounts
			if empty && sure {
				f.remove(b)
			}
		})
		if !open || !empty || sure {
			return empty || !open // close has killed everything
		}
	}
}

// emptyCounts in a row are believed even if processes were started somewhere on the machine during each of them.
const emptyCounts = 3

func (b *branch) settle() {
	for pause := firstPause; !b.settled(); pause = min(2*pause, lastPause) {
		if b.dying.Load() {
			_ = b.signal(unix.SIGKILL) // what it missed, the next one meets
		}
		time.Sleep(pause)
	}
}

// release forgets the leader, which has been reaped. The orphans were reaped as they were counted.
func (b *branch) release() {
	b.scan.do(false, func(f *forest) { delete(f.leaving, b.leader.pid) })
	if err := b.record.end(); err != nil && !errors.Is(err, fs.ErrNotExist) { // Close may have been faster
		b.scan.log.Error("journal entry stays behind", "attempt", b.name, "error", err)
	}
}
