package subprocess

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/hashicorp/go-hclog"
)

// groupNote is the file in a daemon's directory that says where its control group is.
const groupNote = "cgroup"

// sweep kills and removes what daemons that live no more have left: control groups beside our own (below base, which may
// be empty), those noted in the daemons' directories below dir, and these directories with their scripts.
func sweep(dir, base string, self identity, log hclog.Logger) error {
	var problems []error
	remove := func(path string) bool {
		if _, err := os.Stat(path); errors.Is(err, fs.ErrNotExist) {
			return true
		}
		g := openGroup(path)
		log.Info("killing what an earlier daemon left", "cgroup", path)
		err := g.clear()
		problems = append(problems, err)
		return err == nil
	}
	for _, path := range orphaned(base, self) {
		remove(path)
	}
	for _, path := range orphaned(dir, self) {
		note, err := os.ReadFile(filepath.Join(path, groupNote))
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			problems = append(problems, err)
			continue
		}
		// A group is ours to clear only if its name says so itself.
		owner, ok := parseIdentity(filepath.Base(string(note)))
		if ok && owner.dead(self) && !remove(string(note)) {
			continue // the note is still needed
		}
		problems = append(problems, os.RemoveAll(path))
	}
	return errors.Join(problems...)
}

// orphaned lists the directories in dir that belong to daemons that are certainly dead.
func orphaned(dir string, self identity) []string {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return nil
	}
	var all []string
	for _, e := range entries {
		if owner, ok := parseIdentity(e.Name()); ok && e.IsDir() && owner.dead(self) {
			all = append(all, filepath.Join(dir, e.Name()))
		}
	}
	return all
}
