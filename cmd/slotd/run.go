package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"sync"
	"syscall"
	"time"

	"github.com/spf13/cobra"

	"slotd/gateway/client"
	soltiv1 "slotd/messages/solti/v1"
)

func (a *app) runVerb() *cobra.Command {
	var (
		flags  specFlags
		detach bool
		local  bool
	)
	cmd := &cobra.Command{
		Use:   "run [flags] -- COMMAND [ARGS…]",
		Short: "Submit a task, follow its output and exit as it does",
		Long: "Submit a task, write its stdout to stdout and its stderr to stderr from the first line on, and exit\n" +
			"with its code: its own, 124 when it timed out, 126 or 127 when it could not be started, 128+n when\n" +
			"signal n killed it, 143 when it was canceled, and 125 for everything of slotd's own.\n\n" +
			"The first Ctrl-C cancels the task and waits for its end, the second kills it, the third gives up.",
		Example: `  slotd run -- make test
  slotd run --slot deploy --admission replace --timeout 10m -- ./deploy.sh production
  slotd run --local -- ./needs-no-server`,
	}
	flags.bind(cmd)
	a.completeSpec(cmd)
	cmd.Flags().BoolVarP(&detach, "detach", "d", false, "print the id and return")
	cmd.Flags().BoolVar(&local, "local", false, "needs no server: run in a node inside this process, which ends with it")
	cmd.MarkFlagsMutuallyExclusive("detach", "local")
	cmd.RunE = a.ownSignals(func(ctx context.Context, args []string) error {
		spec, err := a.prepare(&flags, args)
		if err != nil || flags.dryRun {
			return err
		}
		c, disconnect, err := a.server(local)
		if err != nil {
			return err
		}
		r := &running{app: a, client: c, detach: detach}
		return errors.Join(r.do(ctx, spec, flags.key), disconnect())
	})
	return cmd
}

// server returns a client for the daemon, or for a node of our own.
func (a *app) server(local bool) (*client.Client, func() error, error) {
	if local {
		return a.startLocal()
	}
	c, err := a.connect()
	if err != nil {
		return nil, nil, err
	}
	return c, func() error { c.Close(); return nil }, nil
}

// running is one slotd run.
type running struct {
	app    *app
	client *client.Client
	detach bool
	asked  sync.WaitGroup // cancels under way
}

var errAbandoned = errors.New("given up before the end: the task may still run")

// do submits the task and sees it to its end. The error carries the exit code.
func (r *running) do(ctx context.Context, spec *soltiv1.CreateSpec, key string) error {
	// A broken pipe is to be an error of the write, so that the task can be canceled.
	_, heedPipes := r.app.notify(syscall.SIGPIPE)
	defer heedPipes()
	signals, stop := r.app.notify(syscall.SIGINT, syscall.SIGTERM, syscall.SIGHUP)
	defer stop()

	ctx, giveUp := context.WithCancelCause(ctx)
	admitted := make(chan string, 1)
	heeded := make(chan struct{})
	go func() {
		defer close(heeded)
		r.heed(ctx, signals, admitted, giveUp)
	}()
	defer func() {
		giveUp(nil)
		<-heeded
		r.asked.Wait()
	}()

	id, err := r.client.Submit(ctx, spec, key)
	if err != nil {
		return err
	}
	if r.detach {
		_, err := fmt.Fprintln(r.app.stdout, id)
		return err
	}
	admitted <- id
	task, err := r.follow(ctx, id)
	if err != nil {
		return err
	}
	return r.end(ctx, task)
}

// heed turns signals into what happens to the task: the first cancels it, the second kills it, the third gives up. One
// that comes before the task has an id is kept until it has one.
func (r *running) heed(ctx context.Context, signals <-chan os.Signal, admitted <-chan string, giveUp context.CancelCauseFunc) {
	id, count := "", 0
	for {
		select {
		case <-ctx.Done():
			return
		case id = <-admitted:
			if count > 0 {
				r.stop(ctx, id, count)
			}
		case <-signals:
			count++
			switch {
			case count > 2, id == "" && count > 1:
				giveUp(errAbandoned)
				return
			case id == "":
				r.app.talk("waiting for the answer to the submission, to cancel it; once more gives up")
			default:
				r.stop(ctx, id, count)
			}
		}
	}
}

