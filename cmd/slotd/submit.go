package main

import (
	"context"
	"fmt"

	"github.com/spf13/cobra"

	"slotd/messages"
	soltiv1 "slotd/messages/solti/v1"
)

func (a *app) submitVerb() *cobra.Command {
	var flags specFlags
	cmd := &cobra.Command{
		Use:   "submit [flags] -- COMMAND [ARGS…]",
		Short: "Submit a task and print its id",
		Example: `  slotd submit --slot nightly --admission queue -- /usr/local/bin/backup --all
  slotd submit --script deploy.sh --restart on-failure --max-retries 3
  slotd submit -f task.yaml`,
	}
	flags.bind(cmd)
	a.completeSpec(cmd)
	cmd.RunE = a.verb(func(ctx context.Context, args []string) error {
		spec, err := a.prepare(&flags, args)
		if err != nil || flags.dryRun {
			return err
		}
		c, err := a.connect()
		if err != nil {
			return err
		}
		defer c.Close()
		id, err := c.Submit(ctx, spec, flags.key)
		if err != nil {
			return err
		}
		return a.printID(id)
	})
	return cmd
}

// prepare makes a checked spec of the flags; with --dry-run it prints it, defaults filled in.
func (a *app) prepare(flags *specFlags, args []string) (*soltiv1.CreateSpec, error) {
	if flags.given("idempotency-key") {
		if err := messages.ValidateIdempotencyKey(flags.key); err != nil {
			return nil, usagef("--idempotency-key %q: %w", flags.key, err)
		}
	}
	spec, err := flags.spec(a, args)
	if err != nil {
		return nil, err
	}
	full, err := check(spec)
	if err != nil || !flags.dryRun {
		return spec, err
	}
	return nil, writeObject(a.stdout, a.output, messages.Redact(full, true))
}

// printID prints the id of a new task: bare, or as the API answers it.
func (a *app) printID(id string) error {
	switch a.output {
	case formatJSON, formatJSONL, formatYAML:
		return writeObject(a.stdout, a.output, &soltiv1.SubmitTaskResponse{TaskId: id})
	default:
		_, err := fmt.Fprintln(a.stdout, id)
		return err
	}
}
