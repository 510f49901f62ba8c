package main

import (
	"context"

	"github.com/spf13/cobra"

	soltiv1 "slotd/messages/solti/v1"
)

func (a *app) getVerb() *cobra.Command {
	return &cobra.Command{
		Use:               "get ID",
		Short:             "Show one task",
		Args:              oneTask,
		ValidArgsFunction: a.taskIDs(1),
		RunE: a.verb(func(ctx context.Context, args []string) error {
			c, err := a.connect()
			if err != nil {
				return err
			}
			defer c.Close()
			id, err := c.Resolve(ctx, args[0])
			if err != nil {
				return err
			}
			task, err := c.Get(ctx, id)
			if err != nil {
				return err
			}
			if err := a.show(a.taskListing([]*soltiv1.TaskData{task}, task)); err != nil {
				return err
			}
			if a.output == formatTable && task.GetStatus().Error != nil {
				a.talk("%s", oneLine(task.GetStatus().GetError()))
			}
			return nil
		}),
	}
}
