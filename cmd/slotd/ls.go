package main

import (
	"context"
	"fmt"

	"github.com/spf13/cobra"

	"slotd/gateway/client"
	"slotd/messages"
	soltiv1 "slotd/messages/solti/v1"
)

func (a *app) lsVerb() *cobra.Command {
	var (
		filter   client.Filter
		limit    uint64 = messages.DefaultLimit
		everyOne bool
	)
	cmd := &cobra.Command{
		Use:     "ls",
		Aliases: []string{"list", "ps"},
		Short:   "List tasks: the newest, in the order of their creation",
		Args:    cobra.NoArgs,
	}
	fs := cmd.Flags()
	bind(fs, &filter.Slot, "slot", "", "", "name", "only tasks of this slot", parseSlot)
	bind(fs, &filter.Status, "status", "", "", "phase", "only tasks in this phase: pending, running, succeeded, failed, timeout, canceled, exhausted", parseStatus)
	bind(fs, &filter.Selector, "selector", "l", "", "expr", "only tasks whose labels match, such as app=web,tier in (a,b)", parseSelector)
	bind(fs, &limit, "limit", "", "100", "n", "how many tasks, the newest", parseCount(1, messages.MaxLimit))
	fs.BoolVarP(&everyOne, "all", "a", false, "all tasks")
	cmd.MarkFlagsMutuallyExclusive("limit", "all")
	a.complete(cmd, "slot", a.slotNames)
	a.complete(cmd, "status", cobra.FixedCompletions(statusNames(), cobra.ShellCompDirectiveNoFileComp))
	cmd.RunE = a.verb(func(ctx context.Context, _ []string) error {
		c, err := a.connect()
		if err != nil {
			return err
		}
		defer c.Close()
		if everyOne {
			return a.listAll(ctx, c, filter)
		}
		filter.Limit, filter.Newest = uint32(limit), true
		page, err := c.List(ctx, filter)
		if err != nil {
			return err
		}
		if err := a.show(a.taskListing(page.GetTasks(), page)); err != nil {
			return err
		}
		if shown := len(page.GetTasks()); shown < int(page.GetTotal()) && (a.output == formatTable || a.output == formatWide) {
			a.talk("the newest %d of %d tasks; -a shows all", shown, page.GetTotal())
		}
		return nil
	})
	return cmd
}

// listAll shows every match. Formats that need no totals or widths are written as the pages come.
func (a *app) listAll(ctx context.Context, c *client.Client, filter client.Filter) error {
	all := &soltiv1.ListTasksResponse{}
	for task, err := range c.All(ctx, filter) {
		if err != nil {
			return err
		}
		if a.output == formatJSONL || a.output == formatName {
			if err := a.show(a.taskListing([]*soltiv1.TaskData{task}, nil)); err != nil {
				return err
			}
			continue
		}
		all.Tasks = append(all.Tasks, task)
		all.Total++
	}
	if a.output == formatJSONL || a.output == formatName {
		return nil
	}
	return a.show(a.taskListing(all.GetTasks(), all))
}

func parseStatus(s string) (soltiv1.TaskStatus, error) {
	status, err := messages.ParseStatus(s)
	if err != nil {
		err = fmt.Errorf("%w%s", err, didYouMean(s, statusNames()))
	}
	return status, err
}

func parseSlot(s string) (string, error) { return s, messages.ValidateSlot(s) }

func parseSelector(s string) (string, error) {
	_, err := messages.ParseSelector(s)
	return s, err
}
