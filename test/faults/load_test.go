package faults

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"strings"
	"sync"
	"time"

	"slotd/gateway/client"
	"slotd/messages"
	"slotd/test/faults/history"
)

// load is a number of clients that do anything at any time, and readers that follow logs, over all lives of a world.
type load struct {
	world *world
	stop  context.CancelFunc
	group sync.WaitGroup

	mu    sync.Mutex
	keyed []*history.Submission // what was sent with a key
}

// begin lets clients and readers loose.
func (w *world) load(clients, readers int) *load {
	ctx, stop := context.WithCancel(context.Background())
	o := &load{world: w, stop: stop}
	w.loads = append(w.loads, o)
	stream := uint64(1000 * len(w.loads)) // each load does other things
	for i := range clients {
		c := visitor{load: o, world: w, rand: rand.New(rand.NewPCG(w.seed, stream+uint64(i)))}
		o.group.Go(func() { c.visit(ctx) })
	}
	for i := range readers {
		c := visitor{load: o, world: w, rand: rand.New(rand.NewPCG(w.seed, stream+500+uint64(i)))}
		o.group.Go(func() { c.follow(ctx) })
	}
	return o
}

// end ends the load: no request is under way any more.
func (o *load) end() {
	o.stop()
	o.group.Wait()
}

func (o *load) label() string {
	return fmt.Sprint(o.world.labels.Add(1))
}

// visitor is one client. It belongs to one goroutine.
type visitor struct {
	load  *load
	world *world
	rand  *rand.Rand
}

// pace is the mean pause between two requests of a client.
const pace = 25 * time.Millisecond

func (v *visitor) visit(ctx context.Context) {
	pause := time.NewTimer(0)
	defer pause.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-pause.C:
		}
		l := v.world.life(ctx, nil)
		if l == nil {
			return
		}
		v.act(l)
		pause.Reset(time.Duration(v.rand.ExpFloat64() * float64(pace)))
	}
}

// act does one thing. Requests are not bound to the end of the load: each gets its answer, or loses its daemon.
func (v *visitor) act(l *life) {
	switch n := v.rand.IntN(100); {
	case n < 46:
		v.submit(l)
	case n < 52:
		v.repeat(l)
	case n < 66:
		v.cancel(l)
	case n < 78:
		v.delete(l)
	case n < 94:
		if id := v.pick(30); id != "" {
			v.ask(l, func(ctx context.Context) error { return v.world.examine(ctx, l, id) })
		}
	case n < 98:
		v.ask(l, func(ctx context.Context) error { _, err := v.world.list(ctx, l); return err })
	default:
		v.purge(l)
	}
}

// requestLimit is how long a daemon that lives may take to answer. Where actors panic, commands are lost with them, and
// nobody waits for the answer for long.
const (
	requestLimit = 40 * time.Second
	panicLimit   = 2 * time.Second
)

func (l *life) patience() (time.Duration, error) {
	if l.plan.panics() {
		return panicLimit, errPanics
	}
	return requestLimit, context.DeadlineExceeded
}

// mayRefuse says whether the daemon has a reason to refuse a request that is in order. Where it can open nothing, it can
// read nothing either.
func (l *life) mayRefuse(refused *client.Error) bool {
	return l.plan.panics() || l.unwell.Load() && (refused.Label == messages.LabelUnavailable || refused.Label == messages.LabelInternal)
}

var errPanics = errors.New("actors panic in this life")

// ask makes a request. It is no fault when the daemon ends under it.
func (v *visitor) ask(l *life, request func(context.Context) error) {
	limit, cause := l.patience()
	ctx, cancel := context.WithTimeoutCause(context.Background(), limit, cause)
	defer cancel()
	err := request(ctx)
	var refused *client.Error
	switch {
	case errors.Is(err, context.DeadlineExceeded):
		v.world.history.Report("", "no answer after %v", requestLimit)
	case errors.As(err, &refused) && refused.Label != messages.LabelTaskNotFound && !l.mayRefuse(refused):
		v.world.history.Report("", "refused: %d %s %s", refused.Status, refused.Label, refused.Message)
	}
}

