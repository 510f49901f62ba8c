package logs

import (
	"maps"
	"slices"
	"sync"
	"time"
)

// mend writes what hubs have in memory because the disk refused it, and deletes what could not be deleted. Its goroutine
// runs while there is something to do.
type mend struct {
	logs  *Logs
	group sync.WaitGroup
	over  chan struct{} // closed by end

	mu      sync.Mutex
	hubs    map[*hub]struct{}   // those that are refused
	doomed  map[string]struct{} // tasks whose folders have to go
	running bool
	ended   bool
	problem error // of the last refusal
}

// admit takes care of a hub, which stays in memory until the disk has caught up. The caller holds h.publishing.
func (m *mend) admit(h *hub, err error) {
	m.logs.hold(h)
	m.mu.Lock()
	defer m.mu.Unlock()
	m.problem = err
	m.hubs[h] = struct{}{}
	if len(m.hubs) == 1 {
		m.logs.logger.Warn("cannot write logs, memory keeps them for now", "task_id", h.id, "error", err)
	}
	m.start()
}

// doom deletes a task's folder as soon as that can be done. What is left when the daemon ends is an orphan to Sweep.
func (m *mend) doom(id string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.doomed == nil {
		m.doomed = make(map[string]struct{})
	}
	m.doomed[id] = struct{}{}
	m.start()
}

// start lets the goroutine run. The caller holds mu.
func (m *mend) start() {
	if !m.running && !m.ended {
		m.running = true
		m.group.Go(m.run)
	}
}

// dismiss is the end of that. It says whether h was the last. The caller holds h.publishing.
func (m *mend) dismiss(h *hub) bool {
	m.mu.Lock()
	delete(m.hubs, h)
	left := len(m.hubs)
	m.mu.Unlock()
	m.logs.release(h)
	return left == 0
}

// run tries every hub and every folder each retryAfter until none is left.
func (m *mend) run() {
	timer := time.NewTimer(m.logs.retryAfter)
	defer timer.Stop()
	for {
		select {
		case <-m.over:
			return
		case <-timer.C:
		}
		m.mu.Lock()
		hubs, doomed := slices.Collect(maps.Keys(m.hubs)), m.doomed
		m.doomed = nil
		m.running = len(hubs)+len(doomed) > 0
		m.mu.Unlock()
		if len(hubs)+len(doomed) == 0 {
			return
		}
		for id := range doomed {
			m.logs.removeFolder(id) // or is doomed again
		}
		for _, h := range hubs {
			if err := h.mend(); err != nil {
				m.mu.Lock()
				m.problem = err
				m.mu.Unlock()
			}
		}
		m.logs.trimIfOver() // what could not be deleted before
		timer.Reset(m.logs.retryAfter)
	}
}

// mend writes what the disk has refused, block by block, so that those who publish come in between.
func (h *hub) mend() error {
	for {
		h.publishing.Lock()
		more, err := h.catchUp()
		h.publishing.Unlock()
		if !more {
			return err
		}
	}
}

// end waits until nothing is mended any more.
func (m *mend) end() {
	m.mu.Lock()
	if !m.ended {
		m.ended = true
		close(m.over)
	}
	m.mu.Unlock()
	m.group.Wait()
}

// state returns how many hubs are refused, and why.
func (m *mend) state() (failing int, problem error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if len(m.hubs) == 0 {
		return 0, nil
	}
	return len(m.hubs), m.problem
}
