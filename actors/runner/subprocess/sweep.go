package subprocess

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/hashicorp/go-hclog"
	"golang.org/x/sys/unix"
)

// sweep kills and removes what daemons that live no more have left. It may itself be killed at any moment: first all
// processes die, then the control groups go, and the homes that led to them last.
type sweep struct {
	dir  string // of homes
	base string // control group beside which others may be; may be empty
	self identity
	log  hclog.Logger
	end  time.Time // when it gives up

	groups   []*remnant
	homes    []deserted
	evidence *evidence
}

// remnant is the control group of a dead daemon. One that no home of ours leads to belonged to a daemon with another
// directory: it is cleared away as a courtesy, which may fail.
type remnant struct {
	*group

	ours bool
}

// weigh says whether a failure concerns us.
func (r *remnant) weigh(err error, log hclog.Logger) error {
	if err != nil && !r.ours {
		log.Warn("what a daemon with another directory left cannot be cleared away", "cgroup", r.dir, "error", err)
		return nil
	}
	return err
}

// deserted is the home of a dead daemon.
type deserted struct {
	home

	owner identity
}

// sweepLimit is how long processes may take to die of SIGKILL.
const sweepLimit = 10 * time.Second

// newSweep prepares a sweep of dir and of what is beside the control group base.
func newSweep(dir, base string, self identity, log hclog.Logger) *sweep {
	return &sweep{dir: dir, base: base, self: self, log: log, end: time.Now().Add(sweepLimit), evidence: newEvidence()}
}

// run returns once nothing is left, or with an error that names what is. Then whatever is needed to find it again is kept.
func (s *sweep) run() error {
	defer func() {
		for _, h := range s.homes {
			closeFD(h.lock)
		}
	}()
	if err := errors.Join(s.findGroups(), s.findHomes()); err != nil {
		return err
	}
	if err := s.kill(); err != nil {
		return err
	}
	var problems []error
	for _, g := range s.groups {
		problems = append(problems, g.weigh(g.remove(), s.log))
	}
	if err := errors.Join(problems...); err != nil {
		return err
	}
	for _, h := range s.homes {
		problems = append(problems, os.RemoveAll(h.dir))
	}
	return errors.Join(problems...)
}

// findGroups finds the control groups beside our own.
func (s *sweep) findGroups() error {
	entries, err := os.ReadDir(s.base)
	if err != nil && !vanished(err) {
		return err
	}
	for _, e := range entries {
		if owner, ok := parseIdentity(e.Name()); ok && e.IsDir() && owner.dead(s.self) {
			s.groups = append(s.groups, &remnant{group: openGroup(filepath.Join(s.base, e.Name()))})
		}
	}
	return nil
}

// findHomes finds the homes of dead daemons, and the control groups that are noted there.
func (s *sweep) findHomes() error {
	entries, err := os.ReadDir(s.dir)
	if err != nil && !vanished(err) {
		return err
	}
	for _, e := range entries {
		owner, ok := parseIdentity(e.Name())
		if !ok || !e.IsDir() {
			continue
		}
		h := deserted{home{dir: filepath.Join(s.dir, e.Name()), lock: -1}, owner}
		dead, err := s.judge(&h)
		if err != nil {
			return err
		}
		if !dead {
			continue
		}
		s.homes = append(s.homes, h)
		note, err := os.ReadFile(filepath.Join(h.dir, groupNote))
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
		// A group is that daemon's only if its name says so itself.
		if of, ok := parseIdentity(filepath.Base(string(note))); ok && of == owner {
			s.claim(string(note))
		}
	}
	return nil
}

// judge says whether the daemon of a home is dead. One whose pid means nothing here, because it lived before the machine
// was booted or in another container, is dead when it does not hold its lock; that lock is kept. The former format had
// no lock.
func (s *sweep) judge(h *deserted) (dead bool, err error) {
	if h.owner.sameLives(s.self) {
		return h.owner.dead(s.self), nil
	}
	if h.owner.boot == "" {
		return false, nil
	}
	h.lock, err = takeOver(h.dir)
	if errors.Is(err, unix.EWOULDBLOCK) {
		return false, nil
	}
	return err == nil, err
}

// claim says that a control group is one of ours, whether or not it was found already.
func (s *sweep) claim(path string) {
	for _, g := range s.groups {
		if g.dir == path {
			g.ours = true
			return
		}
	}
	if _, err := os.Stat(path); !errors.Is(err, fs.ErrNotExist) {
		s.groups = append(s.groups, &remnant{group: openGroup(path), ours: true})
	}
}

// kill returns once no process of the dead daemons lives. The groups come first: a child that is stuck before exec dies
// with them, and gives the lock of its home free.
func (s *sweep) kill() error {
	for _, g := range s.groups {
		if _, inside, ok := strings.Cut(s.base+"/", "/"+filepath.Base(g.dir)+"/"); ok {
			attempt, _, _ := strings.Cut(inside, "/")
			return &startedByError{attempt}
		}
	}
	for _, g := range s.groups {
		s.log.Info("killing what an earlier daemon left", "cgroup", g.dir)
		if err := g.weigh(g.kill(), s.log); err != nil {
			return err
		}
	}
	for _, g := range s.groups {
		if err := g.weigh(g.await(s.end), s.log); err != nil {
			return err
		}
	}
	for i := range s.homes {
		if err := s.lock(&s.homes[i]); err != nil {
			return err
		}
	}
	if err := s.gather(); err != nil {
		return err
	}
	err := s.evidence.kill(s.end)
	if n := len(s.evidence.proven); n > 0 {
		s.log.Info("killed what an earlier daemon left", "processes", n)
	}
	return err
}

// lock waits until no child of the dead daemon is on its way from fork to exec.
func (s *sweep) lock(h *deserted) (err error) {
	if h.lock < 0 {
		h.lock, err = awaitLock(h.dir, s.end)
	}
	return err
}

// gather reads which attempts ran when their daemon died: a leaf or an entry of the journal tells, and a script. What
// ran before the machine was booted runs no more.
func (s *sweep) gather() error {
	for _, g := range s.groups {
		if g.ours {
			if err := s.gatherNames(g.dir); err != nil {
				return err
			}
		}
	}
	for _, h := range s.homes {
		if h.owner.boot != "" && h.owner.boot != s.self.boot {
			continue
		}
		if err := s.gatherNames(h.dir); err != nil {
			return err
		}
		attempts, err := readJournal(h.dir)
		if err != nil {
			return err
		}
		for attempt, leader := range attempts {
			s.evidence.name(attempt)
			if leader.pid > 0 && h.owner.sameLives(s.self) {
				s.evidence.lead(attempt, leader)
			}
		}
	}
	return nil
}

func (s *sweep) gatherNames(dir string) error {
	entries, err := os.ReadDir(dir)
	if err != nil && !vanished(err) {
		return err
	}
	for _, e := range entries {
		if e.IsDir() {
			s.evidence.name(e.Name())
		}
	}
	return nil
}
