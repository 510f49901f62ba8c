package pebble

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/cockroachdb/errors/oserror"
	"github.com/cockroachdb/pebble/v2/vfs"
	"golang.org/x/sys/unix"
)

// What the store makes belongs to its user alone.
const (
	fileMode = 0o600
	dirMode  = 0o700
)

// A FaultError is why a store cannot be written: the first operation on its files that failed.
type FaultError struct {
	Dir  string // of the store
	Op   string // write, sync, create, …
	Path string // the file, "" when it is none in particular
	Err  error
}

// Error names the directory and what the operating system said.
func (f *FaultError) Error() string {
	text := fmt.Sprintf("store %s cannot be written: %s", f.Dir, f.Op)
	if f.Path != "" {
		text += " " + filepath.Base(f.Path)
	}
	return text + ": " + plain(f.Err)
}

// Unwrap returns what the operating system said.
func (f *FaultError) Unwrap() error { return f.Err }

// plain is the innermost words of an error: the path around them has been named already.
func plain(err error) string {
	if number, ok := errors.AsType[unix.Errno](err); ok {
		return number.Error()
	}
	return err.Error()
}

// errFenced is the answer to whoever still wants to change something after a fault.
var errFenced = errors.New("the store is closed after a fault")

// fence is the file system as one database sees it. The first change that fails trips it, and from then on it lets
// nobody change anything: what an engine does after its disk has failed is no longer of importance to the files, and
// whoever takes over finds them at rest. Reading stays possible.
//
// It also knows of every log how much of it is certain to be on the disk, see [fence.unsynced].
type fence struct {
	vfs.FS
	dir string

	// gate is held for reading by whoever changes something, so that holding it for writing means that nobody does.
	gate    sync.RWMutex
	fault   atomic.Pointer[FaultError]
	tripped chan struct{} // closed with the first fault
	fatal   chan struct{} // closed when the engine would have ended the process
	dying   sync.Once
	parked  chan struct{} // closed when whoever still comes is to be held for ever

	bytes atomic.Int64 // of all files
	mu    sync.Mutex   // guards files
	files map[string]*extent
}

// extent is what is known of one file.
type extent struct {
	written, synced int64
}

func newFence(fs vfs.FS, dir string) *fence {
	return &fence{
		FS: fs, dir: dir,
		tripped: make(chan struct{}),
		fatal:   make(chan struct{}),
		parked:  make(chan struct{}),
		files:   make(map[string]*extent),
	}
}

// trip notes the first fault.
func (f *fence) trip(op, path string, err error) {
	if f.fault.CompareAndSwap(nil, &FaultError{Dir: f.dir, Op: op, Path: path, Err: err}) {
		close(f.tripped)
	}
}

// change does something to the files unless the fence has been tripped, and trips it when that fails.
func (f *fence) change(op, path string, do func() error) error {
	f.gate.RLock()
	defer f.gate.RUnlock()
	if f.fault.Load() != nil {
		return f.refuse()
	}
	err := do()
	if err != nil {
		f.trip(op, path, err)
	}
	return err
}

// refuse answers a change that comes after the fault. The engine tries again at once and for ever: it is slowed down,
// and held when it could not be closed.
func (f *fence) refuse() error {
	select {
	case <-f.parked:
		select {}
	default:
		time.Sleep(time.Millisecond)
		return errFenced
	}
}

// rest waits until nobody is changing anything any more. The fence must have been tripped.
func (f *fence) rest() {
	f.gate.Lock()
	defer f.gate.Unlock()
}

