package logs

import (
	"container/list"
	"sync"
)

// stretchKey names a piece of a segment that is written and will not change.
type stretchKey struct {
	segment *segment
	offset  int64
}

// stretch is a piece of a segment in memory, with what was encoded of it.
type stretch struct {
	key    stretchKey
	once   sync.Once
	blocks []*block
	cost   int
	err    error
}

// cache keeps the stretches that were read last, so that many readers at the same place read and encode them once. It
// holds at most limit bytes, as estimated by [block.cost].
type cache struct {
	mu     sync.Mutex
	limit  int
	used   int
	byKey  map[stretchKey]*list.Element
	recent list.List // of *stretch, the last used first
}

func newCache(limit int) *cache {
	return &cache{limit: limit, byKey: make(map[stretchKey]*list.Element)}
}

// load returns the blocks under key, which read reads when they are not there. Readers that ask at the same time wait
// for the first of them.
func (c *cache) load(key stretchKey, read func() ([]*block, error)) ([]*block, error) {
	c.mu.Lock()
	e, ok := c.byKey[key]
	if ok {
		c.recent.MoveToFront(e)
	} else {
		e = c.recent.PushFront(&stretch{key: key})
		c.byKey[key] = e
	}
	s, _ := e.Value.(*stretch)
	c.mu.Unlock()

	s.once.Do(func() {
		s.blocks, s.err = read()
		cost := 0
		for _, b := range s.blocks {
			cost += b.cost()
		}
		c.mu.Lock()
		defer c.mu.Unlock()
		if c.byKey[key] != e {
			return // was dropped meanwhile
		}
		if s.err != nil {
			c.drop(e)
			return
		}
		s.cost = cost
		c.used += cost
		for c.used > c.limit && c.recent.Back() != e {
			c.drop(c.recent.Back())
		}
	})
	return s.blocks, s.err
}

// drop forgets a stretch. The caller holds mu.
func (c *cache) drop(e *list.Element) {
	s, _ := c.recent.Remove(e).(*stretch)
	delete(c.byKey, s.key)
	c.used -= s.cost
}

// forget drops what belongs to a segment.
func (c *cache) forget(s *segment) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for i := range s.marks {
		if e, ok := c.byKey[stretchKey{s, s.marks[i].offset}]; ok {
			c.drop(e)
		}
	}
}