// stop cancels the task, or kills it when it was canceled before.
func (r *running) stop(ctx context.Context, id string, count int) {
	cancel := r.client.Cancel
	if count == 1 {
		r.app.talk("canceling %s; once more kills it", id)
	} else {
		r.app.talk("killing %s", id)
		cancel = func(ctx context.Context, id string) (*soltiv1.TaskData, error) {
			return r.client.CancelWithin(ctx, id, 0)
		}
	}
	r.asked.Go(func() {
		if _, err := cancel(ctx, id); err != nil && ctx.Err() == nil {
			r.app.say("cancel %s: %v", id, err)
		}
	})
}

// How long after the end of its log a task is given to become terminal, and the pause before its log is taken up again
// when it has not.
const (
	settleTime  = 2 * time.Second
	settlePause = 100 * time.Millisecond
)

// follow writes the task's output until it is terminal. Output that cannot be written cancels the task: nobody is left
// to read it.
//
// The outcome is waited for from the beginning, beside the output: where the task is removed, or the daemon stops, it
// cannot be asked for a moment after it was told.
func (r *running) follow(ctx context.Context, id string) (*soltiv1.TaskData, error) {
	reading, unwritten := context.WithCancelCause(ctx)
	var witness sync.WaitGroup
	defer witness.Wait()
	defer unwritten(nil)
	ended := make(chan *soltiv1.TaskData, 1)
	witness.Go(func() {
		defer close(ended)
		if task, err := r.client.Wait(reading, id, client.Terminal); err == nil {
			ended <- task
		}
	})
	told := r.app.progress(reading, r.client, "running", id)
	defer told.end()
	s := newSink(r.app, unwritten)
	opt := client.LogOptions{Tail: client.TailAll, Follow: true}
	for {
		err := r.print(reading, s, id, &opt)
		if written := s.close(); written != nil {
			return r.unread(ctx, id, written)
		}
		if err != nil {
			return r.lost(ctx, id, ended, err)
		}
		task, err := r.client.GetWait(ctx, id, client.Terminal, settleTime)
		if err != nil {
			return r.lost(ctx, id, ended, err)
		}
		if task.GetStatus().GetTerminal() {
			return task, nil
		}
		select {
		case <-ctx.Done():
			return nil, context.Cause(ctx)
		case <-time.After(settlePause):
		}
	}
}

// print writes the events of one log stream and remembers where it ended.
func (r *running) print(ctx context.Context, s *sink, id string, opt *client.LogOptions) error {
	for event, err := range r.client.Logs(ctx, id, *opt) {
		if err != nil {
			return err
		}
		if event.GetId() != "" {
			opt.After = event.GetId()
		}
		if err := s.event(source{}, event); err != nil {
			return err
		}
	}
	return nil
}

// unread ends a task whose output cannot be written. A reader who went away is no error of ours.
func (r *running) unread(ctx context.Context, id string, written error) (*soltiv1.TaskData, error) {
	task, err := r.client.Cancel(ctx, id)
	if errors.Is(written, syscall.EPIPE) {
		return task, err
	}
	return nil, errors.Join(fmt.Errorf("write the task's output: %w; it was canceled", written), err)
}

// lost returns the outcome of a task that cannot be asked for any more, if it was told before, and otherwise says why
// the task cannot be followed.
func (r *running) lost(ctx context.Context, id string, ended <-chan *soltiv1.TaskData, err error) (*soltiv1.TaskData, error) {
	if ctx.Err() == nil {
		select {
		case task := <-ended:
			if task != nil {
				return task, nil
			}
		case <-time.After(settleTime):
		}
	}
	if client.NotFound(err) {
		return nil, fmt.Errorf("%s: was removed before its outcome could be read", id)
	}
	return nil, fmt.Errorf("lost %s: %w", id, err)
}

// end exits as the task did.
func (r *running) end(ctx context.Context, task *soltiv1.TaskData) error {
	code, err := outcome(ctx, r.client, task)
	if err != nil {
		return err
	}
	if text := ending(task); text != "" {
		if code >= exitOwn && code < exitSignalBase {
			r.app.say("%s", text)
		} else {
			r.app.talk("%s", text)
		}
	}
	if code == exitOK {
		return nil
	}
	return &codeError{code: code}
}
