package cert

import (
	"os"
	"syscall"
	"time"
)

// stamp tells one state of a file from another.
type stamp struct {
	changed time.Time
	size    int64
	inode   uint64
	mode    os.FileMode
}

func (k *Keeper) stamps() (all [3]stamp) {
	for i, path := range []string{k.files.Cert, k.files.Key, k.files.CA} {
		if path != "" {
			all[i] = stampOf(path)
		}
	}
	return all
}

// stampOf is zero when the file cannot be looked at: reading it will say why.
func stampOf(path string) stamp {
	info, err := os.Stat(path)
	if err != nil {
		return stamp{}
	}
	s := stamp{changed: info.ModTime().UTC(), size: info.Size(), mode: info.Mode()}
	if stat, ok := info.Sys().(*syscall.Stat_t); ok {
		s.inode = stat.Ino
	}
	return s
}
