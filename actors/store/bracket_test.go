package store_test

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"slotd/actors/store"
	slotdv1 "slotd/messages/slotd/v1"
)

// journal is a store that remembers what was committed as one, by the names of the tasks in it.
type journal struct {
	mu      sync.Mutex
	commits [][]string
	dones   []func(error)
}

func (j *journal) commit(b *store.Batch, done func(error)) {
	var names []string
	for _, rec := range b.Tasks {
		names = append(names, rec.GetId())
	}
	j.mu.Lock()
	defer j.mu.Unlock()
	j.commits, j.dones = append(j.commits, names), append(j.dones, done)
}

func (j *journal) String() string {
	j.mu.Lock()
	defer j.mu.Unlock()
	return fmt.Sprint(j.commits)
}

// answer answers the oldest commit.
func (j *journal) answer(err error) {
	done := j.dones[0]
	j.dones = j.dones[1:]
	done(err)
}

func naming(name string) *store.Batch {
	return &store.Batch{Tasks: []*slotdv1.TaskRecord{{Id: name}}}
}

func TestABracketIsOneCommit(t *testing.T) {
	j := &journal{}
	var heard []string
	into := func(p *store.Part, name string) bool {
		return p.Commit(naming(name), func(err error) { heard = append(heard, fmt.Sprint(name, " ", err)) })
	}
	bracket, parts := store.NewBracket(3, time.Hour, j.commit)
	into(parts[0], "a1")
	into(parts[1], "b1")
	into(parts[0], "a2")
	parts[0].Close()
	into(parts[0], "a3") // after what belongs into the one commit
	parts[1].Close()
	parts[1].Close()
	if len(j.commits) > 0 || bracket.Over() {
		t.Fatalf("%v was committed with a part open", j.commits)
	}
	into(parts[2], "c1")
	parts[2].Drop()
	if got := j.String(); got != "[[a1 a2 b1] [a3]]" || !bracket.Over() {
		t.Errorf("committed %s, want a1, a2 and b1 as one, then a3", got)
	}
	if into(parts[0], "a4") {
		t.Error("a part takes more when its bracket is over")
	}
	broken := errors.New("broken")
	j.answer(broken)
	j.answer(nil)
	if got := fmt.Sprint(heard); got != "[a1 broken a2 broken b1 broken a3 <nil>]" {
		t.Errorf("heard %s", got)
	}
}

func TestAnAbandonedBracketCommitsNothing(t *testing.T) {
	j := &journal{}
	bracket, parts := store.NewBracket(2, time.Hour, j.commit)
	_, later := store.NewBracket(1, time.Hour, j.commit)
	parts[0].Commit(naming("a"), nil)
	later[0].Follow(parts[0])
	later[0].Commit(naming("b"), func(error) {})
	later[0].Close()
	bracket.Abandon()
	parts[0].Close()
	parts[1].Close()
	if got := j.String(); got != "[[b]]" {
		t.Errorf("committed %s, want b alone", got)
	}
}

// What follows on something that is taken back is taken back too.
func TestBracketsAreAbandonedTheNewestFirst(t *testing.T) {
	j := &journal{}
	first, parts := store.NewBracket(2, time.Hour, j.commit)
	parts[0].Commit(naming("a"), func(error) {})
	parts[0].Close()
	second, later := store.NewBracket(1, time.Hour, j.commit)
	later[0].Follow(parts[0])
	later[0].Commit(naming("b"), func(error) {})
	later[0].Close()
	second.Abandon()
	first.Abandon()
	if got := j.String(); got != "[]" {
		t.Errorf("committed %s, want nothing", got)
	}
}

func TestALatePartDoesNotHoldOthersForEver(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		j := &journal{}
		_, first := store.NewBracket(2, time.Second, j.commit)
		first[0].Commit(naming("a"), func(error) {})
		first[0].Close()
		_, second := store.NewBracket(2, time.Second/2, j.commit) // late before the first, and yet after it
		second[0].Follow(first[0])
		second[0].Commit(naming("b"), func(error) {})
		time.Sleep(time.Second * 3 / 4)
		synctest.Wait()
		if got := j.String(); got != "[]" {
			t.Errorf("%s was committed early", got)
		}
		time.Sleep(time.Second)
		synctest.Wait()
		if got := j.String(); got != "[[a] [b]]" {
			t.Errorf("committed %s, want a and then b", got)
		}
	})
}

// TestRandomBrackets lets owners commit, alone and in brackets that overlap: what each of them has committed arrives in
// its order, each bracket as one, and nothing is missing.
func TestRandomBrackets(t *testing.T) {
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	r := rand.New(rand.NewPCG(seed, 0))
	for range 300 {
		randomBrackets(t, r)
		if t.Failed() {
			return
		}
	}
}

// owner is an actor that commits.
type owner struct {
	part   *store.Part
	inside bool // its part is open
	spoke  []string
}

func randomBrackets(t *testing.T, r *rand.Rand) {
	t.Helper()
	j := &journal{}
	owners := make([]*owner, 1+r.IntN(5))
	for i := range owners {
		owners[i] = &owner{}
	}
	together := map[string]int{} // which bracket a batch belongs into
	number := 0
	commit := func(i, bracket int) {
		o := owners[i]
		number++
		name := fmt.Sprintf("%d-%d", i, number)
		o.spoke = append(o.spoke, name)
		if bracket > 0 {
			together[name] = bracket
		}
		if o.part == nil || !o.part.Commit(naming(name), func(error) {}) {
			o.part = nil
			j.commit(naming(name), func(error) {})
		}
	}
	var unclosed []func()
	for step := range 60 {
		switch r.IntN(5) {
		case 0: // a bracket of some owners; each gets its share now and closes it at some time
			chosen := r.Perm(len(owners))[:1+r.IntN(len(owners))]
			_, parts := store.NewBracket(len(chosen), time.Hour, j.commit)
			for n, i := range chosen {
				o := owners[i]
				if o.inside { // it still deals with the last one
					unclosed = append(unclosed, parts[n].Close)
					continue
				}
				if o.part != nil {
					parts[n].Follow(o.part)
				}
				o.part = parts[n]
				for range r.IntN(4) {
					commit(i, step+1)
				}
				if r.IntN(2) == 0 {
					o.part.Close()
					continue
				}
				o.inside = true
				part := o.part
				unclosed = append(unclosed, func() { part.Close(); o.inside = false })
			}
		case 1:
			if len(unclosed) > 0 {
				n := r.IntN(len(unclosed))
				unclosed[n]()
				unclosed = append(unclosed[:n], unclosed[n+1:]...)
			}
		default:
			if i := r.IntN(len(owners)); !owners[i].inside {
				commit(i, 0)
			}
		}
	}
	for _, end := range unclosed {
		end()
	}
	place, as := map[string]int{}, map[int]int{}
	for at, names := range j.commits {
		for _, name := range names {
			place[name] = at
			if bracket := together[name]; bracket > 0 {
				if first, known := as[bracket]; known && first != at {
					t.Errorf("bracket %d is in commits %d and %d", bracket, first, at)
				}
				as[bracket] = at
			}
		}
	}
	for i, o := range owners {
		last := 0
		for _, name := range o.spoke {
			at, known := place[name]
			if !known {
				t.Errorf("%s of owner %d is missing", name, i)
			}
			if at < last {
				t.Errorf("%s of owner %d has overtaken an earlier one", name, i)
			}
			last = at
		}
	}
}
