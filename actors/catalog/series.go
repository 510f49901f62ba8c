package catalog

import (
	"slices"
	"sort"
	"strings"
)

// block is how many entries a block of a series holds at most. Blocks below a quarter of it are joined with their
// neighbours.
const block = 512

// series is a sorted list of entries, in blocks, each of them sorted and none of them empty. Finding an entry, its
// place, or the entry at a place, costs a binary search and a sum over the blocks' lengths: about a microsecond for a
// million entries. The B-tree that serves where places do not matter cannot tell an entry's place.
type series struct {
	blocks [][]*entry
	size   int
}

func newSeries(entries []*entry) *series {
	return &series{blocks: [][]*entry{entries}, size: len(entries)}
}

// find returns where id is, or would be put: the entry i of block b.
func (s *series) find(id string) (b, i int, found bool) {
	b = sort.Search(len(s.blocks), func(b int) bool {
		last := s.blocks[b]
		return last[len(last)-1].id >= id
	})
	if b == len(s.blocks) {
		if b == 0 {
			return 0, 0, false
		}
		return b - 1, len(s.blocks[b-1]), false
	}
	i, found = findIn(s.blocks[b], id)
	return b, i, found
}

func findIn(entries []*entry, id string) (i int, found bool) {
	return slices.BinarySearchFunc(entries, id, func(e *entry, id string) int { return strings.Compare(e.id, id) })
}

func (s *series) add(e *entry) {
	if s.push(e) {
		return
	}
	b, i, found := s.find(e.id)
	if found {
		return
	}
	s.size++
	switch full := s.blocks[b]; {
	case len(full) < block:
		s.blocks[b] = slices.Insert(full, i, e)
	default:
		right := slices.Clone(full[block/2:])
		s.blocks[b] = slices.Delete(full, block/2, block)
		s.blocks = slices.Insert(s.blocks, b+1, right)
		if i > block/2 {
			b, i = b+1, i-block/2
		}
		s.blocks[b] = slices.Insert(s.blocks[b], i, e)
	}
}

// push appends an entry if it is greater than all others. Nearly always it is: ids grow, and blocks stay full.
func (s *series) push(e *entry) bool {
	b := len(s.blocks) - 1
	last := s.blocks[b]
	if last[len(last)-1].id >= e.id {
		return false
	}
	s.size++
	if len(last) < block {
		s.blocks[b] = append(last, e)
	} else {
		s.blocks = append(s.blocks, []*entry{e})
	}
	return true
}

func (s *series) remove(e *entry) {
	b, i, found := s.find(e.id)
	if !found {
		return
	}
	s.size--
	s.blocks[b] = slices.Delete(s.blocks[b], i, i+1)
	if len(s.blocks[b]) < block/4 {
		s.join(b)
	}
}

// join puts a small block together with a neighbour that has room, and drops an empty one.
func (s *series) join(b int) {
	for _, left := range []int{b - 1, b} {
		if left < 0 || left+1 >= len(s.blocks) {
			continue
		}
		if both := len(s.blocks[left]) + len(s.blocks[left+1]); both <= block*3/4 || len(s.blocks[b]) == 0 {
			s.blocks[left] = append(s.blocks[left], s.blocks[left+1]...)
			s.blocks = slices.Delete(s.blocks, left+1, left+2)
			return
		}
	}
}

func (s *series) at(place int) *entry {
	for _, entries := range s.blocks {
		if place < len(entries) {
			return entries[place]
		}
		place -= len(entries)
	}
	return nil
}

func (s *series) rank(id string) int {
	b, place, _ := s.find(id)
	for _, entries := range s.blocks[:b] {
		place += len(entries)
	}
	return place
}

func (s *series) ascend(id string, yield func(*entry) bool) {
	b, i, _ := s.find(id)
	for ; b < len(s.blocks); b, i = b+1, 0 {
		for _, e := range s.blocks[b][i:] {
			if !yield(e) {
				return
			}
		}
	}
}

func (s *series) descend(id string, yield func(*entry) bool) {
	b, i, found := s.find(id)
	if !found {
		i--
	}
	for {
		for ; i >= 0; i-- {
			if !yield(s.blocks[b][i]) {
				return
			}
		}
		if b--; b < 0 {
			return
		}
		i = len(s.blocks[b]) - 1
	}
}
