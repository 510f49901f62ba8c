package main

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"time"

	"github.com/spf13/cobra"
	"golang.org/x/sync/errgroup"

	"slotd/gateway/client"
	soltiv1 "slotd/messages/solti/v1"
)

func (a *app) logsVerb() *cobra.Command {
	var (
		opt            client.LogOptions
		stdout, stderr bool
		stamps         bool
		attempt        uint64
	)
	cmd := &cobra.Command{
		Use:   "logs ID…",
		Short: "Print what tasks wrote",
		Long: "Print what tasks wrote: their stdout to stdout, their stderr to stderr. Without -f everything that is\n" +
			"kept is printed; with -f it goes on, across all attempts, until the task is terminal. Several ids get\n" +
			"a prefix on every line. -o json or jsonl prints the events themselves, one a line.\n\n" +
			"Ctrl-C detaches: the task goes on, and the exit code is 130.",
		Args:              someTasks,
		ValidArgsFunction: a.taskIDs(0),
	}
	fs := cmd.Flags()
	opt.Tail = client.TailAll
	fs.BoolVarP(&opt.Follow, "follow", "f", false, "go on until the task is terminal")
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
		ids, err := resolve(ctx, c, args)
		if err != nil {
			return err
		}
		ctx, cancel := context.WithCancelCause(ctx)
		defer cancel(nil)
		s := newSink(a, cancel)
		s.stamps, s.json = stamps, a.output != formatTable
		err = a.printLogs(ctx, c, s, ids, opt)
		if written := s.close(); written != nil {
			return fmt.Errorf("write the log: %w", written)
		}
		return err
	})
	return cmd
}

// printLogs prints one task after the other, or side by side when they are followed.
func (a *app) printLogs(ctx context.Context, c *client.Client, s *sink, ids []string, opt client.LogOptions) error {
	group, ctx := errgroup.WithContext(ctx)
	if !opt.Follow {
		group.SetLimit(1)
	}
	for _, id := range ids {
		group.Go(func() error {
			prefix := ""
			if len(ids) > 1 && !s.json {
				prefix = id + " | "
			}
			for event, err := range c.Logs(ctx, id, opt) {
				if err != nil {
					return err
				}
				if err := s.event(prefix, event); err != nil {
					return err
				}
			}
			return nil
		})
	}
	return group.Wait()
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
