package bench

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"strconv"
	"time"

	"google.golang.org/protobuf/proto"

	"slotd/actors/store"
	"slotd/messages"
	soltiv1 "slotd/messages/solti/v1"
)

const (
	// storeDir is the folder that FillStore makes.
	storeDir = "store"
	// ahead is how many batches may be under way.
	ahead = 4096
)

// active is how many of n retained tasks have not ended.
func active(n int) int { return min(1000, n/10) }

const (
	// pileFails: one in so many tasks of a pile has failed.
	pileFails = 3
)

// pileSlot is the name of one of a pile's slots.
func pileSlot(n int) string { return fmt.Sprintf("pile-%02d", n) }

// FillPile makes a store of n tasks that have ended, in a few slots, and otherwise does what FillStore does.
func FillPile(ctx context.Context, n int, stdin io.Reader, stdout io.Writer) error {
	ended, err := writes(ctx, ".", ends)
	if err != nil {
		return err
	}
	inPile := func(i int) *soltiv1.CreateSpec {
		spec := build(i)
		spec.Slot = pileSlot(i % pileSlots)
		return spec
	}
	return fillStore(ctx, n, stdin, stdout, inPile, func(i int, id string, spec *soltiv1.CreateSpec, at time.Time) []*store.Batch {
		var like []*store.Batch
		for _, b := range ended {
			like = append(like, another(b, id, spec, at))
		}
		if last := like[len(like)-1].Tasks; i%pileFails == 0 {
			last[len(last)-1].Status = soltiv1.TaskStatus_TASK_STATUS_FAILED
		}
		return like
	})
}

// FillStore makes a store of n tasks in the present folder, as a node would have left it: batch by batch what the life
// of each writes, a millisecond apart, the active ones last and with an attempt that runs. Once all is durable it says
// so in a line, and waits for the end of stdin with the store open, so that it can be killed as it is.
func FillStore(ctx context.Context, n int, stdin io.Reader, stdout io.Writer) error {
	ended, err := writes(ctx, ".", ends)
	if err != nil {
		return err
	}
	begun, err := writes(ctx, ".", runs)
	if err != nil {
		return err
	}
	return fillStore(ctx, n, stdin, stdout, build, func(i int, id string, spec *soltiv1.CreateSpec, at time.Time) []*store.Batch {
		life := ended
		if i >= n-active(n) {
			life = begun
		}
		like := make([]*store.Batch, len(life))
		for i, b := range life {
			like[i] = another(b, id, spec, at)
		}
		return like
	})
}

// fillStore writes what life says of each task.
func fillStore(ctx context.Context, n int, stdin io.Reader, stdout io.Writer, spec func(i int) *soltiv1.CreateSpec,
	life func(i int, id string, spec *soltiv1.CreateSpec, at time.Time) []*store.Batch,
) (err error) {
	kept, err := onDisk(storeDir)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, kept.Close()) }()
	var minter messages.Minter
	first := time.Now().Add(-time.Duration(n) * time.Millisecond)
	free, failed := make(chan struct{}, ahead), make(chan error, 1)
	done := func(err error) {
		if err != nil {
			select {
			case failed <- err:
			default: // one is enough
			}
		}
		<-free
	}
	for i := range n {
		at, spec := first.Add(time.Duration(i)*time.Millisecond), spec(i)
		id := minter.Mint(at, spec.GetSlot())
		for _, b := range life(i, id, spec, at) {
			select {
			case free <- struct{}{}:
			case <-ctx.Done():
				return ctx.Err()
			}
			kept.Commit(b, done)
		}
	}
	for range ahead {
		free <- struct{}{} // all is answered
	}
	select {
	case err := <-failed:
		return err
	default:
	}
	if _, err := fmt.Fprintln(stdout, "filled"); err != nil {
		return err
	}
	_, err = io.Copy(io.Discard, stdin)
	return err
}

// build is a task as people have them, the i-th of many in a slot of its own: much of it is the same in all, some is not.
func build(i int) *soltiv1.CreateSpec {
	commit := sha256.Sum256(strconv.AppendInt(nil, int64(i), 10))
	spec := commandSpec(slotName(i), "/usr/local/bin/build", "--target", "//services/"+slotName(i)+":image", "--commit", hex.EncodeToString(commit[:20]))
	task := spec.GetKind().GetSubprocess()
	task.Cwd = new("/srv/checkout/" + slotName(i))
	task.Env = []*soltiv1.KeyValue{
		{Key: "CI", Value: "true"},
		{Key: "CACHE_URL", Value: "https://cache.example.com/builds"},
		{Key: "TRACE_ID", Value: hex.EncodeToString(commit[16:])},
	}
	spec.Labels = map[string]string{"team": fmt.Sprintf("team-%d", i%12), "trigger": "push"}
	messages.Defaults(spec)
	return spec
}

// another is the same batch for another task, created at another time from another spec.
func another(b *store.Batch, id string, spec *soltiv1.CreateSpec, at time.Time) *store.Batch {
	created := at.UnixMilli()
	like := &store.Batch{}
	var later int64 // than the one that is copied
	for _, rec := range b.Tasks {
		rec = proto.CloneOf(rec)
		later = created - rec.GetCreatedAt()
		rec.Id, rec.Slot, rec.CreatedAt, rec.UpdatedAt = id, spec.GetSlot(), created, rec.GetUpdatedAt()+later
		rec.StartedAt = moved(rec.GetStartedAt(), later)
		like.Tasks = append(like.Tasks, rec)
	}
	for _, rec := range b.Specs {
		rec = proto.CloneOf(rec)
		rec.TaskId, rec.Spec = id, spec
		like.Specs = append(like.Specs, rec)
	}
	for _, rec := range b.Runs {
		rec = proto.CloneOf(rec)
		rec.TaskId, rec.StartedAt, rec.FinishedAt = id, moved(rec.GetStartedAt(), later), moved(rec.GetFinishedAt(), later)
		like.Runs = append(like.Runs, rec)
	}
	return like
}

// moved is a moment so much later; 0 is none.
func moved(at, later int64) int64 {
	if at == 0 {
		return 0
	}
	return at + later
}
