package logs

import (
	"cmp"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"sync/atomic"
)

// Standing is what the rest of the node knows of a task.
type Standing uint8

// The standings of a task.
const (
	Unknown  Standing = iota // there is no such task: its log is deleted
	Active                   // not terminal
	Terminal                 // its log is dropped when space is needed
)

// trim is the goroutine that deletes what is too much. At most one runs, until the end.
type trim struct {
	mu       sync.Mutex
	running  bool
	again    bool
	standing func(taskID string) Standing
	group    sync.WaitGroup
	ended    atomic.Bool
}

// also runs f beside the trimming, unless it has ended.
func (t *trim) also(f func()) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if !t.ended.Load() {
		t.group.Go(f)
	}
}

func (t *trim) end() {
	t.mu.Lock()
	t.ended.Store(true)
	t.mu.Unlock()
	t.group.Wait()
}

// Sweep goes through everything on the disk in the background: folders of tasks that standing does not know are deleted,
// the rest is accounted for and trimmed to TotalBytes. It is called once, after recovery; the function is kept and asked
// again whenever TotalBytes is exceeded. Without it, a task is taken for terminal when it has no events in this life, or
// was closed.
//
// When the store could not be read, Sweep must not be called: it would take every log for an orphan.
func (l *Logs) Sweep(standing func(taskID string) Standing) {
	l.trim.mu.Lock()
	l.trim.standing = standing
	l.trim.mu.Unlock()
	l.startTrim()
}

// trimIfOver starts to trim when there is more than TotalBytes.
func (l *Logs) trimIfOver() {
	if l.bytes.Load() > l.config.TotalBytes {
		l.startTrim()
	}
}

func (l *Logs) startTrim() {
	t := &l.trim
	t.mu.Lock()
	defer t.mu.Unlock()
	switch {
	case t.ended.Load():
	case t.running:
		t.again = true
	default:
		t.running = true
		t.group.Go(l.runTrim)
	}
}

func (l *Logs) runTrim() {
	t := &l.trim
	for {
		l.trimOnce()
		t.mu.Lock()
		if !t.again || t.ended.Load() {
			t.running = false
			t.mu.Unlock()
			return
		}
		t.again = false
		t.mu.Unlock()
	}
}

// usage is what one task has on the disk.
type usage struct {
	id    string
	bytes int64
}

// trimOnce measures what is on the disk, corrects the account with it, and deletes. So that this is rare, it makes room
// for a sixteenth of TotalBytes.
func (l *Logs) trimOnce() {
	l.trim.mu.Lock()
	standing := l.trim.standing
	l.trim.mu.Unlock()

	entries, err := os.ReadDir(l.config.Dir)
	if err != nil {
		l.logger.Warn("cannot read the log directory", "error", err)
		return
	}
	bytesBefore, segmentsBefore := l.bytes.Load(), l.segments.Load()
	var bytes, segments int64
	var terminal, active []usage
	for _, e := range entries {
		if l.trim.ended.Load() {
			return
		}
		id := e.Name()
		if standing != nil && standing(id) == Unknown {
			l.orphan(id)
			continue
		}
		u := usage{id: id}
		n := int64(0)
		u.bytes, n = folderSize(filepath.Join(l.config.Dir, id))
		bytes, segments = bytes+u.bytes, segments+n
		if standing != nil && standing(id) == Terminal || standing == nil && !l.isActive(id) {
			terminal = append(terminal, u)
		} else {
			active = append(active, u)
		}
	}
	l.bytes.Add(bytes - bytesBefore)
	l.segments.Add(segments - segmentsBefore)
	if l.bytes.Load() <= l.config.TotalBytes {
		return
	}
	goal := l.config.TotalBytes - l.config.TotalBytes/16
	for _, u := range terminal { // ids ascend with creation
		if l.bytes.Load() <= goal {
			return
		}
		if u.bytes > prefaceSize {
			l.shorten(u.id, 0)
		}
	}
	slices.SortFunc(active, func(a, b usage) int { return cmp.Compare(b.bytes, a.bytes) })
	for _, u := range active {
		if l.bytes.Load() <= goal {
			return
		}
		l.shorten(u.id, l.config.SegmentBytes)
	}
}

// orphan deletes the folder of a task that is not known, unless it has come into being meanwhile.
func (l *Logs) orphan(id string) {
	l.mu.Lock()
	h := l.hubs[id]
	l.mu.Unlock()
	if h == nil {
		l.deleteFolder(id) // it was not counted
	}
}

func (l *Logs) isActive(id string) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	h := l.hubs[id]
	return h != nil && h.active
}

// shorten drops the oldest segments of a task until it has at most limit bytes; with limit 0 the whole log.
func (l *Logs) shorten(id string, limit int64) {
	h := l.acquire(id)
	if h == nil {
		return
	}
	defer l.release(h)
	h.publishing.Lock()
	defer h.publishing.Unlock()
	h.load()
	if limit == 0 {
		h.drop()
		return
	}
	h.dropOldest(limit)
}

// drop deletes all of a log but a note of where it ended. The caller holds publishing.
func (h *hub) drop() {
	if h.current != nil {
		return // it is being written: it was not terminal after all
	}
	h.mu.Lock()
	s := &segment{scanned: true, sealed: true, size: prefaceSize, next: h.next, preface: preface{
		first: h.next, epoch: h.epoch, attempt: h.attempt, over: h.over,
	}}
	removed := h.removed || len(h.segments) == 0
	h.mu.Unlock()
	if removed {
		return
	}
	s.path = filepath.Join(h.dir, segmentName(s.first))
	file, err := createFile(s.path)
	if err == nil {
		_, err = file.Write(s.append(nil))
		err = errors.Join(err, file.Close())
	}
	if err != nil {
		h.logs.logger.Warn("cannot note where a dropped log ended", "task_id", h.id, "error", err)
	} else {
		h.logs.bytes.Add(prefaceSize)
		h.logs.segments.Add(1)
	}
	h.dropOldest(0)
	h.mu.Lock()
	defer h.mu.Unlock()
	h.segments = []*segment{s}
	h.ring = ring{}
}

// removeFolder deletes what a task has on the disk.
func (l *Logs) removeFolder(id string) {
	bytes, segments := folderSize(filepath.Join(l.config.Dir, id))
	if l.deleteFolder(id) {
		l.bytes.Add(-bytes)
		l.segments.Add(-segments)
	}
}

func (l *Logs) deleteFolder(id string) bool {
	if err := os.RemoveAll(filepath.Join(l.config.Dir, id)); err != nil {
		l.logger.Warn("cannot delete the log of a task", "task_id", id, "error", err)
		return false
	}
	l.folders.remove(id)
	return true
}

// unlink deletes one segment.
func (l *Logs) unlink(path string, size int64) {
	if err := os.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
		l.logger.Warn("cannot delete a log segment", "path", path, "error", err)
		return
	}
	l.bytes.Add(-size)
	l.segments.Add(-1)
}

// folderSize measures the segments of a task.
func folderSize(dir string) (bytes, segments int64) {
	paths, err := listSegments(dir)
	if err != nil {
		return 0, 0
	}
	for _, path := range paths {
		if info, err := os.Stat(path); err == nil {
			bytes += info.Size()
			segments++
		}
	}
	return bytes, segments
}
