package actors

import (
	"os"
	"runtime"
	"runtime/metrics"
	"slices"
	"time"

	"github.com/asynkron/protoactor-go/actor"

	"slotd/actors/events"
	"slotd/actors/logs"
	"slotd/actors/store"
	slotdv1 "slotd/messages/slotd/v1"
)

const longestQueues = 100

// Introspect takes a snapshot of the node from memory. It takes about a millisecond.
func (t *Tree) Introspect() *slotdv1.IntrospectResponse {
	counts, attempts, kept, logged := t.catalog.Counts(), t.executor.Stats(), t.cfg.Store.Stats(), t.cfg.Logs.Stats()
	view := &slotdv1.IntrospectResponse{
		Node:            t.cfg.Node,
		StartedAt:       t.began.UnixMilli(),
		Now:             time.Now().UnixMilli(),
		Actors:          t.actors(),
		DeadLetters:     t.deadLetters.Load(),
		SlotsLive:       uint64(t.live.Load()),
		SlotsOccupied:   uint64(counts.Occupied),
		Tasks:           make(map[string]uint64, len(counts.Tasks)),
		TasksActive:     uint64(counts.Active),
		Queued:          uint64(counts.Queued),
		AttemptsRunning: uint64(attempts.Running),
		AttemptsWaiting: uint64(attempts.Waiting),
		AttemptsStarted: uint64(attempts.Started),
		Decisions:       t.catalog.Decisions(),
		Goroutines:      uint64(runtime.NumGoroutine()),
		HeapBytes:       heapBytes(),
		OpenFds:         openFiles(),
		Store:           storeView(kept),
		Logs:            logsView(logged),
		Events:          eventsView(t.events.Stats()),
		Latencies:       map[string]*slotdv1.LatencyView{"commit": t.ledger.commits.View()},
		Queues:          t.catalog.Longest(longestQueues),
	}
	for status, n := range counts.Tasks {
		view.Tasks[status.String()] = uint64(n)
	}
	if len(view.Queues) > 0 {
		view.QueueDepthMax = view.Queues[0].GetDepth()
	}
	for _, info := range t.router.Infos() {
		view.Runners = append(view.Runners, &slotdv1.RunnerView{
			Name: info.Name, Kind: info.Kind, Labels: info.Labels, Tree: info.Tree, Limits: info.Limits,
		})
	}
	return view
}

// Nodes returns the members: this node alone.
func (t *Tree) Nodes() []*slotdv1.NodeView {
	view := &slotdv1.NodeView{
		Name: t.cfg.Node, Self: true, Version: t.cfg.Version, StartedAt: t.began.UnixMilli(), Labels: t.cfg.Labels,
		AttemptsRunning: uint64(t.executor.Stats().Running), TasksActive: uint64(t.catalog.Active()),
	}
	if problem := t.Ready(); problem != nil {
		view.Problem = problem.Error()
	} else {
		view.Ready = true
	}
	for _, info := range t.router.Infos() {
		if !slices.Contains(view.Kinds, info.Kind) {
			view.Kinds = append(view.Kinds, info.Kind)
		}
	}
	return []*slotdv1.NodeView{view}
}

func storeView(s store.Stats) *slotdv1.StoreView {
	view := &slotdv1.StoreView{
		Kind: s.Kind, Writable: s.Writable, Commits: s.Commits, Records: s.Records,
		Bytes: uint64(max(0, s.Bytes)), OldestCommitMs: uint64(max(0, s.Oldest.Milliseconds())),
	}
	if s.Problem != nil {
		view.Problem = s.Problem.Error()
	}
	return view
}

func logsView(s logs.Stats) *slotdv1.LogsView {
	view := &slotdv1.LogsView{
		Hubs: uint64(s.Hubs), Subscribers: uint64(s.Subscribers), Bytes: uint64(s.Bytes), Segments: uint64(s.Segments),
		Failing: uint64(s.Failing), Backlog: uint64(s.Backlog), Lost: uint64(s.Lost),
	}
	if s.Problem != nil {
		view.Problem = s.Problem.Error()
	}
	return view
}

func eventsView(s events.Stats) *slotdv1.EventsView {
	return &slotdv1.EventsView{
		Subscribers: uint64(s.Subscribers), Published: s.Published, Kept: uint64(s.Kept), Bytes: uint64(s.Bytes),
	}
}

// actors counts them; not the other processes of the actor system, such as replies that wait for a command.
func (t *Tree) actors() uint64 {
	var n uint64
	for _, bucket := range t.system.ProcessRegistry.LocalPIDs.LocalPIDs {
		bucket.IterCb(func(_ string, process any) {
			if _, ok := process.(*actor.ActorProcess); ok {
				n++
			}
		})
	}
	return n
}

func heapBytes() uint64 {
	sample := []metrics.Sample{{Name: "/memory/classes/heap/objects:bytes"}}
	metrics.Read(sample)
	return sample[0].Value.Uint64()
}

// openFiles counts file descriptors; 0 where the system does not tell.
func openFiles() uint64 {
	entries, err := os.ReadDir("/proc/self/fd")
	if err != nil || len(entries) == 0 {
		return 0
	}
	return uint64(len(entries) - 1) // without the one that read the directory
}
