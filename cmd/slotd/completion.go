package main

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"slotd/gateway/client"
	soltiv1 "slotd/messages/solti/v1"
)

// What a shell waits for a list, and how long that list is.
const (
	completionPatience = 500 * time.Millisecond
	completionLimit    = 200
)

func (a *app) completionVerb() *cobra.Command {
	shells := []string{"bash", "zsh", "fish", "powershell"}
	return &cobra.Command{
		Use:   "completion bash|zsh|fish|powershell",
		Short: "Print a completion script for a shell",
		Long: "Print a completion script for a shell. It completes verbs, flags, and the ids and slots of the daemon.\n\n" +
			"  bash         source <(slotd completion bash)\n" +
			"  zsh          slotd completion zsh > \"${fpath[1]}/_slotd\"\n" +
			"  fish         slotd completion fish > ~/.config/fish/completions/slotd.fish\n" +
			"  powershell   slotd completion powershell | Out-String | Invoke-Expression",
		Args:      cobra.MatchAll(cobra.ExactArgs(1), cobra.OnlyValidArgs),
		ValidArgs: shells,
		RunE: func(cmd *cobra.Command, args []string) error {
			a.begun = true
			root := cmd.Root()
			switch args[0] {
			case "bash":
				return root.GenBashCompletionV2(a.stdout, true)
			case "zsh":
				return root.GenZshCompletion(a.stdout)
			case "fish":
				return root.GenFishCompletion(a.stdout, true)
			case "powershell":
				return root.GenPowerShellCompletionWithDesc(a.stdout)
			default:
				return usagef("shell %q: must be one of %s", args[0], strings.Join(shells, ", "))
			}
		},
	}
}

// complete gives a flag its completion; a flag that does not exist is a mistake in this program.
func (a *app) complete(cmd *cobra.Command, flag string, with cobra.CompletionFunc) {
	if err := cmd.RegisterFlagCompletionFunc(flag, with); err != nil {
		panic(fmt.Sprintf("complete --%s of %s: %v", flag, cmd.Name(), err))
	}
}

// completeSpec gives the flags of run and submit theirs.
func (a *app) completeSpec(cmd *cobra.Command) {
	a.complete(cmd, "slot", a.slotNames)
	for flag, words := range map[string][]string{
		"admission": {"drop", "replace", "queue"},
		"restart":   {"never", "on-failure", "always"},
		"runtime":   {"bash", "python", "node"},
		"pull":      {"missing", "always", "never"},
	} {
		a.complete(cmd, flag, cobra.FixedCompletions(words, cobra.ShellCompDirectiveNoFileComp))
	}
	a.complete(cmd, "file", cobra.FixedCompletions([]string{"yaml", "yml", "json"}, cobra.ShellCompDirectiveFilterFileExt))
	a.complete(cmd, "cwd", cobra.FixedCompletions(nil, cobra.ShellCompDirectiveFilterDirs))
}

// taskIDs completes ids of tasks, newest last; at most so many arguments, 0 = any number.
func (a *app) taskIDs(most int) cobra.CompletionFunc {
	return func(cmd *cobra.Command, args []string, typed string) ([]cobra.Completion, cobra.ShellCompDirective) {
		if most > 0 && len(args) >= most {
			return nil, cobra.ShellCompDirectiveNoFileComp
		}
		return a.ids(cmd.Context(), client.Filter{}, args, typed)
	}
}

// activeIDs completes ids of tasks that are not terminal.
func (a *app) activeIDs(cmd *cobra.Command, args []string, typed string) ([]cobra.Completion, cobra.ShellCompDirective) {
	terminal := false
	return a.ids(cmd.Context(), client.Filter{Terminal: &terminal}, args, typed)
}

func (a *app) ids(ctx context.Context, filter client.Filter, args []string, typed string) ([]cobra.Completion, cobra.ShellCompDirective) {
	filter.IDPrefix, filter.Limit, filter.Newest = typed, completionLimit, true
	var words []cobra.Completion
	err := a.ask(ctx, func(ctx context.Context, c *client.Client) error {
		page, err := c.List(ctx, filter)
		for _, task := range page.GetTasks() {
			id := task.GetMetadata().GetId()
			if !slices.Contains(args, id) {
				words = append(words, cobra.CompletionWithDesc(id, task.GetSpec().GetSlot()+" "+phaseName(task.GetStatus().GetPhase())))
			}
		}
		return err
	})
	return words, directive(err)
}

// slotNames completes slots in use.
func (a *app) slotNames(cmd *cobra.Command, args []string, typed string) ([]cobra.Completion, cobra.ShellCompDirective) {
	var words []cobra.Completion
	err := a.ask(cmd.Context(), func(ctx context.Context, c *client.Client) error {
		slots, err := c.Slots(ctx)
		for _, slot := range slots {
			if strings.HasPrefix(slot.GetSlot(), typed) && !slices.Contains(args, slot.GetSlot()) {
				words = append(words, cobra.CompletionWithDesc(slot.GetSlot(), slot.GetPhase()))
			}
		}
		return err
	})
	return words, directive(err)
}

// ask puts one question to the daemon while a person waits at a prompt.
func (a *app) ask(ctx context.Context, question func(context.Context, *client.Client) error) error {
	if ctx == nil {
		ctx = context.Background()
	}
	c, err := a.connect()
	if err != nil {
		return err
	}
	defer c.Close()
	ctx, cancel := context.WithTimeout(ctx, completionPatience)
	defer cancel()
	return question(ctx, c)
}

// directive: a shell is told of an error by completing nothing.
func directive(err error) cobra.ShellCompDirective {
	if err != nil {
		cobra.CompErrorln(err.Error())
		return cobra.ShellCompDirectiveError
	}
	return cobra.ShellCompDirectiveNoFileComp
}

func statusNames() []string {
	names := make([]string, 0, len(soltiv1.TaskStatus_name)-1)
	for n := int32(1); n < int32(len(soltiv1.TaskStatus_name)); n++ {
		names = append(names, strings.ToLower(phaseName(soltiv1.TaskStatus(n))))
	}
	return names
}
