package bench

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strconv"
	"time"

	"github.com/hashicorp/go-hclog"

	"slotd/actors"
	"slotd/actors/logs"
	"slotd/actors/runner"
	"slotd/actors/runner/subprocess"
	"slotd/messages"
)

// slotdLines runs the writer as a task that nobody follows, and then checks that every line is in its log.
func slotdLines(ctx context.Context, c Config) (took time.Duration, err error) {
	scripts, err := os.MkdirTemp(c.Dir, "scripts-*")
	if err != nil {
		return 0, err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(scripts)) }()
	processes, err := subprocess.New(subprocess.Config{Dir: scripts}, hclog.NewNullLogger())
	if err != nil {
		return 0, err
	}
	defer func() { err = errors.Join(err, processes.Close()) }()
	n, err := openNode(c.Dir, inMemory, actors.Config{Runners: []runner.Runner{processes}})
	if err != nil {
		return 0, err
	}
	defer func() { err = errors.Join(err, n.close()) }()

	args := append(append([]string{}, c.Self[1:]...), childWrite, strconv.Itoa(c.Lines))
	start := time.Now()
	id, err := n.submit(ctx, commandSpec("writer", c.Self[0], args...))
	if err != nil {
		return 0, err
	}
	if err := n.succeeded(ctx, []string{id}); err != nil {
		return 0, err
	}
	took = time.Since(start)

	cursor, err := n.tree.OpenLog(ctx, id, messages.LogQuery{HasTail: true, Tail: messages.AllLines})
	if err != nil {
		return 0, err
	}
	defer cursor.Close()
	var seen Seen
	if err := seen.read(events(ctx, cursor), c.Lines); err != nil {
		return 0, fmt.Errorf("read the log of %s: %w", id, err)
	}
	return took, seen.Whole(c.Lines)
}

type readerFunc func(p []byte) (int, error)

func (f readerFunc) Read(p []byte) (int, error) { return f(p) }

// events reads what a cursor yields as one stream.
func events(ctx context.Context, cursor *logs.Cursor) io.Reader {
	var rest []byte
	return readerFunc(func(p []byte) (int, error) {
		if len(rest) == 0 {
			batch, err := cursor.Next(ctx)
			if err != nil {
				return 0, err
			}
			rest = batch.Data
		}
		n := copy(p, rest)
		rest = rest[n:]
		return n, nil
	})
}
