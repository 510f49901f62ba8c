package pebble

import (
	"cmp"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"

	"slotd/actors/store"
	"slotd/actors/store/pebble/verify"
)

const (
	probeSize = 64 << 10 // bytes written to see whether the disk takes any
	spareRoom = 1 << 20  // bytes beside what the logs hold, to open with
)

// pace is how long the store waits for what when its disk has failed.
type pace struct {
	// certainty: for a disk that has cut off a log and does not confirm that it will remember, before it is believed to
	// hold what it gives to read; and for one that does not even do that, when the store is closed.
	certainty time.Duration
	// mourning: for an engine to be closed after a fault.
	mourning time.Duration
	// first to last: between looks whether the disk has healed.
	first, last time.Duration
	// open: at most, between attempts to open when the disk looks healed. Each may leave an engine behind.
	open time.Duration
}

var usualPace = pace{
	certainty: 3 * time.Second,
	mourning:  2 * time.Second,
	first:     50 * time.Millisecond,
	last:      2 * time.Second,
	open:      time.Minute,
}

// outage lasts from a fault until the store can be written again; then it returns a new life. nil: the store is closed.
//
// First it becomes certain of what was under way. The files are at rest behind the fence; logs and manifests are cut
// where the disk has confirmed them: what is behind that will not come back, whatever happens to the process. Then the
// directory is opened for reading: the groups it holds are acknowledged, all others refused. From then on whatever is
// committed is refused at once, readers are served from there, and a goroutine waits for the disk to heal.
func (s *Store) outage(l *life) *life {
	fault := l.fence.fault.Load()
	s.log.Error("store cannot be written", "error", fault)
	s.retire(l, fault)
	last := s.conclude(l)
	if last == nil {
		return nil
	}

	stop := make(chan struct{})
	healed := make(chan *life, 1)
	s.routines.Go(func() { s.abandon(l, last) })
	s.routines.Go(func() { healed <- s.heal(stop) })
	for {
		s.refuse(s.trouble(), func() {})
		if s.closing() {
			close(stop)
			return s.withdraw(<-healed)
		}
		select {
		case next := <-healed:
			s.refuse(fault, func() { s.replace(next) })
			s.log.Info("store can be written again")
			return next
		case <-s.wake:
		}
	}
}

// retire takes from a life what it had: from now on its goroutines neither apply nor answer.
func (s *Store) retire(l *life, fault *FaultError) {
	s.answering.Lock()
	defer s.answering.Unlock()
	s.mu.Lock()
	defer s.mu.Unlock()
	l.retired, s.problem = true, fault
}

// replace makes the store go on with a new life. The caller holds the lock.
func (s *Store) replace(next *life) {
	last := s.begin(next)
	s.routines.Go(func() {
		<-last.vacated
		if err := last.close(); err != nil {
			s.log.Debug("view closed", "error", err)
		}
	})
}

// withdraw closes a life that came too late.
func (s *Store) withdraw(l *life) *life {
	if l != nil {
		if err := l.close(); err != nil {
			s.log.Warn("store closed with an error", "error", err)
		}
	}
	return nil
}

func (s *Store) closing() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.closed
}

// trouble is why nothing can be written.
func (s *Store) trouble() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.problem
}

// troubled notes why it still cannot.
func (s *Store) troubled(fault *FaultError) {
	s.mu.Lock()
	last := s.problem
	s.problem = fault
	s.mu.Unlock()
	if known, ok := errors.AsType[*FaultError](last); !ok || known.Op != fault.Op {
		s.log.Warn("store still cannot be written", "error", fault)
	}
}

// conclude answers all that was under way when the disk failed, and returns what readers saw until then. It tries until
// it is certain; nil: it could not be in good time, and the store is closed. Then nobody knows what became of it.
func (s *Store) conclude(l *life) (last *view) {
	l.fence.rest()
	began := time.Now()
	for {
		late := time.Since(began) > s.cfg.pace.certainty
		v, commits, fault := s.ascertain(l.fence.unsynced(), late)
		if fault == nil {
			s.mu.Lock()
			last = s.show(&view{engine: v})
			s.mu.Unlock()
			s.sentence(commits)
			return last
		}
		s.troubled(fault)
		if late && s.closing() {
			for len(s.flight) > 0 {
				s.answer(s.flight[0], store.ErrClosed)
			}
			return nil
		}
		select {
		case <-s.wake:
		case <-time.After(s.cfg.pace.first):
		}
	}
}

