package main

import (
	"context"
	"fmt"
	"sync"
	"time"

	"github.com/spf13/cobra"

	soltiv1 "slotd/messages/solti/v1"
)

func (a *app) cancelVerb() *cobra.Command {
	var grace time.Duration
	cmd := &cobra.Command{
		Use:               "cancel ID…",
		Short:             "Stop tasks and keep their records",
		Long:              "Stop tasks, wait until everything they started is dead, and keep their records.\nPrints the ids.",
		Args:              someTasks,
		ValidArgsFunction: a.activeIDs,
	}
	bind(cmd.Flags(), &grace, "grace", "", "", "duration", "time between SIGTERM and SIGKILL when the task's own is longer; 0 kills at once", parseDuration)
	cmd.RunE = a.verb(func(ctx context.Context, args []string) error {
		c, err := a.connect()
		if err != nil {
			return err
		}
		defer c.Close()
		ids, err := resolve(ctx, c, args)
		if err != nil {
			return err
		}
		var mu sync.Mutex
		ended := make(map[string]*soltiv1.TaskData, len(ids))
		cancel := func(ctx context.Context, id string) error {
			stop := c.Cancel
			if cmd.Flags().Changed("grace") {
				stop = func(ctx context.Context, id string) (*soltiv1.TaskData, error) { return c.CancelWithin(ctx, id, grace) }
			}
			task, err := stop(ctx, id)
			mu.Lock()
			defer mu.Unlock()
			ended[id] = task
			return err
		}
		return a.endEach(ctx, c, ids, cancel, func(id string) error { return a.printEnded(ended[id]) })
	})
	return cmd
}

// printEnded prints a task that was stopped: its id, or the whole object.
func (a *app) printEnded(task *soltiv1.TaskData) error {
	switch a.output {
	case formatJSON, formatJSONL, formatYAML:
		return writeObject(a.stdout, a.output, task)
	default:
		_, err := fmt.Fprintln(a.stdout, task.GetMetadata().GetId())
		return err
	}
}
