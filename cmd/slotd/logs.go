package main

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/spf13/cobra"

	"slotd/gateway/client"
	soltiv1 "slotd/messages/solti/v1"
)

func (a *app) logsVerb() *cobra.Command {
	var (
		opt            client.LogOptions
		selector       string
		stdout, stderr bool
		stamps         bool
		attempt        uint64
	)
	cmd := &cobra.Command{
		Use:   "logs ID… | -l SELECTOR",
		Short: "Print what tasks wrote",
		Long: "Print what tasks wrote: their stdout to stdout, their stderr to stderr. Without -f everything that is\n" +
			"kept is printed; with -f it goes on, across all attempts, until the task is terminal. -o json or jsonl\n" +
			"prints the events themselves, one a line.\n\n" +
			"Several tasks are printed one after the other, with -f side by side. Every line begins with the task's\n" +
			"slot, and the end of its id where two share a slot; events have a taskId. What is wrong with one task is\n" +
			"told, and ends no other; the exit code is that of the first in the order of the arguments.\n\n" +
			"Ctrl-C detaches: the task goes on, and the exit code is 130.",
		Args: func(cmd *cobra.Command, args []string) error {
			switch {
			case selector == "":
				return someTasks(cmd, args)
			case len(args) > 0:
				return fmt.Errorf("%s takes ids or a selector, not both", cmd.CommandPath())
			default:
				return nil
			}
		},
		ValidArgsFunction: a.taskIDs(0),
	}
	fs := cmd.Flags()
	opt.Tail = client.TailAll
	fs.BoolVarP(&opt.Follow, "follow", "f", false, "go on until the task is terminal")
	bind(fs, &selector, "selector", "l", "", "expr", "the tasks that are there now and whose labels match, such as app=web,tier in (a,b)", parseChoice)
	bind(fs, &opt.Tail, "tail", "n", "all", "n", "begin with the last so many lines", parseTail)
	bind(fs, &opt.Since, "since", "", "", "when", "only what came after: 5m ago, or an RFC 3339 time", parseSince)
	fs.BoolVarP(&stamps, "timestamps", "t", false, "begin each line with its time, RFC 3339 in UTC")
	bind(fs, &attempt, "attempt", "", "", "n", "only this attempt", parseCount(1, 1<<32-1))
	fs.BoolVar(&stdout, "stdout", false, "only stdout")
	fs.BoolVar(&stderr, "stderr", false, "only stderr")
	cmd.RunE = a.verb(func(ctx context.Context, args []string) error {
		if a.output == formatWide || a.output == formatYAML || a.output == formatName {
			return usagef("--output %q: logs are text (table), json or jsonl", a.output)
		}
		opt.Attempt = uint32(attempt)
		opt.Stream = streamFlag(stdout, stderr)
		c, err := a.connect()
		if err != nil {
			return err
		}
		defer c.Close()
		sources, err := a.logSources(ctx, c, args, selector)
		if err != nil {
			return err
		}
		if opt.Follow && len(sources) > followLimit {
			return usagef("--follow: %d tasks are too many, at most %d are followed; choose fewer", len(sources), followLimit)
		}
		ctx, cancel := context.WithCancelCause(ctx)
		defer cancel(nil)
		s := newSink(a, cancel)
		s.stamps, s.json = stamps, a.output != formatTable
		err = a.printLogs(ctx, c, s, sources, opt)
		if written := s.close(); written != nil {
			return fmt.Errorf("write the log: %w", written)
		}
		return err
	})
	return cmd
}

// followLimit is how many logs are followed at a time: each is a connection.
const followLimit = 64

// printLogs prints one task after the other, or side by side when they are followed. The error of a single task is
// returned; those of several are told when they happen, and the first of the arguments decides the exit code.
func (a *app) printLogs(ctx context.Context, c *client.Client, s *sink, sources []logSource, opt client.LogOptions) error {
	errs := make([]error, len(sources))
	each := func(i int) {
		errs[i] = printLog(ctx, c, s, sources[i], opt)
		if errs[i] != nil && len(sources) > 1 && ctx.Err() == nil {
			a.say("%s: %v", sources[i].id, errs[i])
		}
	}
	var group sync.WaitGroup
	for i := range sources {
		if opt.Follow {
			group.Go(func() { each(i) })
		} else if ctx.Err() == nil {
			each(i)
		}
	}
	group.Wait()
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	for _, err := range errs {
		if err != nil && len(sources) > 1 {
			return &codeError{code: exitOf(err)}
		}
		if err != nil {
			return err
		}
	}
	return nil
}

func printLog(ctx context.Context, c *client.Client, s *sink, source logSource, opt client.LogOptions) error {
	if source.err != nil {
		return source.err
	}
	for event, err := range c.Logs(ctx, source.id, opt) {
		if err != nil {
			return err
		}
		if err := s.event(source.source, event); err != nil {
			return err
		}
	}
	return nil
}

// parseChoice reads a selector that chooses something: an empty one would choose all.
func parseChoice(s string) (string, error) {
	if strings.TrimSpace(s) == "" {
		return "", errors.New("must not be empty")
	}
	return parseSelector(s)
}

func streamFlag(stdout, stderr bool) soltiv1.OutputStreamKind {
	switch {
	case stdout == stderr:
		return soltiv1.OutputStreamKind_OUTPUT_STREAM_KIND_UNSPECIFIED
	case stdout:
		return soltiv1.OutputStreamKind_OUTPUT_STREAM_KIND_STDOUT
	default:
		return soltiv1.OutputStreamKind_OUTPUT_STREAM_KIND_STDERR
	}
}

func parseTail(s string) (client.Tail, error) {
	if s == "all" {
		return client.TailAll, nil
	}
	n, err := strconv.ParseInt(s, 10, 64)
	switch {
	case err != nil || n < 0:
		return 0, errors.New("must be a number of lines, or all")
	case n == 0:
		return client.TailNone, nil
	default:
		return client.Tail(n), nil
	}
}

// parseSince checks what the daemon will read: durations count back from the daemon's clock, not from ours.
func parseSince(s string) (string, error) {
	if _, err := parsePositive(s); err == nil {
		return s, nil
	}
	if _, err := time.Parse(time.RFC3339, s); err == nil {
		return s, nil
	}
	return "", errors.New("must be a duration such as 10m, or an RFC 3339 time such as 2026-01-02T15:04:05Z")
}
