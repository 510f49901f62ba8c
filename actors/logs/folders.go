package logs

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strings"
	"sync"

	"slotd/messages"
)

// folders knows which tasks have something on the disk, so that the many that have nothing cost no system call, and how
// much that is.
type folders struct {
	mu  sync.Mutex
	ids map[string]*folder
}

// folder is what a task has on the disk, as far as it was counted: what this life wrote, and what earlier lives left once
// the task is used or Sweep has come to it. Publishing of the task's hub guards it.
type folder struct {
	counted         bool // with what earlier lives left
	bytes, segments int64
}

// find reads what earlier lives left in dir, and returns the names of what is not the folder of a task.
func (f *folders) find(dir string) (strange []string, err error) {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return nil, fmt.Errorf("read the log directory: %w", err)
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	f.ids = make(map[string]*folder, len(entries))
	for _, e := range entries {
		if isTask(e) {
			f.ids[e.Name()] = new(folder)
		} else {
			strange = append(strange, e.Name())
		}
	}
	return strange, nil
}

// isTask says whether something below the log directory is the folder of a task. Anything else is left alone.
func isTask(e os.DirEntry) bool {
	_, err := messages.ParseID(e.Name())
	return err == nil && e.IsDir()
}

func (f *folders) has(id string) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	_, ok := f.ids[id]
	return ok
}

// add returns the folder of a task, which is noted if it is not known.
func (f *folders) add(id string) *folder {
	f.mu.Lock()
	defer f.mu.Unlock()
	known := f.ids[id]
	if known == nil {
		known = &folder{counted: true}
		f.ids[id] = known
	}
	return known
}

func (f *folders) remove(id string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	delete(f.ids, id)
}

// grow puts what has been written or deleted into the accounts of the task and of all tasks. The caller holds publishing.
func (h *hub) grow(bytes, segments int64) {
	if h.folder == nil {
		h.folder = h.logs.folders.add(h.id)
	}
	h.folder.bytes += bytes
	h.folder.segments += segments
	h.logs.bytes.Add(bytes)
	h.logs.segments.Add(segments)
}

// count puts what earlier lives left into the accounts. The caller holds publishing.
func (h *hub) count() {
	if f := h.logs.folders.add(h.id); !f.counted {
		h.measure()
	}
}

// measure corrects the accounts with what is on the disk, and returns that. The caller holds publishing.
func (h *hub) measure() (bytes int64) {
	bytes, segments := folderSize(h.dir)
	f := h.logs.folders.add(h.id)
	f.counted, h.folder = true, f
	h.grow(bytes-f.bytes, segments-f.segments)
	return bytes
}

// folderSize measures what is in a folder. Segments that are empty, because nothing more could be written, do not count.
func folderSize(dir string) (bytes, segments int64) {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return 0, 0
	}
	for _, e := range entries {
		info, err := e.Info()
		if err != nil || !info.Mode().IsRegular() {
			continue
		}
		bytes += info.Size()
		if strings.HasSuffix(e.Name(), segmentSuffix) && info.Size() > 0 {
			segments++
		}
	}
	return bytes, segments
}

// unlink deletes a file of which so much was counted. The caller holds publishing.
func (h *hub) unlink(path string, bytes, segments int64) {
	if err := os.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
		h.logs.logger.Warn("cannot delete a log segment", "task_id", h.id, "path", path, "error", err)
		return
	}
	h.grow(-bytes, -segments)
}
