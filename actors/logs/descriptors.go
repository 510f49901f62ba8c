package logs

import (
	"slices"
	"sync"
)

// descriptors bounds how many hubs keep the segment they write to open. Where one more is needed, one that has not
// written since it was last looked at is closed; it is opened again with its next line.
type descriptors struct {
	mu    sync.Mutex
	limit int
	open  []*hub
	hand  int
}

// admit notes that h has opened its segment. The caller holds h.publishing.
func (d *descriptors) admit(h *hub) {
	d.mu.Lock()
	defer d.mu.Unlock()
	for range 2 * len(d.open) {
		if len(d.open) < d.limit {
			break
		}
		d.hand %= len(d.open)
		other := d.open[d.hand]
		// A hub that is writing right now is left alone: to wait for it could be to wait for each other.
		if other.wrote.Swap(false) || !other.publishing.TryLock() {
			d.hand++
			continue
		}
		other.closeFile()
		other.publishing.Unlock()
		d.open = slices.Delete(d.open, d.hand, d.hand+1)
	}
	d.open = append(d.open, h)
}

// release notes that h has closed its segment.
func (d *descriptors) release(h *hub) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if i := slices.Index(d.open, h); i >= 0 {
		d.open = slices.Delete(d.open, i, i+1)
	}
}
