package main

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
)

// closest returns the words that a mistyped one may mean, at most three: those one letter away, else those two away.
// Cobra knows how to find commands that way, so the words are dressed as commands.
func closest(typed string, words []string) []string {
	for distance := 1; distance <= 2 && len(typed) > distance; distance++ {
		probe := &cobra.Command{SuggestionsMinimumDistance: distance}
		for _, word := range words {
			probe.AddCommand(&cobra.Command{Use: word, Run: func(*cobra.Command, []string) {}})
		}
		if found := probe.SuggestionsFor(typed); len(found) > 0 {
			slices.Sort(found)
			return found[:min(len(found), 3)]
		}
	}
	return nil
}

// didYouMean is a half sentence to put behind a mistyped word; empty when nothing is like it.
func didYouMean(typed string, words []string) string {
	found := closest(typed, words)
	if len(found) == 0 {
		return ""
	}
	return "; did you mean " + strings.Join(found, " or ") + "?"
}

// oneOf refuses a word that is not in a list.
func oneOf(typed string, words []string) error {
	if slices.Contains(words, typed) {
		return nil
	}
	return errors.New("must be one of " + strings.Join(words, ", ") + didYouMean(typed, words))
}

// unknownVerb is what a verb does that has only further verbs: without one it shows them.
func unknownVerb(cmd *cobra.Command, args []string) error {
	if len(args) == 0 {
		return cmd.Help()
	}
	var names []string
	for _, verb := range cmd.Commands() {
		if verb.IsAvailableCommand() {
			names = append(append(names, verb.Name()), verb.Aliases...)
		}
	}
	return usagef("unknown command %q for %q%s", args[0], cmd.CommandPath(), didYouMean(args[0], names))
}

// unknownFlag adds to an error of the flags what a mistyped one may mean. Behind a verb that does not exist, the flags are
// not the mistake.
func unknownFlag(cmd *cobra.Command, err error) error {
	if cmd.HasSubCommands() && cmd.Flags().NArg() > 0 {
		return unknownVerb(cmd, cmd.Flags().Args())
	}
	unknown, ok := errors.AsType[*pflag.NotExistError](err)
	if !ok || len(unknown.GetSpecifiedShortnames()) > 0 {
		return err
	}
	var names []string
	cmd.Flags().VisitAll(func(f *pflag.Flag) {
		if !f.Hidden {
			names = append(names, f.Name)
		}
	})
	found := closest(unknown.GetSpecifiedName(), names)
	if len(found) == 0 {
		return err
	}
	return fmt.Errorf("%w; did you mean --%s?", err, strings.Join(found, " or --"))
}

// helpVerb is cobra's, but for a verb that does not exist.
func helpVerb() *cobra.Command {
	return &cobra.Command{
		Use:   "help [COMMAND]",
		Short: "Help about a command",
		ValidArgsFunction: func(cmd *cobra.Command, args []string, _ string) ([]cobra.Completion, cobra.ShellCompDirective) {
			var names []cobra.Completion
			if about, rest, err := cmd.Root().Find(args); err == nil && len(rest) == 0 {
				for _, verb := range about.Commands() {
					if verb.IsAvailableCommand() {
						names = append(names, cobra.CompletionWithDesc(verb.Name(), verb.Short))
					}
				}
			}
			return names, cobra.ShellCompDirectiveNoFileComp
		},
		RunE: func(cmd *cobra.Command, args []string) error {
			about, rest, err := cmd.Root().Find(args)
			if err != nil {
				return err
			}
			if about.HasSubCommands() && len(rest) > 0 {
				return unknownVerb(about, rest)
			}
			about.InitDefaultHelpFlag()
			return about.Help()
		},
	}
}

// oneTask and someTasks are what verbs about tasks take.
func oneTask(cmd *cobra.Command, args []string) error {
	return one("the id of one task", cmd, args)
}

func someTasks(cmd *cobra.Command, args []string) error {
	if len(args) == 0 {
		return fmt.Errorf("`%s` takes the ids of one or more tasks; `slotd ls` lists them", cmd.CommandPath())
	}
	return nil
}

// oneName is what the verbs about contexts take.
func oneName(cmd *cobra.Command, args []string) error {
	return one("the name of one context", cmd, args)
}

func one(what string, cmd *cobra.Command, args []string) error {
	if len(args) != 1 {
		return fmt.Errorf("`%s` takes %s, not %s", cmd.CommandPath(), what, counted(uint64(len(args)), "argument"))
	}
	return nil
}
