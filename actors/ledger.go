package actors

import (
	"errors"
	"sync/atomic"
	"time"

	"github.com/hashicorp/go-hclog"

	"slotd/actors/catalog"
	"slotd/actors/logs"
	"slotd/actors/store"
	slotdv1 "slotd/messages/slotd/v1"
)

// ledger is where durable becomes visible: every batch of every actor goes through it to the store, and once it is
// durable, in commit order, the log learns of runs begun and ended, then the catalog of the records, and only then the
// actor that committed (invariant 3). So whoever sees a task terminal finds its run-finished in the log, and whoever
// sees its log end finds it terminal.
type ledger struct {
	store   store.Store
	logs    *logs.Logs
	catalog *catalog.Catalog
	logger  hclog.Logger
	commits *catalog.Latency

	// refused holds the tasks whose admission failed. Their actor may have committed behind the admission already, and
	// the store may have kept that: it is taken back. Touched by the store's goroutine only.
	refused, before map[string]struct{}
	closed          atomic.Bool
}

// keepRefused bounds the set of refused tasks: their actors commit at most once, right behind the admission.
const keepRefused = 10_000

func (l *ledger) Commit(b *store.Batch, done func(error)) {
	began := time.Now()
	l.store.Commit(b, func(err error) {
		switch {
		case err == nil:
			l.commits.Record(time.Since(began))
			err = l.publish(b)
		case !errors.Is(err, store.ErrClosed):
			l.refuse(b)
		}
		done(err)
	})
}

func (l *ledger) publish(b *store.Batch) error {
	if len(l.refused)+len(l.before) > 0 {
		if orphans := l.orphans(b); len(orphans) > 0 {
			l.takeBack(orphans)
			return store.ErrRefused
		}
	}
	for _, run := range b.Runs {
		l.logs.Record(run)
	}
	l.catalog.Apply(b)
	for _, task := range b.Tasks {
		if task.GetPhase() == slotdv1.Phase_PHASE_FINISHED {
			l.logs.Close(task.GetId())
		}
	}
	if len(b.Deletes) > 0 {
		l.logs.Remove(b.Deletes...)
	}
	return nil
}

func (l *ledger) refuse(b *store.Batch) {
	for _, spec := range b.Specs {
		if len(l.refused) >= keepRefused || l.refused == nil {
			l.before, l.refused = l.refused, make(map[string]struct{})
		}
		l.refused[spec.GetTaskId()] = struct{}{}
	}
}

// orphans lists the tasks of a batch that were never admitted.
func (l *ledger) orphans(b *store.Batch) []string {
	var ids []string
	for _, task := range b.Tasks {
		_, now := l.refused[task.GetId()]
		_, before := l.before[task.GetId()]
		if now || before {
			ids = append(ids, task.GetId())
		}
	}
	return ids
}

func (l *ledger) takeBack(ids []string) {
	l.store.Commit(&store.Batch{Deletes: ids}, func(err error) {
		if err != nil {
			l.logger.Error("record of a refused task not taken back", "task_id", ids[0], "error", err)
		}
	})
}
