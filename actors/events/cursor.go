package events

import (
	"context"
	"io"

	"slotd/messages"
	slotdv1 "slotd/messages/slotd/v1"
)

// batchEvents is how many events a cursor hands out at a time.
const batchEvents = 256

// Cursor is one reader's place among the events. It belongs to one goroutine.
type Cursor struct {
	hub     *Hub
	closed  bool
	query   messages.EventQuery
	next    uint64 // number of the next event to look at
	foreign bool   // the reader comes from another life, and has not been told
}

// Open places a reader after the event that q.After names, or, when it names none, behind the newest one.
//
// An event of another life was never followed by any of this one: the reader gets a gap and everything that is kept. The
// error is a [messages.InvalidError] for what is no event id, and for one of this life that has not been given yet.
func (h *Hub) Open(q messages.EventQuery) (*Cursor, error) {
	c := &Cursor{hub: h, query: q}
	var id eventID
	if q.After != "" {
		var err error
		if id, err = parseID(q.After); err != nil {
			return nil, err
		}
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	switch {
	case q.After == "":
		c.next = h.next
	case id.epoch != h.epoch:
		c.next, c.foreign = h.chunks[0].first, true
	case id.number >= h.next:
		return nil, invalidID(q.After, "is the id of an event that has not happened yet")
	default:
		c.next = id.number + 1
	}
	h.active.Add(1)
	return c, nil
}

// Next returns the next events that the query wants, at least one and at most a few hundred, waiting for them if need be.
// It returns [io.EOF] when the hub is closed, and ctx.Err() when ctx is done first; nothing is lost then.
//
// A gap is delivered whatever the query wants, and counts events that it may not have wanted.
func (c *Cursor) Next(ctx context.Context) ([]*slotdv1.Event, error) {
	if c.closed {
		return nil, io.EOF
	}
	var out []*slotdv1.Event
	if c.foreign {
		c.foreign = false
		out = append(out, c.gap(0))
	}
	// What is there now is delivered also to a context that is done.
	for waited := false; len(out) < batchEvents; {
		got := c.hub.from(c.next)
		switch {
		case got.oldest > 0:
			skipped := got.oldest - c.next
			c.next = got.oldest
			out = append(out, c.gap(skipped))
		case len(got.events) > 0:
			out = c.take(out, got.events)
		case len(out) > 0:
			return out, nil
		case got.closed:
			return nil, io.EOF
		case waited && ctx.Err() != nil:
			return nil, ctx.Err()
		default:
			select {
			case <-got.wake:
			case <-ctx.Done():
			}
			waited = true
		}
	}
	return out, nil
}

// take looks at events until there are enough for one batch.
func (c *Cursor) take(out []*slotdv1.Event, events []event) []*slotdv1.Event {
	for i := range events {
		if len(out) >= batchEvents {
			break
		}
		if e := &events[i]; c.wants(e) {
			out = append(out, e.proto(eventID{c.hub.epoch, c.next}))
		}
		c.next++
	}
	return out
}

// wants applies the query: a task or labels ask for events of tasks only.
func (c *Cursor) wants(e *event) bool {
	q := &c.query
	switch {
	case q.Slot != "" && q.Slot != e.name:
		return false
	case q.Task != "" && (e.of != ofTask || q.Task != e.id):
		return false
	default:
		return q.Selector.Empty() || e.of == ofTask && q.Selector.Matches(e.labels)
	}
}

// gap tells a reader that so many events are missing before the next one. Its id is that of the last of them.
func (c *Cursor) gap(skipped uint64) *slotdv1.Event {
	return &slotdv1.Event{Id: c.Position(), Kind: &slotdv1.Event_Gap{Gap: &slotdv1.GapEvent{
		Skipped: skipped, Time: c.hub.now().UnixMilli(),
	}}}
}

// Position is an id after which a reader has to go on that has had everything from this cursor: that of the last event
// it has looked at, wanted or not.
func (c *Cursor) Position() string {
	if c.foreign { // it has yet to hear of the gap
		return c.query.After
	}
	return eventID{c.hub.epoch, c.next - 1}.String()
}

// Close gives the place up. It may be repeated.
func (c *Cursor) Close() {
	if !c.closed {
		c.closed = true
		c.hub.active.Add(-1)
	}
}