func (v *visitor) submit(l *life) {
	label := v.load.label()
	key := ""
	if v.rand.IntN(4) == 0 {
		key = "key-" + label
	}
	s := v.world.history.Submitting(v.world.anySpec(v.rand, label), key)
	if key != "" {
		v.load.mu.Lock()
		v.load.keyed = append(v.load.keyed, s)
		v.load.mu.Unlock()
	}
	v.send(l, s)
}

// repeat sends once more what was sent with a key, most often what was sent lately.
func (v *visitor) repeat(l *life) {
	v.load.mu.Lock()
	var s *history.Submission
	if n := len(v.load.keyed); n > 0 {
		s = v.load.keyed[n-1-v.rand.IntN(1+v.rand.IntN(n))]
	}
	v.load.mu.Unlock()
	if s != nil {
		s.Again()
		v.send(l, s)
	}
}

// send submits, and tells the history the answer.
func (v *visitor) send(l *life, s *history.Submission) {
	limit, cause := l.patience()
	ctx, cancel := context.WithTimeoutCause(context.Background(), limit, cause)
	defer cancel()
	id, err := l.client.Submit(ctx, s.Spec, s.Key)
	var refused *client.Error
	switch {
	case err == nil:
		s.Answered(id)
	case errors.As(err, &refused):
		switch {
		case refused.Label == messages.LabelSlotBusy, refused.Label == messages.LabelQueueFull:
			s.Refused(refused.Label)
			return
		case refused.Label == messages.LabelUnavailable && !strings.Contains(refused.Message, "not known"):
			s.Refused(refused.Label)
			return
		}
		s.Lost(refused.Label) // whatever it means, it is no word on the task
		if !l.mayRefuse(refused) {
			v.world.history.Report(s.ID(), "a submission was refused: %d %s %s", refused.Status, refused.Label, refused.Message)
		}
	default:
		s.Lost(err.Error())
		if errors.Is(err, context.DeadlineExceeded) {
			v.world.history.Report(s.ID(), "a submission has no answer after %v", requestLimit)
		}
	}
}

// pick chooses a task, one that is active unless it is to be a terminal one in so many cases of a hundred.
func (v *visitor) pick(terminal int) string {
	active, ended := v.world.history.Ask()
	all := active
	if v.rand.IntN(100) < terminal || len(active) == 0 {
		all = ended
	}
	if len(all) == 0 {
		return ""
	}
	return all[v.rand.IntN(len(all))]
}

func (v *visitor) cancel(l *life) {
	id := v.pick(5)
	if id == "" {
		return
	}
	v.world.history.Canceling(id)
	v.ask(l, func(ctx context.Context) error {
		look := v.world.history.Look()
		data, err := l.client.Cancel(ctx, id)
		if err != nil {
			return err
		}
		v.world.history.Saw(look, data)
		if !data.GetStatus().GetTerminal() {
			v.world.history.Report(id, "a cancel was answered with %v", data.GetStatus())
		}
		return nil
	})
}

func (v *visitor) delete(l *life) {
	id := v.pick(90)
	if id == "" {
		return
	}
	v.world.history.Deleting(id)
	v.ask(l, func(ctx context.Context) error {
		err := l.client.Delete(ctx, id)
		if err == nil {
			v.world.history.Deleted(id)
		}
		return err
	})
}

// stubborn submits a task that takes the place of the one before it and does not obey: each must be killed.
func (v *visitor) stubborn(l *life) {
	label := v.load.label()
	s := spec("stubborn", label, v.world.command(role{run: 20 * time.Second, deaf: true}))
	s.Admission, s.StopGraceMs = replace, new(uint64(50))
	v.send(l, v.world.history.Submitting(s, ""))
}

func (v *visitor) purge(l *life) {
	slot := fmt.Sprintf("s%d", v.rand.IntN(v.world.slots))
	v.world.history.Purging(slot)
	v.ask(l, func(ctx context.Context) error {
		_, err := l.client.Purge(ctx, slot, v.rand.IntN(2) == 0)
		return err
	})
}
