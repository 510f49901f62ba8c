package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/hashicorp/go-hclog"

	"slotd/actors"
	"slotd/actors/catalog"
	"slotd/actors/events"
	"slotd/actors/logs"
	"slotd/actors/runner"
	"slotd/actors/runner/subprocess"
	"slotd/actors/store"
	"slotd/actors/store/memory"
	"slotd/actors/store/pebble"
	"slotd/gateway"
	"slotd/gateway/ask"
	"slotd/gateway/rest"
	"slotd/gateway/rpc"
	"slotd/messages"
	slotdv1 "slotd/messages/slotd/v1"
	soltiv1 "slotd/messages/solti/v1"
)

// liveNode is a tree of actors behind the servers of the gateway.
type liveNode struct {
	tree    *actors.Tree
	http    *rest.Server
	grpc    *rpc.Server
	addrs   addresses
	locks   *locks
	failed  chan error
	serving sync.WaitGroup
	undo    []func() error // what was opened, in that order
}

// startNode builds a node from the ground up: locks and listeners first, because a file that is wrong or a port in use is
// the likeliest obstacle, then what the tree owns nothing of (runner, logs, store), the tree, and the servers. On an
// error nothing is left.
func startNode(cfg NodeConfig, logger hclog.Logger) (node, error) {
	n := &liveNode{failed: make(chan error, 3)}
	if err := n.build(cfg, logger); err != nil {
		return nil, errors.Join(err, n.release())
	}
	return n, nil
}

func (n *liveNode) build(cfg NodeConfig, logger hclog.Logger) error {
	var err error
	if n.locks, err = openLocks(cfg, logger.Named("auth")); err != nil {
		return err
	}
	l, err := listen(cfg)
	if err != nil {
		return err
	}
	n.addrs = n.locks.addresses(l.addresses())
	if err := n.grow(cfg, logger); err != nil {
		return errors.Join(err, l.close())
	}
	if err := n.open(cfg, logger); err != nil {
		return errors.Join(err, l.close())
	}
	n.serve(n.locks.guard(l))
	return nil
}

// grow starts everything behind the gateway. The store comes first: one that cannot be trusted is told before anything
// is touched.
func (n *liveNode) grow(cfg NodeConfig, logger hclog.Logger) error {
	state, err := openStore(cfg, logger.Named("store"))
	if err != nil {
		return err
	}
	n.undo = append(n.undo, state.Close)
	processes, err := subprocess.New(subprocess.Config{
		Labels: cfg.Labels,
		Env:    pairs(cfg.RunnerEnv),
		Dir:    filepath.Join(cfg.DataDir, "run"),
	}, logger.Named("subprocess"))
	if err != nil {
		return err
	}
	n.undo = append(n.undo, processes.Close)
	output, err := logs.Open(logs.Config{
		Dir:        filepath.Join(cfg.DataDir, "logs"),
		TaskBytes:  cfg.LogBytes,
		TotalBytes: cfg.LogTotal,
	}, logger.Named("logs"))
	if err != nil {
		return err
	}
	n.undo = append(n.undo, output.Shutdown)
	n.tree, err = actors.Start(actors.Config{
		Node:        cfg.Name,
		Version:     buildVersion().GetVersion(),
		Labels:      cfg.Labels,
		Store:       state,
		Logs:        output,
		Runners:     []runner.Runner{processes},
		SlotQueue:   cfg.SlotQueue,
		MaxRunning:  cfg.MaxRunning,
		MaxTasks:    cfg.MaxTasks,
		Retain:      cfg.Retain,
		RetainTasks: cfg.RetainTasks,
		Logger:      logger,
	})
	if err != nil {
		return err
	}
	n.undo = append(n.undo, func() error { n.tree.Stop(); return nil })
	return nil
}

// The kinds of store.
const (
	storePebble = "pebble"
	storeMemory = "memory"
)

// storeDir is where the store lives below the data directory.
const storeDir = "store"

func openStore(cfg NodeConfig, logger hclog.Logger) (store.Store, error) {
	dir := filepath.Join(cfg.DataDir, storeDir)
	if cfg.Store == storeMemory {
		if _, err := os.Stat(dir); err == nil { // its logs would be taken for nobody's
			return nil, fmt.Errorf("data directory %s holds tasks in %s, which a store in memory does not know, and whose output it would delete; tell another one with --data", cfg.DataDir, dir)
		}
		return memory.New(memory.Config{}), nil
	}
	if err := setLogsAside(cfg.DataDir, dir, logger); err != nil {
		return nil, err
	}
	state, err := pebble.Open(pebble.Config{
		Dir: dir, Version: buildVersion().GetVersion(), Logger: logger,
	})
	if err != nil {
		return nil, err
	}
	return state, nil
}

// setLogsAside moves output out of the way that a store about to be made knows nothing of: somebody may yet bring back
// the store that does.
func setLogsAside(data, storeDir string, logger hclog.Logger) error {
	if kept, err := os.ReadDir(storeDir); err == nil && len(kept) > 0 {
		return nil
	}
	output := filepath.Join(data, "logs")
	if found, err := os.ReadDir(output); err != nil || len(found) == 0 {
		return nil //nolint:nilerr // nothing is there that could be lost
	}
	aside := fmt.Sprintf("%s.%d", output, time.Now().UnixMilli())
	if err := os.Rename(output, aside); err != nil {
		return fmt.Errorf("set aside the output of tasks that a new store does not know: %w", err)
	}
	logger.Warn("the store is new, so output that was there is set aside; delete it if no store belongs to it", "path", aside)
	return nil
}

