package main

import (
	"context"
	"fmt"
	"sync"

	"slotd/gateway/client"
)

// endLimit is how many tasks are ended at a time: each may take its whole grace.
const endLimit = 16

// endEach ends several tasks side by side and prints, in argument order, what became of each one that ended. Those
// that fail are told on stderr; the first of their errors is returned.
func (a *app) endEach(ctx context.Context, c *client.Client, ids []string, end func(context.Context, string) error, done func(id string) error) error {
	errs := make([]error, len(ids))
	gate := make(chan struct{}, endLimit)
	told := a.progress(ctx, c, "ending", ids...)
	var group sync.WaitGroup
	for i, id := range ids {
		gate <- struct{}{}
		group.Go(func() {
			defer func() { <-gate }()
			errs[i] = end(ctx, id)
			told.ended(id)
		})
	}
	group.Wait()
	told.end()

	var first error
	for i, id := range ids {
		err := errs[i]
		if err == nil {
			err = done(id)
		} else if len(ids) > 1 {
			err = fmt.Errorf("%s: %w", id, err)
		}
		if err == nil {
			continue
		}
		if first == nil {
			first = err
		} else if ctx.Err() == nil {
			a.say("%v", err)
		}
	}
	return first
}
