package pebble_test

import (
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"

	"github.com/cockroachdb/pebble/v2/vfs"
)

// faulty is a disk in memory that fails when it is told to: some operations, with some error, for some time.
type faulty struct {
	*vfs.MemFS

	mu     sync.Mutex
	r      *rand.Rand
	plan   *ailment
	failed int           // operations, with the present plan
	hold   chan struct{} // not nil: syncs of logs wait until it is closed
}

// ailment is how a disk fails.
type ailment struct {
	err    syscall.Errno
	ops    string  // those that fail, separated by spaces; "" = all
	files  string  // part of the name of the files that are concerned; "" = all
	odds   float64 // with which an operation fails
	after  int     // operations of that kind that go well first
	last   int     // failures until the disk has healed; 0 = never
	honest bool    // what fails has not happened
}

func newFaulty(r *rand.Rand) *faulty { return &faulty{MemFS: vfs.NewCrashableMem(), r: r} }

// ail makes the disk fail from now on; nil heals it.
func (f *faulty) ail(plan *ailment) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.plan, f.failed = plan, 0
}

// verdict says what becomes of an operation: whether it is done, and the error.
func (f *faulty) verdict(op, path string) (do bool, err error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	p := f.plan
	if p == nil || p.ops != "" && !strings.Contains(p.ops, op) || !strings.Contains(filepath.Base(path), p.files) {
		return true, nil
	}
	if p.after > 0 {
		p.after--
		return true, nil
	}
	if f.r.Float64() >= p.odds {
		return true, nil
	}
	if f.failed++; p.last > 0 && f.failed >= p.last {
		f.plan = nil
	}
	return !p.honest && f.r.IntN(2) == 0, &os.PathError{Op: op, Path: path, Err: p.err}
}

// perform does an operation as far as the disk lets it.
func (f *faulty) perform(op, path string, do func() error) error {
	well, err := f.verdict(op, path)
	if !well {
		return err
	}
	if failed := do(); failed != nil {
		return failed
	}
	return err
}

func (f *faulty) Create(name string, category vfs.DiskWriteCategory) (file vfs.File, err error) {
	err = f.perform("create", name, func() (err error) {
		file, err = f.MemFS.Create(name, category)
		return err
	})
	return f.wrap(file, name, err)
}

func (f *faulty) OpenReadWrite(name string, category vfs.DiskWriteCategory, opts ...vfs.OpenOption) (file vfs.File, err error) {
	err = f.perform("open", name, func() (err error) {
		file, err = f.MemFS.OpenReadWrite(name, category, opts...)
		return err
	})
	return f.wrap(file, name, err)
}

func (f *faulty) ReuseForWrite(oldname, newname string, category vfs.DiskWriteCategory) (file vfs.File, err error) {
	err = f.perform("rename", oldname, func() (err error) {
		file, err = f.MemFS.ReuseForWrite(oldname, newname, category)
		return err
	})
	return f.wrap(file, newname, err)
}

func (f *faulty) Open(name string, opts ...vfs.OpenOption) (file vfs.File, err error) {
	if _, err := f.verdict("look", name); err != nil {
		return nil, err
	}
	file, err = f.MemFS.Open(name, opts...)
	return f.wrap(file, name, err)
}

func (f *faulty) OpenDir(name string) (vfs.File, error) {
	file, err := f.MemFS.OpenDir(name)
	return f.wrap(file, name, err)
}

func (f *faulty) wrap(file vfs.File, name string, err error) (vfs.File, error) {
	if err != nil {
		if file != nil {
			_ = file.Close()
		}
		return nil, err
	}
	return &faultyFile{File: file, disk: f, path: name}, nil
}

func (f *faulty) Remove(name string) error {
	return f.perform("remove", name, func() error { return f.MemFS.Remove(name) })
}

func (f *faulty) Rename(oldname, newname string) error {
	return f.perform("rename", oldname, func() error { return f.MemFS.Rename(oldname, newname) })
}

func (f *faulty) Link(oldname, newname string) error {
	return f.perform("link", oldname, func() error { return f.MemFS.Link(oldname, newname) })
}

func (f *faulty) MkdirAll(dir string, mode os.FileMode) error {
	return f.perform("mkdir", dir, func() error { return f.MemFS.MkdirAll(dir, mode) })
}

type faultyFile struct {
	vfs.File
	disk *faulty
	path string
}

func (f *faultyFile) Write(p []byte) (n int, err error) {
	if _, err := f.disk.verdict("write", f.path); err != nil {
		n, _ = f.File.Write(p[:f.disk.part(len(p))])
		return n, err
	}
	return f.File.Write(p)
}

func (f *faultyFile) WriteAt(p []byte, at int64) (n int, err error) {
	if _, err := f.disk.verdict("patch", f.path); err != nil {
		n, _ = f.File.WriteAt(p[:f.disk.part(len(p))], at)
		return n, err
	}
	return f.File.WriteAt(p, at)
}

// part is how much of a write that fails is done.
func (f *faulty) part(n int) int {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.r.IntN(n + 1)
}

func (f *faultyFile) ReadAt(p []byte, at int64) (int, error) {
	if _, err := f.disk.verdict("look", f.path); err != nil {
		return 0, err
	}
	return f.File.ReadAt(p, at)
}

func (f *faultyFile) Sync() error {
	f.disk.wait(f.path)
	return f.disk.perform("sync", f.path, f.File.Sync)
}

func (f *faultyFile) SyncData() error {
	f.disk.wait(f.path)
	return f.disk.perform("sync", f.path, f.File.SyncData)
}

// stall makes syncs of logs wait until release.
func (f *faulty) stall() (release func()) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.hold = make(chan struct{})
	return sync.OnceFunc(func() { close(f.hold) })
}

func (f *faulty) wait(path string) {
	f.mu.Lock()
	hold := f.hold
	f.mu.Unlock()
	if hold != nil && strings.HasSuffix(path, ".log") {
		<-hold
	}
}
