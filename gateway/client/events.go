package client

import (
	"context"
	"errors"
	"iter"
	"net/http"
	"net/url"

	slotdv1 "slotd/messages/slotd/v1"
)

// EventOptions choose transitions; all conditions hold together. The zero value is all of them, from now on.
type EventOptions struct {
	Slot     string // only of this slot and its tasks
	Task     string // only of this task
	Selector string // only of tasks whose labels match, such as app=web,tier in (a,b)
	After    string // go on after the event with this id
}

func (o EventOptions) query() url.Values {
	q := url.Values{}
	for name, value := range map[string]string{"slot": o.Slot, "task": o.Task, "label": o.Selector} {
		if value != "" {
			q.Set(name, value)
		}
	}
	return q
}

// Events yields what becomes of tasks and slots, in the order of its commits, each event once. It goes on until the
// caller or ctx ends it: a connection that breaks, and a daemon that is started anew within some 16 s, is taken up again
// after the last event. The stream stops at the first error; [EventOptions.After] with the id of the last event takes it
// up again.
//
// A gap among the events tells that some were missed, because they are no longer kept or were of an earlier life of the
// daemon: read anew what they would have told. To have the present state and all that becomes of it, ask for
// [Client.LastEvent], then read tasks and slots, then follow the events after that id; those of a resource version that
// was read are known.
func (c *Client) Events(ctx context.Context, opt EventOptions) iter.Seq2[*slotdv1.Event, error] {
	return func(yield func(*slotdv1.Event, error) bool) {
		s := stream{client: c, path: eventsPath, query: opt.query(), after: opt.After, limit: eventResumes, endless: true}
		s.take = func(fr frame) (bool, error) {
			event, err := transitionOf(fr)
			return err == nil && (event == nil || yield(event, nil)), err
		}
		if err := s.run(ctx); err != nil {
			yield(nil, err)
		}
	}
}

var eventsPath = []string{"api", "v1", "events"}

// LastEvent returns the id of the newest event.
func (c *Client) LastEvent(ctx context.Context) (string, error) {
	resp, err := c.send(ctx, request{method: http.MethodHead, path: eventsPath})
	if err != nil {
		return "", err
	}
	defer discard(resp)
	id := resp.Header.Get("Last-Event-Id")
	if id == "" {
		return "", errors.New("the answer names no event; this is no slotd, or an older one")
	}
	return id, nil
}

// Nodes returns the members, in name order.
func (c *Client) Nodes(ctx context.Context) ([]*slotdv1.NodeView, error) {
	var answer slotdv1.ListNodesResponse
	r := request{method: http.MethodGet, path: []string{"api", "v1", "nodes"}, again: true}
	if err := c.call(ctx, r, &answer); err != nil {
		return nil, err
	}
	return answer.GetNodes(), nil
}
