package main

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/spf13/cobra"
	"google.golang.org/protobuf/proto"

	"slotd/gateway/client"
	soltiv1 "slotd/messages/solti/v1"
)

func (a *app) waitVerb() *cobra.Command {
	var (
		w       = waiting{want: client.Terminal}
		timeout time.Duration
	)
	cmd := &cobra.Command{
		Use:   "wait ID…",
		Short: "Wait until tasks are terminal, and exit as they did",
		Long: "Wait until tasks are terminal, and exit as slotd run would: of several, with the first code that is\n" +
			"not 0 in the order of the arguments; with --any, with the code of the one that ends first. The exit\n" +
			"code is 5 when the timeout passed. With -o json (jsonl, yaml, name) the tasks are printed.",
		Args:              someTasks,
		ValidArgsFunction: a.taskIDs(0),
	}
	bind(cmd.Flags(), &w.want, "for", "", "terminal", "what", "running or terminal", parseWant)
	bind(cmd.Flags(), &timeout, "timeout", "", "", "duration", "give up after this time (default never)", parsePositive)
	cmd.Flags().BoolVar(&w.first, "any", false, "until the first of them")
	a.complete(cmd, "for", cobra.FixedCompletions([]string{"running", "terminal"}, cobra.ShellCompDirectiveNoFileComp))
	cmd.RunE = a.verb(func(ctx context.Context, args []string) error {
		c, err := a.connect()
		if err != nil {
			return err
		}
		defer c.Close()
		if timeout > 0 {
			late := &codeError{code: exitWaitTimeout, err: fmt.Errorf("still waiting after %v: %s", timeout, strings.Join(args, ", "))}
			var stop context.CancelFunc
			ctx, stop = context.WithTimeoutCause(ctx, timeout, late)
			defer stop()
		}
		w.app, w.client = a, c
		return a.reportWait(w.await(ctx, args))
	})
	return cmd
}

func parseWant(s string) (client.Want, error) {
	if want := client.Want(s); want == client.Running || want == client.Terminal {
		return want, nil
	}
	return "", errors.New("must be running or terminal" + didYouMean(s, []string{string(client.Running), string(client.Terminal)}))
}

// waiting is one slotd wait.
type waiting struct {
	app    *app
	client *client.Client
	want   client.Want
	first  bool // until the first of them
}

// waited is what became of one task; the zero value is one that was not waited for to the end.
type waited struct {
	task *soltiv1.TaskData
	err  error
}

var errFirst = errors.New("another task was first")

// await waits for all tasks, or for the first, and returns what became of them, in argument order. An id that names no
// task keeps no other from being waited for.
func (w *waiting) await(ctx context.Context, short []string) []waited {
	ctx, stop := context.WithCancelCause(ctx)
	defer stop(nil)
	ids, results := w.resolve(ctx, short)
	told := w.app.progress(ctx, w.client, "waiting for", ids...)
	defer told.end()
	var (
		group sync.WaitGroup
		once  sync.Once
		won   int
	)
	for i, id := range ids {
		group.Go(func() {
			if results[i].err == nil {
				results[i] = w.one(ctx, id)
			}
			told.ended(id)
			once.Do(func() {
				if w.first {
					won = i
					stop(errFirst)
				}
			})
		})
	}
	group.Wait()
	if w.first {
		return results[won : won+1]
	}
	return results
}

// resolve returns the whole ids, each once, and the errors of those that name no task.
func (w *waiting) resolve(ctx context.Context, short []string) (ids []string, results []waited) {
	for _, prefix := range short {
		id, err := w.client.Resolve(ctx, prefix)
		if err != nil {
			id = prefix
		}
		if !slices.Contains(ids, id) {
			ids, results = append(ids, id), append(results, waited{err: err})
		}
	}
	return ids, results
}

func (w *waiting) one(ctx context.Context, id string) waited {
	task, err := w.client.Wait(ctx, id, w.want)
	if err == nil && w.want == client.Terminal {
		err = w.exit(ctx, task)
	}
	return waited{task: task, err: err}
}

func (w *waiting) exit(ctx context.Context, task *soltiv1.TaskData) error {
	code, err := outcome(ctx, w.client, task)
	if err != nil || code == exitOK {
		return err
	}
	return &codeError{code: code}
}

// reportWait prints the tasks, where a format was asked for, and returns what decides the exit code.
func (a *app) reportWait(results []waited) error {
	var (
		tasks []*soltiv1.TaskData
		first error
	)
	for _, r := range results {
		if r.task != nil {
			tasks = append(tasks, r.task)
		}
		if r.err != nil && first == nil {
			first = r.err
		} else if code := (*codeError)(nil); r.err != nil && !errors.As(r.err, &code) && r.err.Error() != first.Error() {
			a.say("%v", r.err)
		}
	}
	for _, r := range results { // a wait that was cut short wins over what ended until then
		var code *codeError
		if errors.As(r.err, &code) && code.code == exitWaitTimeout && r.task == nil {
			first = r.err
		}
	}
	if a.output == formatTable {
		for _, task := range tasks {
			a.talk("%s: %s", task.GetMetadata().GetId(), phaseName(task.GetStatus().GetPhase()))
		}
		return first
	}
	var object proto.Message = &soltiv1.ListTasksResponse{Tasks: tasks, Total: uint32(len(tasks))}
	if len(results) == 1 && len(tasks) == 1 {
		object = tasks[0]
	}
	return errors.Join(first, a.show(a.taskListing(tasks, object)))
}
