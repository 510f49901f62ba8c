package client

import (
	"context"
	"net/http"
	"net/url"
	"strconv"

	slotdv1 "slotd/messages/slotd/v1"
)

// Slots returns the slots in use, in name order.
func (c *Client) Slots(ctx context.Context) ([]*slotdv1.SlotView, error) {
	var answer slotdv1.ListSlotsResponse
	r := request{method: http.MethodGet, path: []string{"api", "v1", "slots"}, again: true}
	if err := c.call(ctx, r, &answer); err != nil {
		return nil, err
	}
	return answer.GetSlots(), nil
}

// Slot returns one slot; a valid name that nobody uses is an idle slot.
func (c *Client) Slot(ctx context.Context, name string) (*slotdv1.SlotView, error) {
	var answer slotdv1.GetSlotResponse
	r := request{method: http.MethodGet, path: []string{"api", "v1", "slots", url.PathEscape(name)}, again: true}
	if err := c.call(ctx, r, &answer); err != nil {
		return nil, err
	}
	return answer.GetSlot(), nil
}

// Purge cancels what waits in a slot, with holder the holder too, and returns the ids of what it canceled.
func (c *Client) Purge(ctx context.Context, slot string, holder bool) ([]string, error) {
	query := url.Values{}
	if holder {
		query.Set("holder", strconv.FormatBool(holder))
	}
	var answer slotdv1.PurgeSlotTasksResponse
	r := request{
		method: http.MethodPost,
		path:   []string{"api", "v1", "slots", url.PathEscape(slot), "purge"},
		query:  query,
		again:  true,
	}
	if err := c.call(ctx, r, &answer); err != nil {
		return nil, err
	}
	return answer.GetTaskIds(), nil
}

// Version returns the daemon's build.
func (c *Client) Version(ctx context.Context) (*slotdv1.VersionResponse, error) {
	var answer slotdv1.VersionResponse
	if err := c.call(ctx, request{method: http.MethodGet, path: []string{"version"}, again: true}, &answer); err != nil {
		return nil, err
	}
	return &answer, nil
}

// Introspection returns a snapshot of the node: actors, queues, decisions, latencies, memory.
func (c *Client) Introspection(ctx context.Context) (*slotdv1.IntrospectResponse, error) {
	var answer slotdv1.IntrospectResponse
	r := request{method: http.MethodGet, path: []string{"api", "v1", "introspection"}, again: true}
	if err := c.call(ctx, r, &answer); err != nil {
		return nil, err
	}
	return &answer, nil
}
