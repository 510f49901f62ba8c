package actors

import (
	"time"

	"slotd/actors/catalog"
	"slotd/actors/events"
	"slotd/actors/failpoint"
	"slotd/actors/logs"
	"slotd/actors/store"
	slotdv1 "slotd/messages/slotd/v1"
)

// ledger is where durable becomes visible: every batch of every actor goes through it to the store, and once it is
// durable, in commit order, the log learns of runs begun and ended, then the catalog of the records, then those who
// follow events, and only then the actor that committed (invariant 3). So whoever sees a task terminal finds its
// run-finished in the log, whoever sees its log end finds it terminal, and whoever is told of a transition finds what it
// tells of in the catalog.
type ledger struct {
	store   store.Store
	logs    *logs.Logs
	catalog *catalog.Catalog
	events  *events.Hub
	commits *catalog.Latency
}

func (l *ledger) Commit(b *store.Batch, done func(error)) { l.store.Commit(b, l.published(b, done)) }

// CommitInto commits as a part of something greater; false: that is over, and the batch is to be committed alone.
func (l *ledger) CommitInto(part *store.Part, b *store.Batch, done func(error)) bool {
	return part.Commit(b, l.published(b, done))
}

// bracketPatience is how long several slots are given to decide about submissions that come together.
const bracketPatience = time.Second

// Bracket begins one commit of n parts.
func (l *ledger) Bracket(n int) (*store.Bracket, []*store.Part) {
	return store.NewBracket(n, bracketPatience, l.store.Commit)
}

// published is done, after what has become durable with a batch can be seen.
func (l *ledger) published(b *store.Batch, done func(error)) func(error) {
	began := time.Now()
	return func(err error) {
		if err == nil {
			l.commits.Record(time.Since(began))
			l.publish(b)
			failpoint.Hit("ledger/published")
		}
		done(err)
	}
}

func (l *ledger) publish(b *store.Batch) {
	for _, run := range b.Runs {
		l.logs.Record(run)
	}
	changes := l.catalog.Apply(b)
	for _, task := range b.Tasks {
		if task.GetPhase() == slotdv1.Phase_PHASE_FINISHED {
			l.logs.Close(task.GetId())
		}
	}
	if len(b.Deletes) > 0 {
		failpoint.Hit("retention/deleted")
		l.logs.Remove(b.Deletes...)
	}
	l.events.Publish(changes)
}
