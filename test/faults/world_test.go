package faults

import (
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"slotd/gateway/client"
	soltiv1 "slotd/messages/solti/v1"
	"slotd/test/faults/history"
	"slotd/test/faults/mark"
)

// world is one data directory over many lives of its daemon.
type world struct {
	t       testing.TB
	seed    uint64
	rand    *rand.Rand // of the one goroutine that leads the world
	binary  string
	puppet  string
	dir     string   // of everything
	args    []string // further flags of serve
	env     []string // further variables of the daemon
	node    string
	slots   int
	history *history.History
	labels  atomic.Int64 // how many were given away
	loads   []*load

	marking sync.Mutex
	marks   mark.Reader

	gate    sync.Mutex
	serving *life         // nil while there is none that clients may use
	changed chan struct{} // closed when serving changes

	last   *life
	passed map[string]int // points, and how often
	kills  int
}

// newWorld makes a world and its directory. When the test is over nothing of it is left, and its problems have failed
// the test.
func newWorld(t testing.TB, binary string, seed uint64, args ...string) *world {
	t.Helper()
	dir, err := os.MkdirTemp("", "slotd-faults-") //nolint:usetesting // the path of a socket is short, and -keep leaves it
	if err != nil {
		t.Fatal(err)
	}
	w := &world{
		t: t, seed: seed, rand: rand.New(rand.NewPCG(seed, 0)), binary: binary, puppet: must(t, puppet), dir: dir, slots: 6,
		args: args, node: filepath.Base(dir), history: history.New(), changed: make(chan struct{}), passed: make(map[string]int),
	}
	w.marks.Path = filepath.Join(dir, "marks")
	if err := os.Mkdir(filepath.Join(dir, "slots"), 0o700); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(w.close)
	return w
}

func (w *world) data() string { return filepath.Join(w.dir, "data") }

// start begins the next life of the daemon.
func (w *world) start(p plan) *life {
	w.t.Helper()
	number := w.history.Begin(p.String())
	args := append([]string{
		"--data", w.data(), "--store", *storeFlag, "--node", w.node, "--slot-queue", "8", "--runner-env", fmt.Sprintf("FAULTS_LIFE=%d", number),
	}, w.args...)
	l, err := begin(w.binary, filepath.Join(w.dir, fmt.Sprintf("s%d", number)), p, args, w.env)
	if err != nil {
		w.t.Fatal(err)
	}
	l.number, w.last = number, l
	return l
}

// finish takes down what is known once a life is over.
func (w *world) finish(l *life) {
	w.t.Helper()
	l.awaitEnd(w.t)
	w.open(nil)
	w.history.Over(l.state.String())
	for _, name := range l.passed() {
		w.passed[name]++
	}
	if what := l.complaint(); what != "" {
		w.history.Report("", "its log complains:\n%s", what)
	}
	if l.wasKilled() {
		w.kills++
	}
}

// open lets clients use a life; nil lets them wait for the next.
func (w *world) open(l *life) {
	w.gate.Lock()
	defer w.gate.Unlock()
	if w.serving != l {
		w.serving = l
		close(w.changed)
		w.changed = make(chan struct{})
	}
}

// life waits for one that clients may use, other than the given one; nil when ctx is done first.
func (w *world) life(ctx context.Context, not *life) *life {
	for {
		w.gate.Lock()
		l, changed := w.serving, w.changed
		w.gate.Unlock()
		if l != nil && l != not && ctx.Err() == nil {
			return l
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return nil
		}
	}
}

// read tells the history the marks that were made since the last call.
func (w *world) read() {
	w.marking.Lock()
	defer w.marking.Unlock()
	marks, err := w.marks.Next()
	if err != nil {
		w.history.Report("", "read marks: %v", err)
	}
	w.history.Marked(marks)
}

// broken fails the test when there are problems, and says whether there are.
func (w *world) broken() bool { return len(w.history.Problems()) > 0 }

