package pebble

import (
	"errors"
	"io"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"github.com/cockroachdb/errors/oserror"
	"github.com/cockroachdb/pebble/v2/vfs"
)

// errFenced is the answer to whoever still wants to change something after a fault.
var errFenced = errors.New("the store's files are fenced off after a fault")

// fence is the file system as one database sees it. The first change that fails trips it, and from then on nobody gets
// through to change anything: whatever an engine still does after its disk has failed, the files are at rest.
//
// An engine is not told of the failure. Some of its reactions end the process without a way to prevent it: when it
// cannot close a log, it panics while it has let go of a mutex that a deferred call lets go of again. Whoever has made
// or makes a change is held instead, inside of it, for good or until release. Reading goes on.
//
// The fence also knows how much of each log is certain to be on the disk, see unsynced.
type fence struct {
	vfs.FS
	dir string

	// gate is held for reading by whoever changes something, so that holding it for writing means that nobody does.
	gate     sync.RWMutex
	fault    atomic.Pointer[FaultError]
	tripped  chan struct{} // closed with the first fault
	fatal    chan struct{} // closed when the engine wants to end the process
	dying    sync.Once
	released chan struct{} // closed to let those go that are held

	extents
}

func newFence(fs vfs.FS, dir string) *fence {
	return &fence{
		FS: fs, dir: dir,
		tripped:  make(chan struct{}),
		fatal:    make(chan struct{}),
		released: make(chan struct{}),
		extents:  extents{files: make(map[string]*extent)},
	}
}

// trip notes the first fault.
func (f *fence) trip(op, path string, err error) {
	if f.fault.CompareAndSwap(nil, &FaultError{Dir: f.dir, Op: op, Path: path, Err: err}) {
		close(f.tripped)
	}
}

// change does something to the files, unless the fence has been tripped, and trips it when that fails.
func (f *fence) change(op, path string, do func() error) error {
	if f.attempt(op, path, do) {
		return nil
	}
	<-f.released
	time.Sleep(time.Millisecond) // an engine tries again at once, and for ever
	return errFenced
}

func (f *fence) attempt(op, path string, do func() error) bool {
	f.gate.RLock()
	defer f.gate.RUnlock()
	if f.fault.Load() != nil {
		return false
	}
	err := do()
	if err != nil {
		f.trip(op, path, err)
	}
	return err == nil
}

// rest waits until nobody is changing anything. Once the fence has been tripped, it stays so.
func (f *fence) rest() {
	f.gate.Lock()
	defer f.gate.Unlock()
}

// release lets those go that are held, with an error. The fence must have been tripped, and nobody may be about to
// write through the engine.
func (f *fence) release() { close(f.released) }

// die holds whoever finds that the process must end.
func (f *fence) die() {
	f.dying.Do(func() { close(f.fatal) })
	select {}
}

// guard does something with an engine that may not come back from it: after a fault its goroutine is left behind.
func (f *fence) guard(do func() error) error {
	select {
	case err := <-apart(do):
		return err
	case <-f.tripped:
		return f.fault.Load()
	}
}

// apart does something in a goroutine of its own. A panic of the engine is an error like others.
func apart(do func() error) <-chan error {
	end := make(chan error, 1)
	go func() {
		defer func() {
			if p := recover(); p != nil {
				end <- panicked(p)
			}
		}()
		end <- do()
	}()
	return end
}

// Create implements vfs.FS.
func (f *fence) Create(name string, category vfs.DiskWriteCategory) (file vfs.File, err error) {
	err = f.change("create", name, func() (err error) {
		file, err = f.FS.Create(name, category)
		return err
	})
	if err != nil {
		return nil, err
	}
	return &fenced{File: file, fence: f, path: name, extent: f.fresh(name), ahead: aheadOf(name, file)}, nil
}

// OpenReadWrite implements vfs.FS.
func (f *fence) OpenReadWrite(name string, category vfs.DiskWriteCategory, opts ...vfs.OpenOption) (file vfs.File, err error) {
	err = f.change("open", name, func() (err error) {
		file, err = f.FS.OpenReadWrite(name, category, opts...)
		return err
	})
	if err != nil {
		return nil, err
	}
	return &fenced{File: file, fence: f, path: name, extent: f.known(name)}, nil
}

