package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"syscall"
	"time"
)

// listeners are what a node listens on; nil where it does not.
type listeners struct{ http, grpc, unix net.Listener }

func listen(cfg NodeConfig) (l listeners, err error) {
	defer func() {
		if err != nil {
			err = errors.Join(err, l.close())
		}
	}()
	if l.http, err = listenTCP("--http", cfg.HTTP); err != nil {
		return l, err
	}
	if l.grpc, err = listenTCP("--grpc", cfg.GRPC); err != nil {
		return l, err
	}
	if cfg.Unix != "" {
		l.unix, err = listenUnix(cfg.Unix)
	}
	return l, err
}

func (l listeners) close() error {
	var errs []error
	for _, each := range []net.Listener{l.http, l.grpc, l.unix} {
		if each != nil {
			errs = append(errs, each.Close())
		}
	}
	return errors.Join(errs...)
}

func (l listeners) addresses() addresses {
	text := func(l net.Listener) string {
		if l == nil {
			return ""
		}
		return l.Addr().String()
	}
	return addresses{http: text(l.http), grpc: text(l.grpc), unix: text(l.unix)}
}

func listenTCP(flag, addr string) (net.Listener, error) {
	if addr == "" {
		return nil, nil
	}
	l, err := new(net.ListenConfig).Listen(context.Background(), "tcp", addr)
	switch {
	case errors.Is(err, syscall.EADDRINUSE):
		return nil, fmt.Errorf("%s %s is in use, perhaps by another slotd; %s tells another address, port 0 any free one", flag, addr, flag)
	case err != nil:
		return nil, fmt.Errorf("%s %s: %w", flag, addr, err)
	}
	return l, nil
}

// socketPatience is how long a socket that is there already is given to answer.
const socketPatience = time.Second

// listenUnix listens on a socket that only this user may connect to. One that a dead process left is replaced.
func listenUnix(path string) (net.Listener, error) {
	info, err := os.Lstat(path)
	switch {
	case errors.Is(err, os.ErrNotExist):
	case err != nil:
		return nil, fmt.Errorf("--unix: %w", err)
	case info.Mode().Type() != os.ModeSocket:
		return nil, fmt.Errorf("--unix %s is there already and is not a socket", path)
	default:
		dialer := net.Dialer{Timeout: socketPatience}
		conn, err := dialer.DialContext(context.Background(), "unix", path)
		if err == nil {
			return nil, errors.Join(fmt.Errorf("--unix %s is in use, perhaps by another slotd", path), conn.Close())
		}
		if !errors.Is(err, syscall.ECONNREFUSED) {
			return nil, fmt.Errorf("--unix %s: is it in use? %w", path, err)
		}
		if err := os.Remove(path); err != nil {
			return nil, fmt.Errorf("--unix: %w", err)
		}
	}
	l, err := new(net.ListenConfig).Listen(context.Background(), "unix", path)
	if err != nil {
		return nil, fmt.Errorf("--unix %s: %w", path, err)
	}
	if err := os.Chmod(path, 0o600); err != nil {
		return nil, errors.Join(fmt.Errorf("--unix: %w", err), l.Close())
	}
	return l, nil
}
