package faults

import (
	"fmt"
	"math/rand/v2"
	"strings"
	"time"
)

// point is a named place at which the daemon kills itself.
type point struct {
	name string
	most int // hits within one life, roughly: it happens at a random one up to here
}

// points are those around every durable step and around fork and exec. A run in which one of them has killed nobody
// fails.
var points = []point{
	{"store/before", 60},      // a batch is about to be written
	{"store/applied", 60},     // it is written, and not durable
	{"store/synced", 60},      // it is durable, and nobody knows
	{"ledger/published", 60},  // readers see it, its committer does not know
	{"fork/before", 20},       // the attempt is recorded, and has no process
	{"fork/after", 20},        // it has one, and nobody knows
	{"attempt/exited", 20},    // the process is reaped, and nobody knows
	{"log/written", 80},       // lines are in the file, and no reader knows
	{"retention/deleted", 10}, // a task was dropped, and more is to go
}

// actors are the beginnings of the points that each actor passes with each message. They panic: the daemon goes on, and
// what it rebuilds attaches to the attempts that run.
var actors = []point{
	{"actor/task.", 40},
	{"actor-after/task.", 40},
	{"actor/slot.", 40},
	{"actor-after/slot.", 40},
	{"actor/registry.", 40},
	{"actor-after/registry.", 40},
	{"actor/executor.", 40},
	{"actor-after/executor.", 40},
	{"actor/actors.", 2},
	{"actor-after/actors.", 2}, // retention: it does little
}

// plan says how one life of a daemon ends, and what befalls it before.
type plan struct {
	early  bool          // the time counts from the start of the process, not from when it is ready
	after  time.Duration // then it is killed, if it still lives
	points []string      // as SLOTD_FAILPOINTS has them
	calm   bool          // it is not killed
}

// String is the plan in the story.
func (p plan) String() string {
	switch {
	case p.calm:
		return "it goes on"
	case p.early:
		return fmt.Sprintf("killed %v after its start, points %v", p.after, p.points)
	default:
		return fmt.Sprintf("killed %v after it is ready, points %v", p.after, p.points)
	}
}

func (p plan) panics() bool {
	return strings.Contains(strings.Join(p.points, ","), "=panic")
}

// planner makes the plans of one world.
type planner struct {
	rand  *rand.Rand
	round []point // what of points is still to come in this round
}

// next draws a plan: half of them by the clock, half by a point; each point in turn, in a random order.
func (p *planner) next() plan {
	var made plan
	switch draw := p.rand.IntN(100); {
	case draw < 12:
		made.early, made.after = true, time.Duration(p.rand.IntN(300))*time.Millisecond
	case draw < 45:
		made.after = time.Duration(p.rand.IntN(1200)) * time.Millisecond
	default:
		// Most first hits are of interest: recovery, and a daemon that has just become ready.
		point := p.point()
		made.points = append(made.points, fmt.Sprintf("%s=kill@%d", point.name, 1+p.rand.IntN(1+p.rand.IntN(point.most))))
		made.after = 1500 * time.Millisecond
	}
	if p.rand.IntN(4) == 0 {
		actor := actors[p.rand.IntN(len(actors))]
		made.points = append(made.points, fmt.Sprintf("%s*=panic@%d", actor.name, 1+p.rand.IntN(actor.most)))
	}
	if p.rand.IntN(6) == 0 { // what is under way takes longer
		name := []string{"store/before", "store/applied", "store/synced", "fork/after", "attempt/exited"}[p.rand.IntN(5)]
		made.points = append(made.points, fmt.Sprintf("%s=sleep:%dms@%d", name, 20+p.rand.IntN(200), 1+p.rand.IntN(20)))
	}
	return made
}

func (p *planner) point() point {
	if len(p.round) == 0 {
		p.round = append(p.round, points...)
		p.rand.Shuffle(len(p.round), func(i, j int) { p.round[i], p.round[j] = p.round[j], p.round[i] })
	}
	next := p.round[0]
	p.round = p.round[1:]
	return next
}
