package main

import (
	"context"
	"fmt"

	"github.com/spf13/cobra"
)

func (a *app) rmVerb() *cobra.Command {
	return &cobra.Command{
		Use:               "rm ID…",
		Aliases:           []string{"delete"},
		Short:             "Stop tasks and purge their records, runs and logs",
		Long:              "Stop tasks, wait until everything they started is dead, and purge their records, runs and\nlogs. Prints the ids. An id that is gone already is no error.",
		Args:              someTasks,
		ValidArgsFunction: a.taskIDs(0),
		RunE: a.verb(func(ctx context.Context, args []string) error {
			c, err := a.connect()
			if err != nil {
				return err
			}
			defer c.Close()
			ids, err := resolve(ctx, c, args)
			if err != nil {
				return err
			}
			return a.endEach(ctx, c, ids, c.Delete, func(id string) error {
				_, err := fmt.Fprintln(a.stdout, id)
				return err
			})
		}),
	}
}
