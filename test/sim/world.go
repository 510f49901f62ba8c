package sim

import (
	"fmt"
	"path/filepath"
	"sync"
	"testing"
	"time"

	soltiv1 "slotd/messages/solti/v1"
)

// world is one seed: what outlives the node, who uses it, and what has happened. Its lock is the instant: what happens
// under it, happens as a whole before a crash or not at all.
type world struct {
	t       *testing.T
	seed    uint64
	dice    *dice // of the one who runs the world
	dir     string
	image   image
	machine *machine
	plan    plan

	mu       sync.Mutex
	history  history
	lives    int
	present  *life // nil between lives
	requests int
	tasks    []string                       // ids that clients know, in no particular order
	keys     map[string]*soltiv1.CreateSpec // specs of idempotency keys that were used
	over     bool                           // no more clients
}

// plan is what a seed makes of a world.
type plan struct {
	lives      int
	clients    int
	slots      int
	slotQueue  int
	maxRunning int
	retain     int // tasks; 0 = all
	idleAfter  time.Duration
	sync       time.Duration             // usual most of one sync
	fail       int                       // one batch in so many fails; 0 = none
	fashion    soltiv1.AdmissionStrategy // what most clients ask for; 0 = anything
	outages    bool
	panics     bool
}

func newPlan(d *dice) plan {
	return plan{
		lives: 2 + d.n(3), clients: 2 + d.n(3), slots: 1 + d.n(3), slotQueue: 1 + d.n(4), maxRunning: pick(d, 0, 0, 1, 2),
		retain: pick(d, 0, 0, 5), idleAfter: pick(d, time.Millisecond, time.Second),
		sync: pick(d, 100*time.Microsecond, 2*time.Millisecond, 20*time.Millisecond),
		fail: pick(d, 0, 0, 8, 30, 200), fashion: pick(d, 0, 0, soltiv1.AdmissionStrategy(1+d.n(3))), outages: d.one(3), panics: d.one(3),
	}
}

// run lets a world happen, in a bubble, and returns its history.
func run(t *testing.T, seed uint64) history {
	d := newDice(seed, 0)
	w := &world{
		t: t, seed: seed, dice: d, dir: t.TempDir(), image: newImage(1000), plan: newPlan(d),
		machine: &machine{seed: seed, living: map[*process]struct{}{}}, keys: map[string]*soltiv1.CreateSpec{},
	}
	w.machine.world = w
	defer func() {
		if err := w.image.Close(); err != nil {
			t.Error(err)
		}
		time.Sleep(2 * time.Minute) // what the runtime leaves, and the last timers
	}()

	var clients sync.WaitGroup
	for range w.plan.clients {
		c := &client{world: w, dice: newDice(seed, d.stream())}
		clients.Go(c.live)
	}
	logs := filepath.Join(w.dir, "logs")
	for n := range w.plan.lives {
		l := w.start(logs, n == w.plan.lives-1)
		logs = l.spend()
		w.machine.wait(d)
	}
	w.mu.Lock()
	w.over = true
	w.mu.Unlock()
	clients.Wait()
	return w.history
}

// wait lets time pass between two lives. Processes of the first may end meanwhile; the rest is swept away.
func (m *machine) wait(d *dice) {
	time.Sleep(d.mostly(200 * time.Millisecond))
	m.sweep()
}

// note writes down what does not depend on the node.
func (w *world) note(f func(note func(fact))) {
	w.mu.Lock()
	defer w.mu.Unlock()
	f(w.add)
}

func (w *world) add(f fact) { w.history = append(w.history, entry{time.Now(), w.lives, f}) }

// recorded says whether the disk knows that an attempt has begun. It is called within an instant.
func (w *world) recorded(a attempt) bool {
	runs, err := w.image.Runs(w.t.Context(), a.task)
	if err != nil || len(runs) == 0 {
		return false
	}
	last := runs[len(runs)-1]
	return last.GetAttempt() == a.number && last.GetFinishedAt() == 0
}

// node returns the present life, or nil.
func (w *world) node() (present *life, over bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.present, w.over
}

func (w *world) request() int {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.requests++
	return w.requests
}

func (w *world) slot(d *dice) string { return fmt.Sprint("lane-", d.n(w.plan.slots)) }

// known is a task that some client has heard of; "" when there is none.
func (w *world) known(d *dice) string {
	w.mu.Lock()
	defer w.mu.Unlock()
	if len(w.tasks) == 0 {
		return ""
	}
	recent := min(len(w.tasks), 8) // the old ones have ended long since
	if d.one(8) {
		recent = len(w.tasks)
	}
	return w.tasks[len(w.tasks)-1-d.n(recent)]
}
