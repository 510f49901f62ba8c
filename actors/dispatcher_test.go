package actors

import (
	"runtime"
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

func TestMailboxWaitsForNoOther(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := newDispatcher()
		release := make(chan struct{})
		var waiting atomic.Int64
		for range 3 * mostIdle {
			d.Schedule(func() { waiting.Add(1); <-release })
		}
		synctest.Wait()
		if got := waiting.Load(); got != 3*mostIdle {
			t.Errorf("%d of %d run", got, 3*mostIdle)
		}
		close(release)
		synctest.Wait()
		if got := d.idle.Load(); got > mostIdle {
			t.Errorf("%d goroutines are kept, want at most %d", got, mostIdle)
		}
		time.Sleep(20 * trimEvery)
		synctest.Wait()
		few := int64(2 * runtime.GOMAXPROCS(0))
		if got := d.idle.Load(); got > few {
			t.Errorf("%d goroutines are kept after a while, want at most %d", got, few)
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
		d.release()
		if d.shrink.Stop() {
			t.Error("the timer is set")
		}
	})
}
