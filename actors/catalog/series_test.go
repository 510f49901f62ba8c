package catalog

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
	"time"
)

// TestIndexIsASortedList grows and shrinks an index through all its forms, at random and at its ends, beside a slice.
func TestIndexIsASortedList(t *testing.T) {
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	r := rand.New(rand.NewPCG(seed, 0))
	var x index
	var want []string
	for round := range 40 {
		target := r.IntN(2000)
		switch round % 3 {
		case 0:
			target = r.IntN(few + 5)
		case 1:
			target = block + r.IntN(10) - 5
		}
		minted := 1_000_000 * round // greater than all before
		for len(want) != target {
			id := fmt.Sprintf("%010d", minted+r.IntN(1000))
			place := r.IntN(4)
			if len(want) < target {
				if place > 0 {
					id = fmt.Sprintf("%010d", r.IntN(1_000_000*round+1000))
				}
				x.add(&entry{id: id})
				if i, found := slices.BinarySearch(want, id); !found {
					want = slices.Insert(want, i, id)
				}
				continue
			}
			i := r.IntN(len(want))
			if place == 0 {
				i = 0
			}
			x.remove(&entry{id: want[i]})
			x.remove(&entry{id: want[i]})
			want = slices.Delete(want, i, i+1)
		}
		compareIndex(t, &x, want)
		if x.large != nil && len(x.large.blocks) > 1+len(want)*8/block {
			t.Errorf("%d blocks for %d entries", len(x.large.blocks), len(want))
		}
	}
}

func compareIndex(t *testing.T, x *index, want []string) {
	t.Helper()
	if x.len() != len(want) {
		t.Fatalf("len() = %d, want %d", x.len(), len(want))
	}
	var up, down []string
	x.ascend("", func(e *entry) bool {
		up = append(up, e.id)
		return true
	})
	x.descend("\xff", func(e *entry) bool {
		down = append(down, e.id)
		return true
	})
	slices.Reverse(down)
	if !slices.Equal(up, want) || !slices.Equal(down, want) {
		t.Fatalf("ascend and descend yield %d and %d entries, want %d", len(up), len(down), len(want))
	}
	for i, id := range want {
		if x.at(i).id != id || x.rank(id) != i || x.rank(id+"x") != i+1 {
			t.Fatalf("at(%d) = %s, rank(%s) = %d, rank behind = %d", i, x.at(i).id, id, x.rank(id), x.rank(id+"x"))
		}
		x.ascend(id, func(e *entry) bool {
			if e.id != id {
				t.Fatalf("ascend(%s) begins with %s", id, e.id)
			}
			return false
		})
		x.descend(id+"x", func(e *entry) bool {
			if e.id != id {
				t.Fatalf("descend from behind %s begins with %s", id, e.id)
			}
			return false
		})
	}
}
