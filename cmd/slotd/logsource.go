package main

import (
	"context"
	"errors"
	"strings"
	"unicode/utf8"

	"slotd/gateway/client"
	soltiv1 "slotd/messages/solti/v1"
)

// logSource is a task whose log is printed, or the reason why that is not possible.
type logSource struct {
	source

	id   string
	slot string
	err  error
}

// logSources finds the tasks, each once, in the order of the arguments or, by a selector, of their ids. Several get what
// tells their lines apart. The error is one that concerns them all.
func (a *app) logSources(ctx context.Context, c *client.Client, short []string, selector string) ([]logSource, error) {
	var list []logSource
	if selector != "" {
		for task, err := range c.All(ctx, client.Filter{Selector: selector}) {
			if err != nil {
				return nil, err
			}
			list = append(list, logSource{id: task.GetMetadata().GetId(), slot: task.GetSpec().GetSlot()})
		}
		if len(list) == 0 {
			a.talk("no tasks")
		}
		return a.tellApart(list), nil
	}
	seen := make(map[string]bool)
	for _, prefix := range short {
		id, err := c.Resolve(ctx, prefix)
		if ofAll(ctx, err) {
			return nil, err
		}
		if err != nil {
			id = prefix
		}
		if !seen[id] {
			seen[id] = true
			list = append(list, logSource{id: id, err: err})
		}
	}
	if len(list) < 2 {
		return list, nil
	}
	for i := range list {
		one := &list[i]
		if one.err != nil {
			continue
		}
		var task *soltiv1.TaskData
		task, one.err = c.Get(ctx, one.id)
		if ofAll(ctx, one.err) {
			return nil, one.err
		}
		one.slot = task.GetSpec().GetSlot()
	}
	return a.tellApart(list), nil
}

// ofAll says whether an error would meet every task alike: there is no daemon, it knows us not, or we were interrupted.
func ofAll(ctx context.Context, err error) bool {
	var unreachable *client.UnreachableError
	return err != nil && (ctx.Err() != nil || errors.As(err, &unreachable) || errors.Is(err, client.ErrUnauthenticated))
}

// idEnd is how much of an id's end is shown at least, bytes: enough to tell a few tasks of one slot apart.
const idEnd = 6

// endsThatDiffer returns how much of the ids' ends must be shown so that no two look alike.
func endsThatDiffer(list []logSource) int {
	for length := idEnd; ; length++ {
		seen, alike := make(map[string]bool), false
		for _, one := range list {
			end := one.id[max(0, len(one.id)-length):]
			alike = alike || seen[end] && length < len(one.id)
			seen[end] = true
		}
		if !alike {
			return length
		}
	}
}

var prefixTints = []tint{cyan, yellow, green, "35", "34", "31"}

// tellApart gives each of several tasks its prefix, all of one width.
func (a *app) tellApart(list []logSource) []logSource {
	if len(list) < 2 {
		return list
	}
	sharing := make(map[string]int)
	for _, one := range list {
		sharing[one.slot]++
	}
	width, end := 0, endsThatDiffer(list)
	for i := range list {
		one := &list[i]
		one.taskID, one.prefix = one.id, oneLine(one.slot)
		if sharing[one.slot] > 1 {
			one.prefix += "/" + one.id[max(0, len(one.id)-end):]
		}
		if one.err == nil {
			width = max(width, utf8.RuneCountInString(one.prefix))
		}
	}
	colored := a.colored() && (a.color == "always" || a.tty(a.stderr))
	for i := range list {
		one := &list[i]
		one.prefix += strings.Repeat(" ", max(0, width-utf8.RuneCountInString(one.prefix))) + " | "
		if colored {
			one.prefix = "\x1b[" + string(prefixTints[i%len(prefixTints)]) + "m" + one.prefix + "\x1b[0m"
		}
	}
	return list
}
