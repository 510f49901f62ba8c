package logs

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math"
	"slices"

	"slotd/messages"
	slotdv1 "slotd/messages/slotd/v1"
)

// Task is what a reader asks the rest of the node about the task it reads.
type Task interface {
	// Runs returns the runs that are kept, oldest first. It is asked where the log alone does not say.
	Runs(ctx context.Context) ([]*slotdv1.RunRecord, error)
	// Terminal says whether [Logs.Close] has been called or is about to be, with all runs recorded; true also when
	// the task is gone.
	Terminal() bool
}

// Open returns a cursor at the place the query asks for; q.After wins over q.Tail. The error is a
// [messages.InvalidError] for an event id that cannot be of this task, and [io.EOF] when nothing follows after the
// event: the task is terminal, and a client need not come back.
func (l *Logs) Open(ctx context.Context, taskID string, q messages.LogQuery, task Task) (*Cursor, error) {
	var after eventID
	if q.After != "" {
		var err error
		if after, err = parseID(q.After); err != nil {
			return nil, err
		}
	}
	h := l.acquire(taskID)
	if h == nil {
		return nil, io.EOF
	}
	l.cursors.Add(1)
	c := &Cursor{hub: h, filter: filterOf(&q), encoding: q.Encoding}
	if err := c.start(ctx, &q, after, task); err != nil {
		c.Close()
		return nil, err
	}
	return c, nil
}

// start finds the place to begin at.
func (c *Cursor) start(ctx context.Context, q *messages.LogQuery, after eventID, task Task) error {
	h := c.hub
	h.join(&c.reader)
	// Asked only now: if the task is not terminal here, its Close comes later and will find the hub.
	terminal := task.Terminal()
	runs, err := h.recall(ctx, task, terminal)
	if err != nil {
		return err
	}
	now := h.snapshot()
	terminal = terminal || now.closed
	c.seam, c.running, c.end = now.next, now.running, math.MaxUint64
	if terminal || !q.Follow {
		c.end = now.next
	}
	switch {
	case q.After != "":
		var ok bool
		if c.next, ok = h.resolve(after); !ok {
			return unknownID(q.After)
		}
		c.known, c.seam = after.attempt, math.MaxUint64
	case !q.HasTail:
		c.next = now.next
	case q.Tail == messages.AllLines:
		c.next = 1
	default:
		if c.next, err = h.rewind(q.Tail, now.next, &c.filter, &c.reader); err != nil {
			return err
		}
	}
	if err := c.skipDropped(ctx, now, runs, task); err != nil {
		return err
	}
	if q.After == "" || !terminal {
		return nil
	}
	// Whoever resumes a terminal task learns here that nothing is left, and need not come again.
	b, err := c.Next(ctx)
	if err == nil {
		c.ready = &b
	}
	return err
}

// skipDropped deals with a place before everything that is kept. What the task did before its first line follows from
// its runs. What was dropped for space is left to be reported, unless it cannot have been asked for.
func (c *Cursor) skipDropped(ctx context.Context, now snapshot, runs []*slotdv1.RunRecord, task Task) error {
	if c.next >= now.oldest {
		return nil
	}
	if now.silent {
		if runs == nil {
			var err error
			if runs, err = task.Runs(ctx); err != nil {
				return err
			}
		}
		c.blocks = silentBlocks(runs, c.next, now.oldest)
		return nil
	}
	if c.filter.since == 0 {
		return nil
	}
	got, err := c.hub.fetch(now.oldest, &everything, &c.reader)
	if errors.Is(err, io.EOF) {
		return nil
	}
	if err != nil {
		return err
	}
	if len(got.blocks) > 0 && got.blocks[0].ts < c.filter.since {
		c.next = now.oldest
	}
	return nil
}

// join makes the hub keep new blocks in memory for a reader.
func (h *hub) join(r *reader) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.followers++
	h.approach(r, true)
}

// leave is the end of a reader. What only readers need leaves memory with the last of them; what is nowhere else stays.
func (h *hub) leave(r *reader) {
	h.publishing.Lock()
	defer h.publishing.Unlock()
	h.mu.Lock()
	defer h.mu.Unlock()
	h.approach(r, false)
	h.followers--
	switch {
	case h.followers > 0 || h.refused:
	case h.silent:
		h.ring.keep(silentKept)
	default:
		h.ring.keep(0)
	}
}

