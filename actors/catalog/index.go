package catalog

import (
	"slices"
	"sort"
	"strings"

	"github.com/tidwall/btree"
)

// smallest is the number of entries from which an index is a tree. A slot with a single task costs eight bytes.
const smallest = 64

// index is a set of entries in id order that knows the place of each. Its zero value is empty.
type index struct {
	few  []*entry // when there is no tree
	tree *btree.BTreeG[*entry]
}

func (x *index) len() int {
	if x.tree != nil {
		return x.tree.Len()
	}
	return len(x.few)
}

func (x *index) add(e *entry) {
	if x.tree == nil && len(x.few) < smallest {
		if i, found := x.find(e.id); !found {
			x.few = slices.Insert(x.few, i, e)
		}
		return
	}
	if x.tree == nil {
		x.tree = btree.NewBTreeGOptions(func(a, b *entry) bool { return a.id < b.id }, btree.Options{NoLocks: true})
		for _, e := range x.few {
			x.tree.Load(e)
		}
		x.few = nil
	}
	x.tree.Load(e) // quick for the greatest id, which is nearly always the case
}

func (x *index) remove(e *entry) {
	if x.tree != nil {
		if x.tree.Delete(e); x.tree.Len() == 0 {
			x.tree = nil
		}
		return
	}
	if i, found := x.find(e.id); found {
		if x.few = slices.Delete(x.few, i, i+1); len(x.few) == 0 {
			x.few = nil
		}
	}
}

func (x *index) find(id string) (i int, found bool) {
	return slices.BinarySearchFunc(x.few, id, func(e *entry, id string) int { return strings.Compare(e.id, id) })
}

func (x *index) at(i int) *entry {
	if x.tree != nil {
		e, _ := x.tree.GetAt(i)
		return e
	}
	return x.few[i]
}

// rank is the number of entries before id.
func (x *index) rank(id string) int {
	if x.tree == nil {
		i, _ := x.find(id)
		return i
	}
	return sort.Search(x.tree.Len(), func(i int) bool { return x.at(i).id >= id })
}

// ascend yields the entries from id on, until yield returns false.
func (x *index) ascend(id string, yield func(*entry) bool) {
	if x.tree != nil {
		x.tree.Ascend(&entry{id: id}, yield)
		return
	}
	i, _ := x.find(id)
	for _, e := range x.few[i:] {
		if !yield(e) {
			return
		}
	}
}

// descend yields the entries from id on backwards.
func (x *index) descend(id string, yield func(*entry) bool) {
	if x.tree != nil {
		x.tree.Descend(&entry{id: id}, yield)
		return
	}
	i, found := x.find(id)
	if !found {
		i--
	}
	for ; i >= 0; i-- {
		if !yield(x.few[i]) {
			return
		}
	}
}
