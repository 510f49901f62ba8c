package main

import (
	"context"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	slotdv1 "slotd/messages/slotd/v1"
)

func (a *app) nodesVerb() *cobra.Command {
	return &cobra.Command{
		Use:   "nodes",
		Short: "Show the members: who is there, what they run, whether they take work",
		Args:  cobra.NoArgs,
		RunE: a.verb(func(ctx context.Context, _ []string) error {
			c, err := a.connect()
			if err != nil {
				return err
			}
			defer c.Close()
			nodes, err := c.Nodes(ctx)
			if err != nil {
				return err
			}
			return a.show(a.nodeListing(nodes))
		}),
	}
}

func (a *app) nodeListing(nodes []*slotdv1.NodeView) listing {
	now := a.now()
	return listing{
		object: &slotdv1.ListNodesResponse{Nodes: nodes},
		items:  asMessages(nodes),
		name:   func(i int) string { return nodes[i].GetName() },
		header: []string{
			"NAME", "STATE", "RUNNING", "ACTIVE", "UP", "KINDS", "PROBLEM",
			"VERSION", "LABELS", "SELF",
		},
		narrow:  7,
		row:     func(i int) []cell { return nodeRow(nodes[i], now) },
		nothing: "no node",
	}
}

func nodeRow(node *slotdv1.NodeView, now time.Time) []cell {
	state := cell{text: "ready", tint: green}
	if !node.GetReady() {
		state = cell{text: "not ready", tint: red}
	}
	self := ""
	if node.GetSelf() {
		self = "self"
	}
	row := plain(
		node.GetName(),
		"",
		strconv.FormatUint(node.GetAttemptsRunning(), 10),
		strconv.FormatUint(node.GetTasksActive(), 10),
		age(now.Sub(time.UnixMilli(node.GetStartedAt()))),
		strings.Join(node.GetKinds(), ","),
		node.GetProblem(),
		node.GetVersion(),
		labelText(node.GetLabels()),
		self,
	)
	row[1] = state
	return row
}
