package logs

import (
	"slices"
	"sort"
)

// ring keeps the last blocks of a hub, in the order of their numbers; those that the disk has refused may have gaps. Its zero value is empty.
type ring struct {
	blocks []*block
	cost   int
}

// push adds a block and drops the oldest ones beyond limit bytes; the new block stays in any case.
func (r *ring) push(b *block, limit int) {
	r.add(b)
	drop := 0
	for r.cost > limit && drop < len(r.blocks)-1 {
		r.cost -= r.blocks[drop].cost()
		r.blocks[drop] = nil
		drop++
	}
	r.blocks = r.blocks[drop:]
}

func (r *ring) add(b *block) {
	r.blocks = append(r.blocks, b)
	r.cost += b.cost()
}

// drop takes out one block, if there is one that may go: over says that the ring is too large, so that any block helps,
// and the oldest go first that are written, which is before the event numbered written; then the oldest lines; then
// anything. Otherwise only lines that are not written do. The newest block may be exempt.
func (r *ring) drop(written uint64, over, sparing bool) *block {
	blocks := r.blocks
	if sparing && len(blocks) > 0 {
		blocks = blocks[:len(blocks)-1]
	}
	i := slices.IndexFunc(blocks, func(b *block) bool {
		if b.first < written {
			return over
		}
		return b.kind.lines()
	})
	if i < 0 {
		if !over || len(blocks) == 0 {
			return nil
		}
		i = 0
	}
	b := blocks[i]
	r.blocks = slices.Delete(r.blocks, i, i+1)
	r.cost -= b.cost()
	return b
}

// keep drops all but the last n blocks.
func (r *ring) keep(n int) {
	for len(r.blocks) > n {
		r.cost -= r.blocks[0].cost()
		r.blocks[0] = nil
		r.blocks = r.blocks[1:]
	}
	if len(r.blocks) == 0 {
		*r = ring{}
	}
}

// from returns the blocks from the one that holds the event, or else the first one after it. The result is only good
// until the next change.
func (r *ring) from(number uint64) []*block {
	return r.blocks[sort.Search(len(r.blocks), func(i int) bool { return r.blocks[i].next() > number }):]
}
