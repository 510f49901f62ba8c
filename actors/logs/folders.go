package logs

import (
	"fmt"
	"os"
	"sync"
)

// folders knows which tasks have something on the disk, so that the many that have nothing cost no system call.
type folders struct {
	mu  sync.Mutex
	ids map[string]struct{}
}

// find reads what earlier lives left in dir.
func (f *folders) find(dir string) error {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return fmt.Errorf("read the log directory: %w", err)
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	f.ids = make(map[string]struct{}, len(entries))
	for _, e := range entries {
		f.ids[e.Name()] = struct{}{}
	}
	return nil
}

func (f *folders) has(id string) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	_, ok := f.ids[id]
	return ok
}

func (f *folders) add(id string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.ids[id] = struct{}{}
}

func (f *folders) remove(id string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	delete(f.ids, id)
}
