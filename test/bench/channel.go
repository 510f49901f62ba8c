package bench

import (
	"context"
	"fmt"
	"sync"
	"time"
)

func noop(c Config) Section {
	return Section{
		Name: "noop",
		About: fmt.Sprintf("%s tasks that do nothing, each in its own slot, without HTTP and without a disk, until all are terminal. The floor sends %s of them through a "+
			"channel, starts a goroutine for each and hears of its end through a second channel.", number(float64(c.Tasks)), number(float64(c.Messages))),
		Probes: []Probe{{
			Metrics: []Metric{{Name: "goroutines through a channel", Unit: "tasks/s"}},
			Measure: func(context.Context) ([]float64, error) {
				return []float64{PerSecond(c.Messages, channelTasks(c.Messages))}, nil
			},
		}, {
			Metrics: []Metric{{
				Name: "slotd, no-op runner", Unit: "tasks/s", Floor: "goroutines through a channel", Bound: Bound{Min: 20_000},
			}},
			Measure: func(ctx context.Context) ([]float64, error) {
				took, _, err := slotdTasks(ctx, c, inMemory)
				return []float64{PerSecond(c.Tasks, took)}, err
			},
		}},
	}
}

// channelTasks accepts, starts and ends n tasks that do nothing.
func channelTasks(n int) time.Duration {
	submitted, ended := make(chan int, 128), make(chan int, 128)
	start := time.Now()
	go func() {
		defer close(submitted)
		for id := range n {
			submitted <- id
		}
	}()
	go func() {
		for id := range submitted {
			go func() { ended <- id }()
		}
	}()
	for range n {
		<-ended
	}
	return time.Since(start)
}

// askers is how many goroutines ask the owner of the queue at the same time.
const askers = 64

func admission(c Config) Section {
	return Section{
		Name: "admission",
		About: fmt.Sprintf("%s tasks queued in one busy slot, without HTTP and without a disk, %d at a time. The floor is one goroutine that "+
			"owns a FIFO and answers each request on the asker's channel.", number(float64(c.Tasks)), askers),
		Probes: []Probe{{
			Metrics: []Metric{{Name: "one goroutine that owns a FIFO", Unit: "admissions/s"}},
			Measure: func(context.Context) ([]float64, error) {
				rate, err := channelQueue(c.Messages)
				return []float64{rate}, err
			},
		}, {
			Metrics: []Metric{{
				Name: "slotd, one hot slot", Unit: "admissions/s", Floor: "one goroutine that owns a FIFO", Bound: Bound{Min: 10_000},
			}},
			Measure: func(ctx context.Context) ([]float64, error) {
				rate, err := slotdQueue(ctx, c, inMemory)
				return []float64{rate}, err
			},
		}},
	}
}

type enqueue struct {
	id     int
	answer chan<- int // the position in the queue
}

// channelQueue admits tasks to one queue, n rounded down to a multiple of askers, and returns how many a second.
func channelQueue(n int) (float64, error) {
	asked := make(chan enqueue, askers)
	var askersDone, ownerDone sync.WaitGroup
	var queue []int
	start := time.Now()
	ownerDone.Go(func() {
		for request := range asked {
			queue = append(queue, request.id)
			request.answer <- len(queue)
		}
	})
	each := n / askers
	for asker := range askers {
		askersDone.Go(func() {
			answer := make(chan int, 1)
			for i := range each {
				asked <- enqueue{asker*each + i, answer}
				<-answer
			}
		})
	}
	askersDone.Wait()
	close(asked)
	ownerDone.Wait()
	took := time.Since(start)
	if len(queue) != each*askers {
		return 0, fmt.Errorf("%d tasks in the queue, want %d", len(queue), each*askers)
	}
	return PerSecond(len(queue), took), nil
}
