package catalog

import "slices"

// few is up to how many entries an index is a plain slice: a slot with a single task costs eight bytes.
const few = 64

// index is a set of entries in id order that knows the place of each. Its zero value is empty.
type index struct {
	small []*entry
	large *series // in place of small
}

func (x *index) len() int {
	if x.large != nil {
		return x.large.size
	}
	return len(x.small)
}

func (x *index) add(e *entry) {
	if x.large != nil {
		x.large.add(e)
		return
	}
	if n := len(x.small); n == 0 || x.small[n-1].id < e.id { // nearly always: ids grow
		x.small = append(x.small, e)
	} else if i, found := findIn(x.small, e.id); !found {
		x.small = slices.Insert(x.small, i, e)
	}
	if len(x.small) > few {
		x.small, x.large = nil, newSeries(x.small)
	}
}

func (x *index) remove(e *entry) {
	if x.large != nil {
		if x.large.remove(e); x.large.size == 0 {
			x.large = nil
		}
		return
	}
	if i, found := findIn(x.small, e.id); found {
		if x.small = slices.Delete(x.small, i, i+1); len(x.small) == 0 {
			x.small = nil
		}
	}
}

// at returns the entry at a place, 0 ≤ place < len.
func (x *index) at(place int) *entry {
	if x.large != nil {
		return x.large.at(place)
	}
	return x.small[place]
}

// rank is the number of entries before id.
func (x *index) rank(id string) int {
	if x.large != nil {
		return x.large.rank(id)
	}
	place, _ := findIn(x.small, id)
	return place
}

// ascend yields the entries from id on, until yield returns false.
func (x *index) ascend(id string, yield func(*entry) bool) {
	if x.large != nil {
		x.large.ascend(id, yield)
		return
	}
	i, _ := findIn(x.small, id)
	for _, e := range x.small[i:] {
		if !yield(e) {
			return
		}
	}
}

// descend yields the entries from id on backwards.
func (x *index) descend(id string, yield func(*entry) bool) {
	if x.large != nil {
		x.large.descend(id, yield)
		return
	}
	i, found := findIn(x.small, id)
	if !found {
		i--
	}
	for ; i >= 0; i-- {
		if !yield(x.small[i]) {
			return
		}
	}
}
