package verify

import (
	"fmt"
	"io"
	"io/fs"
	"os"

	"github.com/cockroachdb/pebble/v2/vfs"
)

// ReadOnly returns a view of a file system that refuses every change with fs.ErrPermission. A lock on it is given
// without one being taken: the lock file would have to be made.
func ReadOnly(disk vfs.FS) vfs.FS { return readOnly{disk} }

type readOnly struct{ vfs.FS }

type noLock struct{}

func (noLock) Close() error { return nil }

func refuse(verb, name string) error {
	return fmt.Errorf("%s %s read-only: %w", verb, name, fs.ErrPermission)
}

func (readOnly) Create(name string, _ vfs.DiskWriteCategory) (vfs.File, error) {
	return nil, refuse("create", name)
}

func (readOnly) Link(_, name string) error { return refuse("link", name) }

func (readOnly) OpenReadWrite(name string, _ vfs.DiskWriteCategory, _ ...vfs.OpenOption) (vfs.File, error) {
	return nil, refuse("open for writing", name)
}

func (readOnly) Remove(name string) error { return refuse("remove", name) }

func (readOnly) RemoveAll(name string) error { return refuse("remove", name) }

func (readOnly) Rename(name, _ string) error { return refuse("rename", name) }

func (readOnly) ReuseForWrite(name, _ string, _ vfs.DiskWriteCategory) (vfs.File, error) {
	return nil, refuse("reuse", name)
}

func (readOnly) MkdirAll(name string, _ os.FileMode) error { return refuse("make directory", name) }

func (readOnly) Lock(string) (io.Closer, error) { return noLock{}, nil }

// Unwrap hides the file system below: nobody gets around the refusals.
func (readOnly) Unwrap() vfs.FS { return nil }
