package subprocess

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"
)

// journal names the attempts that run, for a later daemon that has to find what this one left. Every attempt has a file,
// `<task id>-<attempt>`, from before the fork until its tree is dead; it holds pid and start time of the leader as soon as
// there is one. Boot and pid namespace are in the name of the home.
//
// Nothing is synced: the files outlive the daemon, and the processes do not outlive the machine.
type journal struct{ dir string }

// entry is the file of one attempt.
type entry struct {
	path string
	fd   int // until the leader is recorded, else -1
}

// entryWidth is the length of an entry. It is written in full before the fork, so that a full disk prevents the attempt
// and not the record of it.
const entryWidth = 48

func openJournal(home string) (journal, error) {
	j := journal{dir: filepath.Join(home, journalDir)}
	return j, os.Mkdir(j.dir, 0o700)
}

// begin records that an attempt is about to be started.
func (j journal) begin(name string) (*entry, error) {
	e := &entry{path: filepath.Join(j.dir, name)}
	var err error
	if e.fd, err = unix.Open(e.path, unix.O_WRONLY|unix.O_CREAT|unix.O_EXCL|unix.O_CLOEXEC, 0o600); err != nil {
		return nil, &os.PathError{Op: "create", Path: e.path, Err: err}
	}
	if err := e.write(""); err != nil {
		return nil, errors.Join(err, e.end())
	}
	return e, nil
}

// complete records the leader.
func (e *entry) complete(leader life) error {
	err := e.write(fmt.Sprintf("%d %d", leader.pid, leader.start))
	e.close()
	return err
}

func (e *entry) write(text string) error {
	n, err := unix.Pwrite(e.fd, fmt.Appendf(nil, "%-*s\n", entryWidth-1, text), 0)
	if err == nil && n < entryWidth {
		err = unix.ENOSPC
	}
	if err != nil {
		return &os.PathError{Op: "write", Path: e.path, Err: err}
	}
	return nil
}

// end forgets the attempt.
func (e *entry) end() error {
	e.close()
	if err := unix.Unlink(e.path); err != nil {
		return &os.PathError{Op: "unlink", Path: e.path, Err: err}
	}
	return nil
}

func (e *entry) close() {
	if e.fd >= 0 {
		closeFD(e.fd)
	}
	e.fd = -1
}

// readJournal lists the attempts in the journal of a home, with their leaders as far as they were recorded. A daemon that
// finds its trees otherwise keeps none.
func readJournal(home string) (map[string]life, error) {
	dir := filepath.Join(home, journalDir)
	files, err := os.ReadDir(dir)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	attempts := make(map[string]life, len(files))
	for _, f := range files {
		text, err := os.ReadFile(filepath.Join(dir, f.Name()))
		if err != nil {
			return nil, err
		}
		var leader life
		if _, err := fmt.Sscanf(string(text), "%d %d", &leader.pid, &leader.start); err != nil {
			leader = life{} // the daemon died before it knew
		}
		attempts[f.Name()] = leader
	}
	return attempts, nil
}