// list tells the history what there is, and returns it.
func (w *world) list(ctx context.Context, l *life) ([]*soltiv1.TaskData, error) {
	look := w.history.Look()
	var tasks []*soltiv1.TaskData
	for data, err := range l.client.All(ctx, client.Filter{}) {
		if err != nil {
			return nil, err
		}
		tasks = append(tasks, data)
	}
	w.history.Listed(look, tasks)
	return tasks, nil
}

// close reports the problems, and leaves nothing behind.
func (w *world) close() {
	for _, o := range w.loads {
		o.stop()
	}
	if l := w.last; l != nil {
		w.open(nil)
		end := syscall.SIGKILL
		if *keepFlag && w.broken() {
			end = syscall.SIGABRT // with a look at its goroutines
		}
		if err := l.signal(end); err != nil {
			w.t.Error(err)
		}
		<-l.over
	}
	for _, o := range w.loads {
		o.group.Wait()
	}
	problems := w.history.Problems()
	for i, p := range problems {
		switch {
		case i == 0: // the others tend to follow from it
			w.t.Errorf("seed %d, %s\n%s", w.seed, p, w.history.Story(p))
		case i < 5:
			w.t.Errorf("seed %d, %s", w.seed, p)
		case i == 5:
			w.t.Errorf("… and %d more", len(problems)-i)
		}
	}
	if w.t.Failed() && w.last != nil {
		w.t.Logf("seed %d, log of life %d:\n%s", w.seed, w.last.number, tailOf(w.last.log.String()))
	}
	w.killAll()
	if *keepFlag && w.t.Failed() {
		if err := os.WriteFile(filepath.Join(w.dir, "log"), []byte(w.last.log.String()), 0o600); err != nil {
			w.t.Error(err)
		}
		w.t.Logf("left: %s", w.dir)
		return
	}
	if err := os.RemoveAll(w.dir); err != nil {
		w.t.Error(err)
	}
}

// lead leads the world through lives until it was killed so often, or ends of itself when something is wrong.
func (w *world) lead(ctx context.Context, kills int) {
	w.t.Helper()
	p := planner{rand: w.rand}
	for w.kills < kills && !w.broken() && ctx.Err() == nil {
		w.liveThrough(ctx, w.start(p.next()))
	}
}

// liveThrough opens a life for clients as soon as it has been looked at, and returns when it is over.
func (w *world) liveThrough(ctx context.Context, l *life) {
	w.t.Helper()
	obeyed := make(chan error, 1)
	go func() { obeyed <- l.obey() }()
	select {
	case <-l.ready:
		if _, err := w.list(ctx, l); err == nil || !isOver(l) {
			w.open(l)
		}
		w.buried(l)
	case <-l.over:
	}
	if err := <-obeyed; err != nil {
		w.history.Report("", "%v", err)
	}
	w.finish(l)
	if !l.wasKilled() {
		w.history.Report("", "it ended by itself, %v:\n%s", l.state, tailOf(l.log.String()))
	}
	w.read()
}

// isOver says whether the daemon has ended, or does within a moment: its connections break first.
func isOver(l *life) bool {
	select {
	case <-l.over:
		return true
	case <-time.After(time.Second):
		return false
	}
}

// burial is how long the daemon may take to end what earlier lives have left.
const burial = 10 * time.Second

// buried checks that nothing which an earlier life has started is alive, or will be for long.
func (w *world) buried(l *life) {
	w.read()
	dead := make(map[int]bool)
	alive := func() (left []mark.Mark) {
		for _, m := range w.history.Remains() {
			if !dead[m.PID] && mark.Alive(m.PID, m.Born) {
				left = append(left, m)
			} else {
				dead[m.PID] = true
			}
		}
		return left
	}
	within(burial, func() bool {
		select {
		case <-l.over: // the next life will see to them
			return true
		default:
			return len(alive()) == 0
		}
	})
	select {
	case <-l.over:
	default:
		for _, m := range alive() {
			w.history.Report(m.Task, "%v after the daemon began, a process of an earlier life is alive: %s", burial, m)
		}
	}
}
