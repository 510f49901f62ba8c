package actors

import (
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

func TestDispatcherRunsEveryMailbox(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := newDispatcher()
		var ran atomic.Int64
		for range 8 {
			go func() {
				for i := range 2000 {
					d.Schedule(func() {
						if ran.Add(1); i%10 == 0 {
							d.Schedule(func() { ran.Add(1) }) // as a mailbox does that has had its turn
						}
					})
				}
			}()
		}
		synctest.Wait()
		if got := ran.Load(); got != 8*2200 {
			t.Errorf("%d of %d ran", got, 8*2200)
		}
		d.stop()
	})
}

// Handlers do not block. If they do, the others get their turn nevertheless.
func TestMailboxWaitsForNoOtherForLong(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := newDispatcher()
		release := make(chan struct{})
		var waiting atomic.Int64
		const many = 500
		for range many {
			d.Schedule(func() { waiting.Add(1); <-release })
		}
		time.Sleep(20 * stall)
		if got := waiting.Load(); got != many {
			t.Errorf("%d of %d run", got, many)
		}
		close(release)
		time.Sleep(20 * calmLooks * stall)
		if got := d.workers.Load(); got > d.size.Load() {
			t.Errorf("%d goroutines are kept, want at most %d", got, d.size.Load())
		}
		if d.watching.Load() {
			t.Error("the timer runs while there is nothing to do")
		}
		ran := false
		d.Schedule(func() { ran = true })
		synctest.Wait()
		if !ran {
			t.Error("nothing runs any more")
		}
		d.stop()
	})
}

// What blocks for long delays the others once, not each of their turns.
func TestABlockedHandlerDelaysOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := newDispatcher()
		release := make(chan struct{})
		for range d.size.Load() {
			d.Schedule(func() { <-release })
		}
		synctest.Wait()
		began := time.Now()
		for range 20 {
			ran := make(chan struct{})
			d.Schedule(func() { close(ran) })
			<-ran
			time.Sleep(time.Millisecond)
		}
		if took := time.Since(began); took > stall+20*time.Millisecond {
			t.Errorf("20 turns, a millisecond apart, took %v", took)
		}
		close(release)
		d.stop()
	})
}

// A timer that has fired may schedule the mailbox of its actor when all is over, however far the dispatcher has come with
// its end.
func TestDispatcherRunsWhatComesLate(t *testing.T) {
	const many = 200
	for range 200 {
		d := newDispatcher()
		var scheduled, ran sync.WaitGroup
		ran.Add(2 * many)
		for range 2 {
			scheduled.Go(func() {
				for range many {
					d.Schedule(ran.Done)
				}
			})
		}
		d.stop()
		scheduled.Wait()
		ran.Wait()
	}
}

func TestScheduleNeverWaits(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := newDispatcher()
		release := make(chan struct{})
		var waiting atomic.Int64
		const many = mostQueued + 100
		for range many {
			d.Schedule(func() { waiting.Add(1); <-release })
		}
		close(release)
		synctest.Wait()
		if got := waiting.Load(); got != many {
			t.Errorf("%d of %d ran", got, many)
		}
		d.stop()
	})
}

func TestStopOfTheDispatcherWaitsForWhatRuns(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := newDispatcher()
		var ended atomic.Bool
		d.Schedule(func() {
			time.Sleep(time.Minute)
			ended.Store(true)
		})
		d.stop()
		if !ended.Load() {
			t.Error("a mailbox was left alone")
		}
	})
}

// The timer may fire while the dispatcher stops, and must not set itself again for ever.
func TestStoppedDispatcherSetsNoTimer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := newDispatcher()
		d.stop()
		d.look()
		if d.watch.Stop() {
			t.Error("the timer is set")
		}
	})
}
