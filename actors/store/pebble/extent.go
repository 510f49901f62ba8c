package pebble

import (
	"strings"
	"sync"
	"sync/atomic"

	"github.com/cockroachdb/errors/oserror"
	"github.com/cockroachdb/pebble/v2/vfs"
)

// extents is how long the files of one database are, and how much of each is certain to be on the disk.
type extents struct {
	bytes atomic.Int64 // of all files
	mu    sync.Mutex   // guards files and what they point to
	files map[string]*extent
}

// extent is what is known of one file.
type extent struct {
	written, synced int64
}

// survey counts what is there already and has not been written meanwhile.
func (x *extents) survey(fs vfs.FS, dir string) error {
	names, err := fs.List(dir)
	if err != nil {
		return err
	}
	for _, name := range names {
		path := fs.PathJoin(dir, name)
		info, err := fs.Stat(path)
		if oserror.IsNotExist(err) || err == nil && info.IsDir() {
			continue
		}
		if err != nil {
			return err
		}
		x.mu.Lock()
		if x.files[path] == nil {
			x.files[path] = &extent{written: info.Size(), synced: info.Size()}
			x.bytes.Add(info.Size())
		}
		x.mu.Unlock()
	}
	return nil
}

// unsynced lists the logs and manifests that may hold more than what is certain to be on the disk, with the length that
// is. Any other file is of no importance until a manifest names it, which comes after it has been synced.
func (x *extents) unsynced() map[string]int64 {
	x.mu.Lock()
	defer x.mu.Unlock()
	doubtful := make(map[string]int64)
	for path, e := range x.files {
		if e.written > e.synced && (strings.HasSuffix(path, ".log") || strings.Contains(path, "MANIFEST-")) {
			doubtful[path] = e.synced
		}
	}
	return doubtful
}

// fresh notes that a file begins anew.
func (x *extents) fresh(path string) *extent {
	x.forget(path)
	return x.known(path)
}

// known is what is known of a file, which may be new.
func (x *extents) known(path string) *extent {
	x.mu.Lock()
	defer x.mu.Unlock()
	e := x.files[path]
	if e == nil {
		e = new(extent)
		x.files[path] = e
	}
	return e
}

func (x *extents) forget(path string) {
	x.mu.Lock()
	defer x.mu.Unlock()
	if e := x.files[path]; e != nil {
		x.bytes.Add(-e.written)
		delete(x.files, path)
	}
}

func (x *extents) renamed(from, to string) {
	x.forget(to)
	x.mu.Lock()
	defer x.mu.Unlock()
	if e := x.files[from]; e != nil {
		delete(x.files, from)
		x.files[to] = e
	}
}

// wrote notes that a file has grown, and returns its length.
func (x *extents) wrote(e *extent, n int) int64 {
	x.mu.Lock()
	defer x.mu.Unlock()
	e.written += int64(n)
	x.bytes.Add(int64(n))
	return e.written
}

func (x *extents) length(e *extent) int64 {
	x.mu.Lock()
	defer x.mu.Unlock()
	return e.written
}

func (x *extents) synced(e *extent, length int64) {
	x.mu.Lock()
	defer x.mu.Unlock()
	e.synced = max(e.synced, length)
}
