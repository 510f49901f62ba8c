package subprocess

import (
	"bytes"
	"maps"
	"slices"

	"github.com/hashicorp/go-hclog"
	"golang.org/x/sys/unix"
)

// forest is what the process table says of all attempts. It belongs to one goroutine.
type forest struct {
	self     stat
	branches map[int]*branch            // by the pid of the leader, which is not reaped before the branch is removed
	leaving  map[int]uint64             // leaders of removed branches that are not reaped yet: pid and start
	members  map[*branch]map[int]uint64 // as last counted, with start times; dead ones that wait for their parent included
	sight    sight
	log      hclog.Logger

	table map[int]stat    // of the present count
	owner map[int]*branch // of the present count; nil: nobody's
}

// sight is how far the last count can be trusted.
type sight uint8

const (
	blind  sight = iota // the process table could not be read
	blurry              // processes were started while it was read, so one that forks and exits may have slipped through
	sharp
)

func newForest(self stat, log hclog.Logger) *forest {
	return &forest{self: self, log: log, branches: make(map[int]*branch), members: make(map[*branch]map[int]uint64), leaving: make(map[int]uint64)}
}

// add puts the branch of a fresh child into the forest, and the child into the journal.
func (f *forest) add(b *branch, pid int) {
	var err error
	if b.leader, err = readStat(pid); err != nil {
		b.leader.pid = pid
	} else {
		err = b.record.complete(b.leader.life())
	}
	if err != nil {
		// It is there, since nobody has reaped it, and its environment tells a later daemon whose it is.
		f.log.Error("leader cannot be recorded", "attempt", b.name, "error", err)
	}
	f.branches[pid] = b
}

// remove forgets a branch that is dead. Its leader stays known until it has been reaped: it is nobody's orphan.
func (f *forest) remove(b *branch) {
	delete(f.branches, b.leader.pid)
	delete(f.members, b)
	f.leaving[b.leader.pid] = b.leader.start
}

// signal sends sigs to every process of the branch, the leader included.
func (f *forest) signal(b *branch, sigs ...unix.Signal) error {
	if f.branches[b.leader.pid] != b {
		return nil
	}
	return signalAll(func() ([]int, error) {
		err := f.count()
		return f.living(b), err
	}, sigs...)
}

// living lists the live processes of the branch.
func (f *forest) living(b *branch) []int {
	alive := func(pid int) bool { s, ok := f.table[pid]; return ok && !s.dead() }
	var all []int
	if alive(b.leader.pid) {
		all = append(all, b.leader.pid)
	}
	for pid := range f.members[b] {
		if alive(pid) {
			all = append(all, pid)
		}
	}
	return all
}

// count looks at every process and says whose it is. Dead orphans are reaped on the way. When it fails, sight is blind
// and the members are those of the count before.
func (f *forest) count() error {
	before := lastPid()
	if err := f.read(); err != nil {
		f.log.Error("process table cannot be read", "error", err)
		f.sight = blind
		return err
	}
	counted := make(map[*branch]map[int]uint64, len(f.branches))
	for pid, s := range maps.Clone(f.table) {
		b := f.ownerOf(pid)
		if b == nil || pid == b.leader.pid {
			continue
		}
		if s.dead() && f.table[pid].parent == f.self.pid {
			reapOrphan(pid)
			continue
		}
		if counted[b] == nil {
			counted[b] = make(map[int]uint64)
		}
		counted[b][pid] = s.start
	}
	f.members = counted
	f.sight = blurry
	if before != "" && before == lastPid() {
		f.sight = sharp
	}
	return nil
}

func (f *forest) read() error {
	table, err := readTable()
	if err != nil {
		return err
	}
	f.table, f.owner = table, make(map[int]*branch)
	return nil
}

// ownerOf says to which branch a process of the table belongs, by the best evidence there is: it is a leader, it was
// counted there before, its parent belongs there, its session or group is a leader's, its environment says so, or there
// is no other attempt that could have started it.
func (f *forest) ownerOf(pid int) *branch {
	if b, known := f.owner[pid]; known {
		return b
	}
	f.owner[pid] = nil // also ends a walk in a circle, which an inconsistent table may hold
	s, ok := f.table[pid]
	if !ok || pid == f.self.pid || !f.descends(pid) {
		return nil
	}
	if start, leaving := f.leaving[pid]; leaving && start == s.start {
		return nil
	}
	b := f.identify(s)
	f.owner[pid] = b
	return b
}

func (f *forest) identify(s stat) *branch {
	if b := f.branches[s.pid]; b != nil && b.leader.start == s.start {
		return b
	}
	for b, members := range f.members {
		if start, ok := members[s.pid]; ok && start == s.start {
			return b
		}
	}
	if f.table[s.pid].parent != f.self.pid {
		if b := f.ownerOf(f.table[s.pid].parent); b != nil {
			return b
		}
	}
	if s.session == f.self.session {
		return nil // a child of some other part of this program
	}
	if b := f.branches[s.session]; b != nil {
		return b
	}
	if b := f.branches[s.group]; b != nil {
		return b
	}
	if b := f.marked(s.pid); b != nil {
		return b
	}
	return f.heirless(s)
}

// marked finds the branch that a process's environment names.
func (f *forest) marked(pid int) *branch {
	name := markOf(pid)
	for _, b := range f.branches {
		if b.name == name {
			return b
		}
	}
	return nil
}

// heirless gives a process without any mark to the only attempt that is old enough to have started it. While there are
// several, it is left alone: the last of them will end it.
func (f *forest) heirless(s stat) *branch {
	older := slices.DeleteFunc(slices.Collect(maps.Values(f.branches)), func(b *branch) bool {
		return b.leader.start > s.start
	})
	if len(older) == 1 {
		return older[0]
	}
	return nil
}

// descends says whether a process is below this one. A parent that is missing from the table has died since the child
// was read, so the child is read again.
func (f *forest) descends(pid int) bool {
	for range len(f.table) + 1 {
		s, ok := f.table[pid]
		if !ok {
			return false
		}
		if _, ok := f.table[s.parent]; !ok && s.parent > 0 {
			var err error
			if s, err = readStat(pid); err != nil {
				return false
			}
			f.table[pid] = s
		}
		if s.parent == f.self.pid {
			return true
		}
		pid = s.parent
	}
	return false
}

// lastPid is the pid that was given out last in this pid namespace, as text.
func lastPid() string {
	var buf [128]byte
	text, err := readInto(buf[:], "/proc/loadavg")
	if err != nil {
		return ""
	}
	return string(text[bytes.LastIndexByte(text, ' ')+1:])
}
