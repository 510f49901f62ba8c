package actors_test

import (
	"errors"
	"fmt"
	"sync"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"slotd/actors"
	"slotd/actors/actortest"
	"slotd/actors/catalog"
	"slotd/actors/store"
)

// fill lets tasks that print come to their end.
func (n *node) fill(tasks int) (ids []string) {
	n.t.Helper()
	n.runner.say = "hello\n"
	for range tasks {
		id := n.submit("lane", drop)
		n.wait(id, catalog.WantTerminal)
		ids = append(ids, id)
	}
	return ids
}

func TestRetentionIsPatientWithAStoreThatCannotDelete(t *testing.T) {
	bubble(t, actors.Config{Retain: time.Minute}, func(t *testing.T, n *node) {
		n.fill(20)
		var sizes []int
		broken := errors.New("input/output error")
		n.store.Judge(func(b *store.Batch) error {
			if len(b.Deletes) == 0 {
				return nil
			}
			sizes = append(sizes, len(b.Deletes))
			return broken
		})
		time.Sleep(time.Hour)
		synctest.Wait()
		if tries := len(sizes); tries < 30 || tries > 100 {
			t.Errorf("%d tries within an hour", tries)
		}
		if last := sizes[len(sizes)-1]; last != 1 {
			t.Errorf("the last try is to delete %d at a time", last)
		}
		if n.folders() != 20 {
			t.Errorf("%d logs of 20 are left, and no task has gone", n.folders())
		}
		n.store.Judge(nil)
		time.Sleep(2 * time.Minute)
		synctest.Wait()
		if counts := n.Catalog().Counts(); counts.Terminal != 0 || n.folders() != 0 {
			t.Errorf("%d tasks and %d logs are left", counts.Terminal, n.folders())
		}
	})
}

// cramped is a store on a disk that is full as long as there is a log. It fails the commits, or says so beforehand.
type cramped struct {
	*actortest.Gate

	mu   sync.Mutex
	full func() bool
	says bool
}

var errFull = fmt.Errorf("write the log: %w", syscall.ENOSPC)

func (c *cramped) tight() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.full != nil && c.full()
}

func (c *cramped) fill(full func() bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.full = full
}

func (c *cramped) Stats() store.Stats {
	s := c.Gate.Stats()
	if c.says && c.tight() {
		s.Writable, s.Problem = false, errFull
	}
	return s
}

func TestRetentionMakesRoomOnAFullDisk(t *testing.T) {
	for _, says := range []bool{false, true} {
		t.Run(fmt.Sprintf("says=%v", says), func(t *testing.T) {
			disk := &cramped{says: says}
			over := func(g *actortest.Gate) store.Store { disk.Gate = g; return disk }
			bubbleOver(t, actors.Config{Retain: time.Hour}, over, func(t *testing.T, n *node) {
				n.fill(20)
				time.Sleep(30 * time.Minute)
				young := n.fill(3)
				disk.fill(func() bool { return n.folders() > len(young) })
				disk.Judge(func(*store.Batch) error {
					if disk.tight() {
						return errFull
					}
					return nil
				})
				time.Sleep(10 * time.Minute)
				synctest.Wait()
				if n.folders() != 23 {
					t.Errorf("%d logs of 23 are left before their time", n.folders())
				}
				time.Sleep(30 * time.Minute)
				synctest.Wait()
				if counts := n.Catalog().Counts(); counts.Terminal != len(young) || n.folders() != len(young) {
					t.Errorf("%d tasks and %d logs are left, want %d", counts.Terminal, n.folders(), len(young))
				}
			})
		})
	}
}

// The node dies when the deletion is durable and the logs are still there.
func TestACrashBetweenADeletionAndItsLogsLeavesNothing(t *testing.T) {
	onMachine(t, func(t *testing.T, m *machine) {
		l := m.begin(actors.Config{Retain: time.Hour}, false)
		l.fill(10)
		time.Sleep(30 * time.Minute)
		young := l.fill(2)
		l.mortal.fallSilent()
		time.Sleep(40 * time.Minute)
		synctest.Wait()
		l.kill()
		if got := l.folders(); got != 12 {
			t.Fatalf("%d logs of 12 are left before anybody heard of the deletion", got)
		}
		if got := len(m.content()); got != len(young) {
			t.Fatalf("%d records are left, want %d", got, len(young))
		}
		l = m.begin(actors.Config{Retain: time.Hour}, false)
		if err := l.Recovered(t.Context()); err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
		if got := l.folders(); got != len(young) {
			t.Errorf("%d logs of %d tasks", got, len(young))
		}
		for _, id := range young {
			if got := told(t, l.read(id, false)); got != "start 1, hello, finish 1 exit 0" {
				t.Errorf("a log that stays tells %q", got)
			}
		}
		l.kill()
	})
}
