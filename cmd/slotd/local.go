package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"github.com/hashicorp/go-hclog"

	"slotd/gateway/client"
)

// startLocal starts a node inside this process that nobody else can reach: its store is memory, its data a temporary
// directory, its only listener a unix socket in there. The returned function ends it and leaves nothing behind.
func (a *app) startLocal() (*client.Client, func() error, error) {
	dir, err := localDir()
	if err != nil {
		return nil, nil, fmt.Errorf("local node: %w", err)
	}
	remove := func() error { return os.RemoveAll(dir) }
	cfg, err := defaultNodeConfig(a.getenv)
	if err != nil {
		return nil, nil, errors.Join(err, remove())
	}
	cfg.HTTP, cfg.GRPC, cfg.Unix = "", "", filepath.Join(dir, "slotd.sock")
	cfg.DataDir, cfg.Store = filepath.Join(dir, "data"), storeMemory
	if err := os.Mkdir(cfg.DataDir, 0o700); err != nil {
		return nil, nil, errors.Join(err, remove())
	}
	n, err := a.start(cfg, newLogger(a.stderr, hclog.Error, false))
	if err != nil {
		return nil, nil, errors.Join(fmt.Errorf("local node: %w", err), remove())
	}
	end := func() error {
		// A task that was given up is killed before its node stops.
		return errors.Join(n.Drain(context.Background(), 0), n.Stop(), remove())
	}
	c, err := client.New(client.Config{Addr: "unix://" + cfg.Unix, Source: "--local"})
	if err != nil {
		return nil, nil, errors.Join(err, end())
	}
	return c, func() error { c.Close(); return end() }, nil
}

// localDir makes a private directory whose path leaves room for a socket.
func localDir() (string, error) {
	dir, err := os.MkdirTemp("", "slotd-")
	if err != nil || len(dir) < maxSocketPath-len("/slotd.sock") {
		return dir, err
	}
	if err := os.Remove(dir); err != nil {
		return "", err
	}
	return os.MkdirTemp("/tmp", "slotd-")
}