// survey counts what is there already.
func (f *fence) survey() error {
	names, err := f.List(f.dir)
	if err != nil {
		return err
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, name := range names {
		path := f.PathJoin(f.dir, name)
		info, err := f.Stat(path)
		if oserror.IsNotExist(err) {
			continue
		}
		if err != nil {
			return err
		}
		if !info.IsDir() {
			f.files[path] = &extent{written: info.Size(), synced: info.Size()}
			f.bytes.Add(info.Size())
		}
	}
	return nil
}

// unsynced lists the logs that may hold more than what is certain to be on the disk, with that length.
func (f *fence) unsynced() map[string]int64 {
	f.mu.Lock()
	defer f.mu.Unlock()
	logs := make(map[string]int64)
	for path, e := range f.files {
		if e.written > e.synced && strings.HasSuffix(path, ".log") {
			logs[path] = e.synced
		}
	}
	return logs
}

// fresh notes that a file begins anew.
func (f *fence) fresh(path string) *extent {
	f.forget(path)
	f.mu.Lock()
	defer f.mu.Unlock()
	e := new(extent)
	f.files[path] = e
	return e
}

// known is what is known of a file, which may be new.
func (f *fence) known(path string) *extent {
	f.mu.Lock()
	defer f.mu.Unlock()
	e := f.files[path]
	if e == nil {
		e = new(extent)
		f.files[path] = e
	}
	return e
}

func (f *fence) forget(path string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if e := f.files[path]; e != nil {
		f.bytes.Add(-e.written)
		delete(f.files, path)
	}
}

func (f *fence) wrote(e *extent, n int) {
	f.mu.Lock()
	defer f.mu.Unlock()
	e.written += int64(n)
	f.bytes.Add(int64(n))
}

func (f *fence) length(e *extent) int64 {
	f.mu.Lock()
	defer f.mu.Unlock()
	return e.written
}

func (f *fence) synced(e *extent, length int64) {
	f.mu.Lock()
	defer f.mu.Unlock()
	e.synced = max(e.synced, length)
}

// Create implements vfs.FS.
func (f *fence) Create(name string, category vfs.DiskWriteCategory) (file vfs.File, err error) {
	err = f.change("create", name, func() error {
		file, err = f.FS.Create(name, category)
		if err != nil {
			return err
		}
		file = &fenced{File: file, fence: f, path: name, extent: f.fresh(name)}
		return private(file)
	})
	return own(file, err)
}

// OpenReadWrite implements vfs.FS.
func (f *fence) OpenReadWrite(name string, category vfs.DiskWriteCategory, opts ...vfs.OpenOption) (file vfs.File, err error) {
	err = f.change("open", name, func() error {
		file, err = f.FS.OpenReadWrite(name, category, opts...)
		if err != nil {
			return err
		}
		file = &fenced{File: file, fence: f, path: name, extent: f.known(name)}
		return private(file)
	})
	return own(file, err)
}

// ReuseForWrite implements vfs.FS.
func (f *fence) ReuseForWrite(oldname, newname string, category vfs.DiskWriteCategory) (file vfs.File, err error) {
	err = f.change("reuse", oldname, func() error {
		file, err = f.FS.ReuseForWrite(oldname, newname, category)
		if err != nil {
			return err
		}
		f.forget(oldname)
		file = &fenced{File: file, fence: f, path: newname, extent: f.fresh(newname)}
		return nil
	})
	return own(file, err)
}

// own closes a file that was opened in vain.
func own(file vfs.File, err error) (vfs.File, error) {
	if err == nil {
		return file, nil
	}
	if file != nil {
		err = errors.Join(err, file.Close())
	}
	return nil, err
}

// private takes a new file away from everybody else.
func private(file vfs.File) error {
	fd := file.Fd()
	if fd == vfs.InvalidFd {
		return nil
	}
	return unix.Fchmod(int(fd), fileMode)
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
func (f *fence) Remove(name string) (err error) {
	return f.change("remove", name, func() error {
		if err := f.FS.Remove(name); err != nil && !oserror.IsNotExist(err) {
			return err
		}
		f.forget(name)
		return nil
	})
}

// RemoveAll implements vfs.FS.
func (f *fence) RemoveAll(name string) error {
	return f.change("remove", name, func() error { return f.FS.RemoveAll(name) })
}

// Rename implements vfs.FS.
func (f *fence) Rename(oldname, newname string) error {
	return f.change("rename", oldname, func() error {
		if err := f.FS.Rename(oldname, newname); err != nil {
			return err
		}
		f.forget(newname)
		f.mu.Lock()
		defer f.mu.Unlock()
		if e := f.files[oldname]; e != nil {
			delete(f.files, oldname)
			f.files[newname] = e
		}
		return nil
	})
}

// MkdirAll implements vfs.FS.
func (f *fence) MkdirAll(dir string, _ os.FileMode) error {
	return f.change("make", dir, func() error { return f.FS.MkdirAll(dir, dirMode) })
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
}

// Write implements vfs.File.
func (f *fenced) Write(p []byte) (n int, err error) {
	err = f.fence.change("write", f.path, func() error {
		n, err = f.File.Write(p)
		f.fence.wrote(f.extent, n)
		return err
	})
	return n, err
}

// WriteAt implements vfs.File.
func (f *fenced) WriteAt(p []byte, at int64) (n int, err error) {
	err = f.fence.change("write", f.path, func() error {
		n, err = f.File.WriteAt(p, at)
		return err
	})
	return n, err
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
	err = f.fence.change("sync", f.path, func() error {
		full, err = f.File.SyncTo(length)
		return err
	})
	return full, err
}