// ReuseForWrite implements vfs.FS.
func (f *fence) ReuseForWrite(oldname, newname string, category vfs.DiskWriteCategory) (file vfs.File, err error) {
	err = f.change("reuse", oldname, func() (err error) {
		file, err = f.FS.ReuseForWrite(oldname, newname, category)
		return err
	})
	if err != nil {
		return nil, err
	}
	f.forget(oldname)
	return &fenced{File: file, fence: f, path: newname, extent: f.fresh(newname), ahead: aheadOf(newname, file)}, nil
}

// OpenDir implements vfs.FS.
func (f *fence) OpenDir(name string) (vfs.File, error) {
	file, err := f.FS.OpenDir(name)
	if err != nil {
		return nil, err
	}
	return &fenced{File: file, fence: f, path: name, extent: new(extent)}, nil
}

// Link implements vfs.FS.
func (f *fence) Link(oldname, newname string) error {
	return f.change("link", oldname, func() error { return f.FS.Link(oldname, newname) })
}

// Remove implements vfs.FS.
func (f *fence) Remove(name string) error {
	missing := false
	err := f.change("remove", name, func() error {
		err := f.FS.Remove(name)
		if missing = oserror.IsNotExist(err); missing {
			return nil
		}
		return err
	})
	if err == nil && missing {
		return os.ErrNotExist
	}
	if err == nil {
		f.forget(name)
	}
	return err
}

// RemoveAll implements vfs.FS.
func (f *fence) RemoveAll(name string) error {
	return f.change("remove", name, func() error { return f.FS.RemoveAll(name) })
}

// Rename implements vfs.FS.
func (f *fence) Rename(oldname, newname string) error {
	err := f.change("rename", oldname, func() error { return f.FS.Rename(oldname, newname) })
	if err == nil {
		f.renamed(oldname, newname)
	}
	return err
}

// MkdirAll implements vfs.FS.
func (f *fence) MkdirAll(dir string, mode os.FileMode) error {
	return f.change("make", dir, func() error { return f.FS.MkdirAll(dir, mode) })
}

// Lock implements vfs.FS: the store holds the lock of the directory, for all its databases.
func (f *fence) Lock(string) (io.Closer, error) { return unlocked{}, nil }

// Unwrap implements vfs.FS.
func (f *fence) Unwrap() vfs.FS { return f.FS }

type unlocked struct{}

func (unlocked) Close() error { return nil }

// fenced is a file, or a directory, behind the fence.
type fenced struct {
	vfs.File
	fence  *fence
	path   string
	extent *extent
	ahead  *ahead
}

// Write implements vfs.File.
func (f *fenced) Write(p []byte) (n int, err error) {
	err = f.fence.change("write", f.path, func() (err error) {
		n, err = f.File.Write(p)
		written := f.fence.wrote(f.extent, n)
		if err == nil {
			f.ahead.stretch(f.File, written)
		}
		return err
	})
	return n, err
}

// WriteAt implements vfs.File.
func (f *fenced) WriteAt(p []byte, at int64) (n int, err error) {
	err = f.fence.change("write", f.path, func() (err error) {
		n, err = f.File.WriteAt(p, at)
		return err
	})
	return n, err
}

// Preallocate implements vfs.File. Not every file system can, and nothing depends on it.
func (f *fenced) Preallocate(offset, length int64) (err error) {
	fenced := f.fence.change("preallocate", f.path, func() error {
		err = f.File.Preallocate(offset, length)
		return nil
	})
	return errors.Join(fenced, err)
}

// Sync implements vfs.File.
func (f *fenced) Sync() error { return f.sync(f.File.Sync) }

// SyncData implements vfs.File.
func (f *fenced) SyncData() error { return f.sync(f.File.SyncData) }

func (f *fenced) sync(do func() error) error {
	return f.fence.change("sync", f.path, func() error {
		length := f.fence.length(f.extent)
		if err := do(); err != nil {
			return err
		}
		f.fence.synced(f.extent, length)
		return nil
	})
}

// SyncTo implements vfs.File.
func (f *fenced) SyncTo(length int64) (full bool, err error) {
	err = f.fence.change("sync", f.path, func() (err error) {
		full, err = f.File.SyncTo(length)
		return err
	})
	return full, err
}