// recall completes what the hub knows from the runs, when the task has had no events in this life: of a silent task there
// is no file, and a crash may have come between the commit of the last run and its record here. It returns the runs if
// it asked for them.
func (h *hub) recall(ctx context.Context, task Task, terminal bool) ([]*slotdv1.RunRecord, error) {
	h.publishing.Lock()
	err := h.ready()
	known := h.live || !h.silent && !terminal
	h.publishing.Unlock()
	if err != nil && !errors.Is(err, errEnded) {
		return nil, fmt.Errorf("read the log of %s: %w", h.id, err)
	}
	if known {
		return nil, nil
	}
	runs, err := task.Runs(ctx)
	if err != nil {
		return nil, err
	}
	h.publishing.Lock()
	defer h.publishing.Unlock()
	if h.live {
		return runs, nil
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	for _, r := range runs {
		h.imagine(r)
	}
	return runs, nil
}

// imagine moves the hub past the events of a run that are not in its files. Other readers may wait for them already, and
// find them in the ring. The caller holds both locks.
func (h *hub) imagine(r *slotdv1.RunRecord) {
	put := func(b *block) {
		h.next, h.base = b.next(), b.next()
		h.attempt, h.started, h.over = b.attempt, b.started, b.kind == kindFinished
		h.ring.push(b, h.logs.config.RingBytes)
		h.written = h.next // the runs tell of it again
		h.notify()
	}
	number := func(k kind) uint64 {
		if h.silent {
			return silentNumber(k, r.GetAttempt())
		}
		return h.next
	}
	if r.GetAttempt() > h.attempt {
		put(startedBlock(number(kindStarted), h.epoch, r.GetAttempt(), r.GetStartedAt()))
	}
	if r.GetFinishedAt() != 0 && r.GetAttempt() == h.attempt && !h.over {
		put(finishedBlock(number(kindFinished), h.epoch, r.GetAttempt(), r.GetStartedAt(), r.GetFinishedAt(),
			finish{r.ExitCode, r.Signal}))
	}
}

// snapshot is a hub at one moment.
type snapshot struct {
	next    uint64
	oldest  uint64 // number of the oldest event that is kept
	silent  bool   // before that the task had printed nothing
	running progress
	closed  bool
}

func (h *hub) snapshot() snapshot {
	h.mu.Lock()
	defer h.mu.Unlock()
	s := snapshot{next: h.next, closed: h.closed}
	s.oldest, s.silent = h.oldest()
	if h.attempt > 0 && !h.over {
		s.running = progress{h.attempt, h.started, h.last()}
	}
	return s
}

// last names the last event. The caller holds mu.
func (h *hub) last() eventID {
	if h.silent {
		return eventID{0, h.next - 1, h.attempt}
	}
	return eventID{h.epoch, h.next - 1, h.attempt}
}

// resolve returns the number after the event a client names. It is false for an event that never was.
func (h *hub) resolve(id eventID) (uint64, bool) {
	h.mu.Lock()
	defer h.mu.Unlock()
	switch {
	case id.number == 0, id.epoch == 0 && id.number >= h.next, id.epoch > max(h.epoch, h.logs.epoch):
		return 0, false
	case id.epoch == 0:
		return id.number + 1, true
	case h.live && id.epoch == h.epoch && id.number >= h.next:
		return 0, false
	}
	// What a later life wrote is news to this client, whatever its number: the end of the life it knows may be lost. But
	// the run-started of the attempt it knows is not, and has at least the number of a silent task.
	after := id.number + 1
	if h.live && id.epoch < h.epoch {
		after = min(after, h.base)
	}
	for _, s := range h.segments {
		if s.epoch > id.epoch {
			after = min(after, s.first)
			break
		}
	}
	return min(max(after, silentNumber(kindStarted, id.attempt)+1), h.next), true
}

// rewind returns the number of the event with which the last lines before end begin that pass the filter; 1 if there are
// no more than that.
func (h *hub) rewind(lines, end uint64, f *filter, r *reader) (uint64, error) {
	if lines == 0 {
		return end, nil
	}
	wanted := *f
	wanted.streams &^= 1<<kindStarted | 1<<kindFinished
	h.mu.Lock()
	blocks := slices.Clone(h.ring.blocks)
	segments := slices.Clone(h.segments)
	h.mu.Unlock()

	// count takes the lines of blocks that are before end off what is to be found.
	count := func(blocks []*block) (uint64, bool) {
		for _, b := range slices.Backward(blocks) {
			if b.next() > end {
				continue
			}
			end = b.first
			if !wanted.passes(&b.header) {
				continue
			}
			if uint64(b.count) >= lines {
				return b.next() - lines, true
			}
			lines -= uint64(b.count)
		}
		return 0, false
	}
	if first, ok := count(blocks); ok {
		return first, nil
	}
	for _, s := range slices.Backward(segments) {
		if s.first >= end {
			continue
		}
		stretches, err := h.stretches(s)
		if err != nil {
			return 0, err
		}
		for _, p := range slices.Backward(stretches) {
			if p.first >= end || !wanted.may(&p.mark) {
				continue
			}
			blocks, err := h.read(s, p, r)
			if err != nil {
				return 0, err
			}
			if first, ok := count(blocks); ok {
				return first, nil
			}
		}
	}
	return 1, nil
}

// stretches lists those of a segment.
func (h *hub) stretches(s *segment) ([]piece, error) {
	h.mu.Lock()
	scanned, gone := s.scanned, s.gone
	h.mu.Unlock()
	if gone {
		return nil, nil
	}
	if !scanned {
		if err := h.scan(s); err != nil {
			return nil, err
		}
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	pieces := make([]piece, 0, len(s.marks))
	for i := range s.marks {
		pieces = append(pieces, s.piece(i))
	}
	return pieces, nil
}
