package logs

import (
	"cmp"
	"errors"
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

// trimOnce measures what is on the disk, corrects the accounts with it, and deletes. So that this is rare, it makes room
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
	var terminal, active []usage
	for _, e := range entries {
		if l.trim.ended.Load() {
			return
		}
		if !isTask(e) {
			continue
		}
		id := e.Name()
		if standing != nil && standing(id) == Unknown && l.orphan(id) {
			continue
		}
		u := usage{id: id, bytes: l.measure(id)}
		if standing != nil && standing(id) == Terminal || standing == nil && !l.isActive(id) {
			terminal = append(terminal, u)
		} else {
			active = append(active, u)
		}
	}
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

// measure corrects the accounts of a task, and returns what it has.
func (l *Logs) measure(id string) int64 {
	h := l.acquire(id)
	if h == nil {
		return 0
	}
	defer l.release(h)
	h.publishing.Lock()
	defer h.publishing.Unlock()
	if h.removed {
		return 0
	}
	return h.measure()
}

// orphan deletes the folder of a task that is not known, unless it has come into being meanwhile. It says whether the
// folder is gone.
func (l *Logs) orphan(id string) bool {
	l.mu.Lock()
	h := l.hubs[id]
	l.mu.Unlock()
	return h == nil && l.removeFolder(id)
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
	if h.load() != nil || h.removed {
		return
	}
	if limit == 0 {
		h.drop()
		return
	}
	h.dropOldest(limit)
}

// drop deletes all of a log but a note of where it ended, without which its numbers would begin again. Where the disk has
// no room, there is mostly room for an empty file, and for the note once the rest is gone. The caller holds publishing.
func (h *hub) drop() {
	if h.current != nil || h.refused {
		return // it is being written: it was not terminal after all
	}
	h.mu.Lock()
	s := &segment{scanned: true, sealed: true, preface: preface{
		first: h.next, epoch: h.epoch, attempt: h.attempt, started: h.started, over: h.over,
	}}
	n := len(h.segments)
	dropped := n == 0 || h.segments[n-1].first == h.next
	h.mu.Unlock()
	if dropped {
		return
	}
	note := h.place(s, prefaceSize)
	file, err := createFile(s.path)
	if err == nil {
		h.dropOldest(0)
		h.dropAside()
		if _, err = h.logs.write(file, note); err != nil {
			s.size, err = 0, errors.Join(err, file.Truncate(0))
		}
		err = errors.Join(err, file.Close())
		h.grow(s.size, min(s.size, 1))
		h.mu.Lock()
		h.segments, h.ring = append(h.segments, s), ring{}
		h.mu.Unlock()
	}
	if err != nil {
		h.logs.logger.Warn("cannot note where a dropped log ended", "task_id", h.id, "error", err)
	}
}

// dropAside deletes what was set aside.
func (h *hub) dropAside() {
	paths, err := filepath.Glob(filepath.Join(h.dir, "*"+asideSuffix))
	if err != nil {
		return // the pattern is good
	}
	for _, path := range paths {
		if info, err := os.Lstat(path); err == nil {
			h.unlink(path, info.Size(), 0)
		}
	}
}

// removeFolder deletes what a task has on the disk. What cannot be deleted stays accounted for, and is tried again.
func (l *Logs) removeFolder(id string) bool {
	l.mu.Lock()
	h := l.hubs[id]
	if h == nil { // nobody gets in between
		h = &hub{logs: l, id: id, dir: filepath.Join(l.config.Dir, id), loaded: true, removed: true}
		l.hubs[id] = h
	}
	l.mu.Unlock()
	defer l.forget(id, h)
	h.publishing.Lock()
	defer h.publishing.Unlock()
	if !h.removed {
		h.remove()
	}
	if err := l.removeAll(h.dir); err != nil {
		l.logger.Warn("cannot delete the log of a task, will retry", "task_id", id, "error", err)
		h.measure()
		l.mend.doom(id)
		return false
	}
	h.folder = l.folders.add(id)
	h.grow(-h.folder.bytes, -h.folder.segments)
	l.folders.remove(id)
	return true
}
