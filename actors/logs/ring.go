package logs

import "sort"

// ring keeps the last blocks of a hub, in the order of their numbers. Its zero value is empty.
type ring struct {
	blocks []*block
	cost   int
}

// push adds a block and drops the oldest ones beyond limit bytes; the new block stays in any case.
func (r *ring) push(b *block, limit int) {
	r.blocks = append(r.blocks, b)
	r.cost += b.cost()
	drop := 0
	for r.cost > limit && drop < len(r.blocks)-1 {
		r.cost -= r.blocks[drop].cost()
		r.blocks[drop] = nil
		drop++
	}
	r.blocks = r.blocks[drop:]
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