// open makes the servers.
func (n *liveNode) open(cfg NodeConfig, logger hclog.Logger) error {
	view := reader{Catalog: n.tree.Catalog(), tree: n.tree}
	registry := ask.New(n.tree.System().Root, n.tree.Registry())
	var err error
	n.http, err = rest.New(rest.Config{AllowedHosts: cfg.AllowedHosts}, rest.Deps{
		Registry: registry,
		Reader:   view,
		Logs:     output{n.tree},
		Events:   transitions{n.tree.Events()},
		Version:  buildVersion(),
		Gate:     n.locks.gate,
		Logger:   logger.Named("http"),
	})
	if err != nil {
		return err
	}
	n.grpc, err = rpc.New(rpc.Deps{
		Registry: registry,
		Reader:   view,
		Logs:     output{n.tree},
		Events:   transitions{n.tree.Events()},
		Version:  buildVersion(),
		Gate:     n.locks.gate,
		TLS:      n.locks.config("h2"),
		Logger:   logger.Named("grpc"),
	})
	return err
}

// serve answers on every listener until Stop.
func (n *liveNode) serve(l listeners) {
	for _, each := range []struct {
		listener net.Listener
		serve    func(net.Listener) error
	}{{l.http, n.http.Serve}, {l.unix, n.http.Serve}, {l.grpc, n.grpc.Serve}} {
		if each.listener == nil {
			continue
		}
		n.serving.Go(func() {
			if err := each.serve(each.listener); err != nil {
				n.failed <- err
			}
		})
	}
}

func (n *liveNode) Addresses() addresses { return n.addrs }

func (n *liveNode) Ready(ctx context.Context) error { return n.tree.Recovered(ctx) }

func (n *liveNode) Reload() (bool, error) { return n.locks.reload() }

func (n *liveNode) Failed() <-chan error { return n.failed }

func (n *liveNode) Running() []*soltiv1.TaskData {
	active := false
	running, _ := n.tree.Catalog().Tasks(messages.Query{
		Status:   soltiv1.TaskStatus_TASK_STATUS_RUNNING,
		Terminal: &active,
		Limit:    messages.MaxLimit,
	})
	return running
}

func (n *liveNode) Drain(ctx context.Context, grace time.Duration) error {
	n.http.Drain()
	n.grpc.Drain()
	return n.tree.Drain(ctx, grace)
}

// farewell is how long open requests are given to be answered once nothing runs any more.
const farewell = 5 * time.Second

func (n *liveNode) Stop() error {
	ctx, cancel := context.WithTimeout(context.Background(), farewell)
	defer cancel()
	var (
		servers sync.WaitGroup
		errs    [2]error
	)
	servers.Go(func() { errs[0] = n.http.Shutdown(ctx) })
	servers.Go(func() { errs[1] = n.grpc.Shutdown(ctx) })
	servers.Wait()
	n.serving.Wait()
	return errors.Join(errs[0], errs[1], n.release())
}

// release closes what was opened, the last first.
func (n *liveNode) release() error {
	var errs []error
	for _, undo := range slices.Backward(n.undo) {
		errs = append(errs, undo())
	}
	n.undo = nil
	return errors.Join(errs...)
}

// pairs turns K=V texts into a map; the last of a key wins.
func pairs(list []string) map[string]string {
	m := make(map[string]string, len(list))
	for _, text := range list {
		key, value, _ := strings.Cut(text, "=")
		m[key] = value
	}
	return m
}

// reader answers the gateway's questions from the catalog and the tree.
type reader struct {
	*catalog.Catalog

	tree *actors.Tree
}

var _ gateway.Reader = reader{}

func (r reader) Wait(ctx context.Context, id string, want gateway.Want) (*soltiv1.TaskData, bool) {
	if want == gateway.WantRunning {
		return r.Catalog.Wait(ctx, id, catalog.WantRunning)
	}
	return r.Catalog.Wait(ctx, id, catalog.WantTerminal)
}

func (r reader) Introspect() *slotdv1.IntrospectResponse { return r.tree.Introspect() }

func (r reader) Nodes() []*slotdv1.NodeView { return r.tree.Nodes() }

func (r reader) Ready() error { return r.tree.Ready() }

// output opens task output for the gateway.
type output struct{ tree *actors.Tree }

func (o output) Open(ctx context.Context, id string, q messages.LogQuery) (gateway.Cursor, error) {
	c, err := o.tree.OpenLog(ctx, id, q)
	if err != nil {
		return nil, err
	}
	return cursor{c}, nil
}

type cursor struct{ *logs.Cursor }

func (c cursor) Next(ctx context.Context) (gateway.LogBatch, error) {
	b, err := c.Cursor.Next(ctx)
	return gateway.LogBatch{Data: b.Data, Events: b.Events}, err
}

// transitions opens the stream of transitions for the gateway.
type transitions struct{ hub *events.Hub }

func (t transitions) Open(q messages.EventQuery) (gateway.EventCursor, error) {
	c, err := t.hub.Open(q)
	if err != nil {
		return nil, &messages.RejectionError{Rejection: messages.Reject(messages.LabelInvalidRequest, err.Error(), 0)}
	}
	return c, nil
}
