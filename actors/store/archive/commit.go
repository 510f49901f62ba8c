package archive

import (
	"fmt"

	"slotd/actors/store"
)

// committer gathers records into batches and keeps a few of them under way.
type committer struct {
	store   store.Store
	batch   store.Batch
	lines   int
	bytes   int
	pending int
	answers chan error // of the batches under way; has room for all of them
}

// commitError says that the store did not take a batch: no line is to blame.
type commitError struct{ err error }

func (e *commitError) Error() string { return fmt.Sprintf("write the store: %v", e.err) }
func (e *commitError) Unwrap() error { return e.err }

// add counts a line whose records are in the batch.
func (c *committer) add(size int) error {
	c.lines++
	if c.bytes += size; c.lines < batchLines && c.bytes < batchBytes {
		return nil
	}
	return c.send()
}

func (c *committer) send() error {
	if c.pending == cap(c.answers) {
		if err := c.wait(); err != nil {
			return err
		}
	}
	full := c.batch
	c.batch, c.lines, c.bytes = store.Batch{}, 0, 0
	c.pending++
	c.store.Commit(&full, func(err error) { c.answers <- err })
	return nil
}

func (c *committer) wait() error {
	c.pending--
	if err := <-c.answers; err != nil {
		return &commitError{err: err}
	}
	return nil
}

// finish sends what is left and waits for all of it.
func (c *committer) finish() error {
	var first error
	if !c.batch.Empty() {
		first = c.send()
	}
	for c.pending > 0 {
		if err := c.wait(); first == nil {
			first = err
		}
	}
	return first
}
