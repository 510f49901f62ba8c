package pebble

import (
	"errors"
	"io"
	"io/fs"
	"os"

	"github.com/cockroachdb/pebble/v2/vfs"
	"golang.org/x/sys/unix"
)

// What the store makes belongs to its user alone.
const (
	fileMode = 0o600
	dirMode  = 0o700
)

// disk is the file system below everything else of a store: it makes files that only their owner can read.
type disk struct{ vfs.FS }

// Create implements vfs.FS.
func (d disk) Create(name string, category vfs.DiskWriteCategory) (vfs.File, error) {
	return private(d.FS.Create(name, category))
}

// OpenReadWrite implements vfs.FS.
func (d disk) OpenReadWrite(name string, category vfs.DiskWriteCategory, opts ...vfs.OpenOption) (vfs.File, error) {
	return private(d.FS.OpenReadWrite(name, category, opts...))
}

// MkdirAll implements vfs.FS.
func (d disk) MkdirAll(dir string, _ os.FileMode) error { return d.FS.MkdirAll(dir, dirMode) }

// Lock implements vfs.FS. The file is made here, because the library would let others read it; one that is there is left
// alone, because to close it would give up a lock that this process holds.
func (d disk) Lock(name string) (io.Closer, error) {
	if _, err := d.Stat(name); errors.Is(err, fs.ErrNotExist) {
		f, err := d.Create(name, vfs.WriteCategoryUnspecified)
		if err != nil {
			return nil, err
		}
		if err := f.Close(); err != nil {
			return nil, err
		}
	}
	return d.FS.Lock(name)
}

// settle makes a directory that will still be there after a crash.
func (d disk) settle(dir string) error {
	above := []string{d.PathDir(dir)} // the directories that hold a new one
	for at := above[0]; at != d.PathDir(at); at = d.PathDir(at) {
		if _, err := d.Stat(at); err == nil {
			break
		}
		above = append(above, d.PathDir(at))
	}
	if err := d.MkdirAll(dir, dirMode); err != nil {
		return err
	}
	for _, at := range above {
		f, err := d.OpenDir(at)
		if err != nil {
			return err
		}
		if err := errors.Join(f.Sync(), f.Close()); err != nil {
			return err
		}
	}
	return nil
}

// Unwrap implements vfs.FS.
func (d disk) Unwrap() vfs.FS { return d.FS }

// private takes a file away from everybody else.
func private(file vfs.File, err error) (vfs.File, error) {
	if err != nil {
		return nil, err
	}
	if fd := file.Fd(); fd != vfs.InvalidFd {
		if err := unix.Fchmod(int(fd), fileMode); err != nil {
			return nil, errors.Join(err, file.Close())
		}
	}
	return file, nil
}

// cut makes a file end at a length, for good: what is behind it does not come back after a crash. It needs no room on
// the disk. sure is false when the file has been cut and only the last word of the disk on that is missing.
func (d disk) cut(path string, length int64) (sure bool, err error) {
	file, err := d.FS.OpenReadWrite(path, vfs.WriteCategoryUnspecified)
	if err != nil {
		return false, err
	}
	defer func() { err = errors.Join(err, file.Close()) }()
	if err := truncate(file, length); err != nil {
		return false, err
	}
	return true, file.Sync()
}

// truncate makes the file end, or, where there is no way to say so, makes what is behind the end read as never written.
func truncate(file vfs.File, length int64) error {
	if fd := file.Fd(); fd != vfs.InvalidFd {
		return unix.Ftruncate(int(fd), length)
	}
	info, err := file.Stat()
	if err != nil || info.Size() <= length {
		return err
	}
	_, err = file.WriteAt(make([]byte, info.Size()-length), length)
	return err
}