// sentence acknowledges the groups up to a counter and refuses the others.
func (s *Store) sentence(commits uint64) {
	var err error
	for len(s.flight) > 0 {
		g := s.flight[0]
		if err == nil && (g.err != nil || g.batch != nil && g.counter > commits) {
			err = cmp.Or(g.err, s.trouble())
		}
		s.answer(g, err)
	}
	s.acked = commits
	s.mu.Lock()
	s.refusing = false
	s.mu.Unlock()
}

// ascertain cuts off what no disk has confirmed and opens what remains, for reading.
func (s *Store) ascertain(logs map[string]int64, lenient bool) (engine, uint64, *FaultError) {
	for path, length := range logs {
		if sure, err := s.disk.cut(path, length); err != nil && (!sure || !lenient) {
			return engine{}, 0, &FaultError{Dir: s.cfg.Dir, Op: "cut", Path: path, Err: err}
		}
	}
	v, commits, err := s.look()
	if err == nil && commits < s.acked {
		err = errors.Join(fmt.Errorf("acknowledged commits %d to %d are missing", commits+1, s.acked), v.close())
	}
	if err != nil {
		return engine{}, 0, &FaultError{Dir: s.cfg.Dir, Op: "read it back", Err: err}
	}
	return v, commits, nil
}

// heal tries to begin another life until it can, or until stop.
func (s *Store) heal(stop <-chan struct{}) *life {
	try, again := s.cfg.pace.first, s.cfg.pace.first
	for {
		select {
		case <-stop:
			return nil
		case <-time.After(try):
		}
		if err := s.probe(); err != nil {
			s.troubled(&FaultError{Dir: s.cfg.Dir, Op: "probe", Err: err})
			try = min(2*try, s.cfg.pace.last)
			continue
		}
		l, err := s.reopen()
		if err == nil {
			return l
		}
		s.troubled(&FaultError{Dir: s.cfg.Dir, Op: "open it again", Err: err})
		again = min(2*again, s.cfg.pace.open) // what fails to open may leave an engine behind
		try = again
	}
}

// reopen trusts the directory again when it has been verified and holds what was acknowledged, no more and no less.
func (s *Store) reopen() (*life, error) {
	report, err := verify.Check(s.disk, s.cfg.Dir)
	if err != nil {
		return nil, err
	}
	if report.Commits != s.acked {
		return nil, fmt.Errorf("it holds %d commits in place of %d", report.Commits, s.acked)
	}
	return s.open(s.acked)
}

// probe writes a file and removes it, when there seems to be room for more than that.
func (s *Store) probe() error {
	if err := s.room(); err != nil {
		return err
	}
	path := s.disk.PathJoin(s.cfg.Dir, "PROBE")
	file, err := s.disk.Create(path, vfs.WriteCategoryUnspecified)
	if err != nil {
		return err
	}
	_, err = file.Write(make([]byte, probeSize))
	if err == nil {
		err = file.Sync()
	}
	return errors.Join(err, file.Close(), s.disk.Remove(path))
}

// room tells whether there is space to write what the logs hold into tables, which an engine does when it is opened. A
// file system that does not tell has room.
func (s *Store) room() error {
	usage, err := s.disk.GetDiskUsage(s.cfg.Dir)
	if errors.Is(err, vfs.ErrUnsupported) {
		return nil
	}
	if err != nil {
		return err
	}
	names, err := s.disk.List(s.cfg.Dir)
	if err != nil {
		return err
	}
	need := uint64(spareRoom)
	for _, name := range names {
		if !strings.HasSuffix(name, ".log") {
			continue
		}
		info, err := s.disk.Stat(s.disk.PathJoin(s.cfg.Dir, name))
		if err != nil {
			return err
		}
		need += uint64(info.Size())
	}
	if need = min(need, usage.TotalBytes/4); usage.AvailBytes < need {
		return fmt.Errorf("%d bytes are free, %d are needed", usage.AvailBytes, need)
	}
	return nil
}
