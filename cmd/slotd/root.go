package main

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"syscall"

	"github.com/spf13/cobra"

	"slotd/gateway/client"
)

// execute runs one command line and returns the exit code.
func (a *app) execute(ctx context.Context, args []string) int {
	a.attach()
	root := a.root()
	root.SetArgs(args)
	cmd, err := root.ExecuteContextC(ctx)
	if err != nil && !a.begun {
		err = &usageError{err: err}
	}
	a.explain(cmd, err)
	code := exitOf(err)
	if cmd.Name() == "run" && err != nil {
		if _, ok := errors.AsType[*codeError](err); !ok {
			code = exitOwn
		}
	}
	return code
}

// explain tells a person on stderr why a command did not do what it should.
func (a *app) explain(cmd *cobra.Command, err error) {
	var (
		code     *codeError
		bySignal *signaledError
		usage    *usageError
	)
	switch {
	case err == nil, errors.As(err, &bySignal), errors.As(err, &code) && code.err == nil:
		return
	case errors.As(err, &usage) && !a.begun:
		a.say("%v", err)
		a.say("`%s --help` tells more", cmd.CommandPath())
	default:
		a.say("%v", err)
		if advice := a.reached.advise(err); advice != "" {
			a.say("%s", advice)
		}
	}
}

// say writes a sentence to stderr. When stderr is gone there is nobody left to tell.
func (a *app) say(format string, args ...any) {
	text := strings.TrimRight(fmt.Sprintf(format, args...), "\n")
	for line := range strings.SplitSeq(text, "\n") {
		_, _ = fmt.Fprintln(a.stderr, strings.TrimRight("slotd: "+line, " \t"))
	}
}

// talk is say for what a quiet caller does without.
func (a *app) talk(format string, args ...any) {
	if !a.quiet {
		a.say(format, args...)
	}
}

func (a *app) root() *cobra.Command {
	root := &cobra.Command{
		Use:   "slotd",
		Short: "slotd runs tasks in named slots",
		Long: "slotd runs tasks in named slots: a slot has one holder at a time, and what happens to a\n" +
			"submission that meets a busy slot (drop, replace, queue) is decided before it is answered.",
		Version:           buildVersion().GetVersion(),
		SilenceErrors:     true,
		SilenceUsage:      true,
		CompletionOptions: cobra.CompletionOptions{DisableDefaultCmd: true},
		Args:              cobra.ArbitraryArgs,
		RunE:              unknownVerb,
	}
	root.SetFlagErrorFunc(unknownFlag)
	root.SetIn(a.stdin)
	root.SetOut(a.stdout)
	root.SetErr(a.stderr)
	root.SetVersionTemplate("slotd {{.Version}}\n")

	a.output = formatTable
	flags := root.PersistentFlags()
	a.reachFlags(flags)
	bind(flags, &a.output, "output", "o", string(formatTable), "format", "table, wide, json, jsonl, yaml or name", parseFormat)
	bind(flags, &a.color, "color", "", "auto", "when", "auto, always or never (NO_COLOR is honored)", parseColor)
	flags.BoolVarP(&a.quiet, "quiet", "q", false, "say nothing on stderr but errors")
	a.complete(root, "context", a.contextNames)
	a.complete(root, "output", cobra.FixedCompletions(formatNames(), cobra.ShellCompDirectiveNoFileComp))
	a.complete(root, "color", cobra.FixedCompletions([]string{"auto", "always", "never"}, cobra.ShellCompDirectiveNoFileComp))

	root.SetHelpCommand(helpVerb())
	root.AddCommand(
		a.serveVerb(), a.runVerb(), a.submitVerb(), a.lsVerb(), a.getVerb(), a.runsVerb(), a.logsVerb(), a.waitVerb(),
		a.cancelVerb(), a.rmVerb(), a.slotsVerb(), a.topVerb(), a.eventsVerb(), a.nodesVerb(), a.versionVerb(), a.completionVerb(),
		a.configVerb(), a.tokenVerb(), a.storeVerb(), a.benchVerb(),
	)
	return root
}

// verb is the body of a command that a signal ends: its context is done then, and the exit code tells the signal.
func (a *app) verb(do func(ctx context.Context, args []string) error) func(*cobra.Command, []string) error {
	return a.ownSignals(func(ctx context.Context, args []string) error {
		signals, stop := a.notify(syscall.SIGINT, syscall.SIGTERM)
		defer stop()
		ctx, cancel := context.WithCancelCause(ctx)
		done := make(chan struct{})
		go func() {
			defer close(done)
			select {
			case s := <-signals:
				cancel(signaled(s))
			case <-ctx.Done():
			}
		}()
		defer func() { cancel(nil); <-done }()
		return do(ctx, args)
	})
}

// ownSignals is the body of a command that deals with signals itself.
func (a *app) ownSignals(do func(ctx context.Context, args []string) error) func(*cobra.Command, []string) error {
	return func(cmd *cobra.Command, args []string) error {
		a.begun = true
		return do(cmd.Context(), args)
	}
}

// getenv looks a variable up in the caller's environment.
func (a *app) getenv(name string) (string, bool) {
	for _, pair := range slices.Backward(a.environ) {
		if value, ok := strings.CutPrefix(pair, name+"="); ok {
			return value, true
		}
	}
	return "", false
}

// resolve turns short ids into whole ones, in order, each once.
func resolve(ctx context.Context, c *client.Client, short []string) ([]string, error) {
	ids := make([]string, 0, len(short))
	for _, prefix := range short {
		id, err := c.Resolve(ctx, prefix)
		if err != nil {
			return nil, err
		}
		if !slices.Contains(ids, id) {
			ids = append(ids, id)
		}
	}
	return ids, nil
}
