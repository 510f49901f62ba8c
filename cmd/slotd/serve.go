package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"syscall"
	"time"

	"github.com/hashicorp/go-hclog"
	"github.com/spf13/cobra"
)

func (a *app) serveVerb() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "serve",
		Short: "Run a node",
		Long: "Run a node. Once it is ready, one line on stdout tells its addresses; logs go to stderr.\n\n" +
			"Every flag is also a variable SLOTD_* and a key of the YAML file that --config names; a flag wins over\n" +
			"a variable, a variable over the file. `slotd config show` tells what holds and why.\n\n" +
			"SIGTERM stops gracefully: nothing new is admitted, running attempts get their grace, and the log tells\n" +
			"what is waited for. A second one kills at once. SIGHUP stops nothing: it reads tokens and certificates again.\n\n" +
			"With --store pebble, queued tasks stay queued, and what its restart policy repeats goes on after the next\n" +
			"start, also after a crash; attempts that ran then end as NodeLost. One process uses a data directory at a time.",
		Args: cobra.NoArgs,
	}
	configFlags(cmd.Flags(), settings(a.getenv))
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		a.begun = true
		c, _, err := a.loadConfig(cmd.Flags())
		if err != nil {
			return err
		}
		if err := c.validate(); err != nil {
			return err
		}
		return a.serve(cmd.Context(), c, newLogger(a.stderr, c.LogLevel, c.LogJSON))
	}
	return cmd
}

// validate checks what no setting tells alone.
func (c Config) validate() error {
	if c.Node.LogTotal < c.Node.LogBytes {
		return usagef("--log-total %d: must not be less than --log-bytes, %d", c.Node.LogTotal, c.Node.LogBytes)
	}
	return c.validateSecurity()
}

// serve runs a node until a signal or a broken listener ends it.
func (a *app) serve(ctx context.Context, c Config, logger hclog.Logger) (err error) {
	signals, stop := a.notify(syscall.SIGINT, syscall.SIGTERM, syscall.SIGHUP)
	defer stop()
	data, err := openDataDir(c.Node.DataDir)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, data.close()) }()
	if data.wide {
		logger.Warn("other users may enter the data directory; its mode should be 0700", "data", data.path)
	}
	c.warn(os.Geteuid(), logger)
	n, err := a.start(c.Node, logger)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, n.Stop()) }()

	ready, cancel := context.WithCancel(ctx)
	defer cancel()
	recovered := make(chan error, 1)
	go func() { recovered <- n.Ready(ready) }()
	for {
		select {
		case err := <-recovered:
			if err != nil {
				return fmt.Errorf("recovery of %s: %w; `slotd store check --data %s` tells all that is wrong, `slotd store export --salvage` saves what is readable",
					c.Node.DataDir, err, c.Node.DataDir)
			}
			recovered = nil
			if _, err := fmt.Fprintln(a.stdout, n.Addresses().ready(c.Node.DataDir)); err != nil {
				return fmt.Errorf("tell the addresses: %w", err)
			}
		case err := <-n.Failed():
			return err
		case <-ctx.Done():
			return a.drain(ctx, n, c.Node.ShutdownGrace, signals, logger)
		case s := <-signals:
			if s == syscall.SIGHUP {
				reload(n, logger)
				continue
			}
			logger.Info("stopping: nothing new is admitted; once more kills at once", "signal", s.String())
			return a.drain(ctx, n, c.Node.ShutdownGrace, signals, logger)
		}
	}
}

// A stopping daemon looks every drainTold whether what it waits for has changed, and tells it every drainRepeat anyway.
// It waits so long beyond all grace for a tree that cannot be killed.
const (
	drainTold   = 500 * time.Millisecond
	drainRepeat = 5 * time.Second
	drainBound  = time.Minute
)

// drain ends what runs. A signal meanwhile kills it at once.
func (a *app) drain(ctx context.Context, n node, grace time.Duration, signals <-chan os.Signal, logger hclog.Logger) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), grace+drainBound)
	defer cancel()
	drained := make(chan error, 2)
	calls := 0
	begin := func(grace time.Duration) {
		calls++
		go func() { drained <- n.Drain(ctx, grace) }()
	}
	w := waitList{node: n, logger: logger, now: a.now, began: a.now(), grace: grace}
	w.tell()
	begin(grace)
	tick := time.NewTicker(drainTold)
	defer tick.Stop()
	for {
		select {
		case err := <-drained:
			calls--
			cancel()
			for ; calls > 0; calls-- {
				if other := <-drained; err != nil {
					err = other // one that came through has seen to all
				}
			}
			if errors.Is(err, context.DeadlineExceeded) {
				return fmt.Errorf("attempts that do not end: %w", err)
			}
			if err != nil {
				return err
			}
			logger.Info("stopped")
			return nil
		case <-tick.C:
			w.tell()
		case s := <-signals:
			if grace > 0 && s != syscall.SIGHUP {
				logger.Info("killing what is left", "signal", s.String())
				grace = 0
				begin(0)
			}
		}
	}
}

// waitList tells what a stopping daemon waits for.
type waitList struct {
	node   node
	logger hclog.Logger
	now    func() time.Time
	began  time.Time
	grace  time.Duration
	last   time.Time
	count  int
}

// tell logs each task that is waited for, when their number has changed or it was not told for a while.
func (w *waitList) tell() {
	running, now := w.node.Running(), w.now()
	if len(running) == w.count && now.Sub(w.last) < drainRepeat {
		return
	}
	w.last, w.count = now, len(running)
	for _, task := range running {
		w.logger.Info("waiting for an attempt to end",
			"task_id", task.GetMetadata().GetId(), "slot", task.GetSpec().GetSlot(), "attempt", task.GetStatus().GetAttempt(),
			"waited", age(now.Sub(w.began)), "grace", w.grace.String())
	}
}
