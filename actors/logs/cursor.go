package logs

import (
	"context"
	"io"
	"math"
	"sync"

	"slotd/messages"
)

// Batch is some events in the encoding that was asked for, one after the other.
type Batch struct {
	Data   []byte // must not be changed, and is good until the next call of the cursor
	Events int
}

const (
	batchBytes = 64 << 10 // about the size of a batch; one block may be up to six times as long
	aliasBytes = 16 << 10 // a block this long is handed out as it is, a shorter one is copied into a batch
)

// Cursor reads the log of one task. It belongs to one goroutine.
type Cursor struct {
	hub      *hub // nil once closed
	filter   filter
	encoding messages.Encoding

	next   uint64   // number of the next event to look at
	end    uint64   // number of the first event not to look at
	reader reader   // of blocks
	blocks []*block // at hand, in order
	out    *[]byte  // batch under construction, from the pool
	events int
	ready  *Batch // read ahead by Open

	seam    uint64 // where the replay ends; there the attempt under way is announced, if it was not before
	running progress
	known   uint32 // the attempt whose run-started the client has
	seen    uint32 // the attempt of the last block looked at, wanted or not
}

// progress is the attempt that is under way at some number.
type progress struct {
	attempt uint32 // 0 = none
	started int64
	before  eventID // the event before the number
}

var outs = sync.Pool{New: func() any { return new(make([]byte, 0, 2*batchBytes)) }}

// Next returns the next events, at least one, waiting for them if need be. It returns [io.EOF] at the end of the log or of
// what was asked for, and ctx.Err() when ctx is done first. Any other error is one of reading the disk, and may be gone
// at the next call.
func (c *Cursor) Next(ctx context.Context) (Batch, error) {
	if c.hub == nil {
		return Batch{}, io.EOF
	}
	if b := c.ready; b != nil {
		c.ready = nil
		return *b, nil
	}
	c.begin()
	// What is there now is delivered also to a context that is done.
	for waited := false; ; waited = true {
		if b, ok := c.drain(); ok {
			return b, nil
		}
		if c.next == c.seam {
			c.announceRunning()
		}
		if c.next >= c.end {
			return c.flushOr(io.EOF)
		}
		if waited && ctx.Err() != nil {
			return c.flushOr(ctx.Err())
		}
		got, err := c.hub.fetch(c.next, &c.filter, &c.reader)
		switch {
		case err != nil:
			return c.flushOr(err)
		case got.blocks != nil:
			c.blocks = got.blocks
		case got.skip > 0 && got.lost:
			to := min(got.skip, c.end)
			if c.next < c.seam {
				to = min(to, c.seam)
			}
			got.before.number = to - 1
			c.miss(to, got.before, got.upTo)
		case got.skip > 0:
			if c.next < c.seam {
				got.skip = min(got.skip, c.seam)
			}
			c.next = got.skip
		case c.events > 0:
			return c.flush(), nil
		default:
			c.rest()
			select {
			case <-got.wake:
			case <-ctx.Done():
			}
			c.begin()
		}
	}
}

// Close gives back what the cursor holds. It may be repeated.
func (c *Cursor) Close() {
	if c.hub == nil {
		return
	}
	c.rest()
	c.hub.leave(&c.reader)
	c.hub.logs.cursors.Add(-1)
	c.hub.logs.release(c.hub)
	c.hub = nil
}

// drain turns the blocks at hand into a batch. It says whether the batch is to be handed out now.
func (c *Cursor) drain() (Batch, bool) {
	for i, b := range c.blocks {
		if b.next() <= c.next {
			continue
		}
		if c.next == c.seam {
			c.announceRunning()
		}
		if b.first >= c.end {
			if c.next < c.end {
				c.miss(c.end, b.id(c.end-1), b.attempt)
			}
			break
		}
		if b.first > c.next {
			c.miss(b.first, b.id(b.first-1), b.attempt)
		}
		c.seen = b.attempt
		from := max(c.next, b.first)
		// What the client has of a run comes again when damage took it out of the files, and it was made up for.
		if !c.filter.passes(&b.header) || b.attempt < c.known || b.kind == kindStarted && b.attempt == c.known {
			c.next = b.next()
			continue
		}
		if b.kind != kindStarted && c.known != b.attempt {
			c.announce(progress{b.attempt, b.started, b.id(from - 1)})
		}
		c.known = b.attempt
		if from == b.first && !c.reader.alone {
			if data := b.encoded(c.encoding); len(data) < aliasBytes {
				*c.out = append(*c.out, data...)
			} else if c.events == 0 {
				c.next = b.next()
				c.blocks = c.blocks[i+1:]
				return Batch{Data: data, Events: int(b.count)}, true
			} else {
				c.blocks = c.blocks[i:]
				return c.flush(), true
			}
		} else {
			*c.out = b.appendTo(*c.out, c.encoding, from)
		}
		c.next = b.next()
		c.events += int(b.next() - from)
		if len(*c.out) >= batchBytes {
			c.blocks = c.blocks[i+1:]
			return c.flush(), true
		}
	}
	c.blocks = nil
	return Batch{}, false
}

// announceRunning gives the run-started of the attempt that is under way at the seam.
func (c *Cursor) announceRunning() {
	if p := c.running; p.attempt != 0 && c.known != p.attempt &&
		(c.filter.attempt == 0 || c.filter.attempt == p.attempt) {
		c.announce(p)
	}
	c.seam = math.MaxUint64
}

// announce gives the run-started of an attempt in the midst of which the client begins to read. Its id is that of the
// event before, so that to resume after it means to begin at the same place.
func (c *Cursor) announce(p progress) {
	b := startedBlock(p.before.number, p.before.epoch, p.attempt, p.started)
	*c.out = b.appendTo(*c.out, c.encoding, b.first)
	c.events++
	c.known = p.attempt
}

// miss tells that the events up to but not including to are not there; last names the one before to, and none of them
// is of a later attempt than upTo.
func (c *Cursor) miss(to uint64, last eventID, upTo uint32) {
	skipped := to - c.next
	c.next = to
	if c.filter.attempt != 0 && (c.filter.attempt < c.seen || c.filter.attempt > upTo) {
		return
	}
	last.attempt = c.known
	if c.encoding == messages.EncodeProto {
		*c.out = appendLaggedProto(*c.out, last, skipped)
	} else {
		*c.out = appendLaggedSSE(*c.out, last, skipped)
	}
	c.events++
}

func (c *Cursor) begin() {
	if c.out == nil {
		c.out, _ = outs.Get().(*[]byte)
	}
	*c.out, c.events = (*c.out)[:0], 0
}

// flush returns what has been gathered.
func (c *Cursor) flush() Batch {
	b := Batch{Data: *c.out, Events: c.events}
	c.events = 0
	return b
}

// flushOr returns what has been gathered or, if that is nothing, the error.
func (c *Cursor) flushOr(err error) (Batch, error) {
	if c.events > 0 {
		return c.flush(), nil
	}
	c.rest()
	return Batch{}, err
}

// rest gives memory back while there is nothing to read.
func (c *Cursor) rest() {
	if c.out != nil {
		outs.Put(c.out)
		c.out = nil
	}
	c.blocks = nil
	c.reader.rest()
}
