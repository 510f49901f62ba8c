package main

import (
	"context"
	"fmt"

	"github.com/spf13/cobra"

	"slotd/gateway/auth"
)

func (a *app) tokenVerb() *cobra.Command {
	token := &cobra.Command{
		Use:   "token",
		Short: "Make tokens",
		Args:  cobra.ArbitraryArgs,
		RunE:  unknownVerb,
	}
	token.AddCommand(a.tokenCreateVerb())
	return token
}

func (a *app) tokenCreateVerb() *cobra.Command {
	var (
		role       auth.Role
		file, name string
	)
	cmd := &cobra.Command{
		Use:   "create --role ROLE --file FILE",
		Short: "Make a token",
		Long: "Make a token: its hash is added to the file, which is made with mode 0600 when it is missing, and the\n" +
			"token alone is printed on stdout. It is shown this once; the file cannot give it back.\n\n" +
			"`slotd serve --auth-tokens FILE` wants one of the file's tokens from each client. A daemon that runs takes a\n" +
			"new one, or forgets one whose line was deleted, after SIGHUP.\n\n" +
			"  read     look at tasks and their output, without values of environments\n" +
			"  submit   also submit, cancel and delete tasks, and so run commands\n" +
			"  admin    everything",
		Args: cobra.NoArgs,
		RunE: a.ownSignals(func(context.Context, []string) error {
			if err := auth.ValidateName(name); err != nil {
				return usagef("--name: %w", err)
			}
			token, err := auth.Create(file, role, name)
			if err != nil {
				return err
			}
			if _, err := fmt.Fprintln(a.stdout, token); err != nil {
				return fmt.Errorf("print the token, whose line stands in %s already: %w", file, err)
			}
			a.talk("added to %s with role %s; a daemon that runs knows it after SIGHUP", file, role)
			return nil
		}),
	}
	bind(cmd.Flags(), &role, "role", "", "", "role", "what it may do: read, submit or admin", auth.ParseRole)
	cmd.Flags().StringVar(&file, "file", "", "add it to this `file`")
	cmd.Flags().StringVar(&name, "name", "", "call it so in the daemon's log (`name`)")
	for _, flag := range []string{"role", "file"} {
		if err := cmd.MarkFlagRequired(flag); err != nil {
			panic(err) // the flags stand above
		}
	}
	a.complete(cmd, "role", cobra.FixedCompletions([]string{"read", "submit", "admin"}, cobra.ShellCompDirectiveNoFileComp))
	return cmd
}
