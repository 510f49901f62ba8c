package main

import (
	"context"

	"github.com/spf13/cobra"
)

func (a *app) runsVerb() *cobra.Command {
	return &cobra.Command{
		Use:               "runs ID",
		Short:             "Show a task's attempts, oldest first",
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
			runs, err := c.Runs(ctx, id)
			if err != nil {
				return err
			}
			return a.show(a.runListing(runs))
		}),
	}
}
