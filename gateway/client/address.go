package client

import (
	"context"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"path/filepath"
	"strings"
	"time"
)

// DefaultAddr is where a daemon listens unless it is told otherwise.
const DefaultAddr = "http://127.0.0.1:8085"

// dialTimeout bounds the making of a connection: a daemon on another machine that does not answer at all.
const dialTimeout = 5 * time.Second

// target is a parsed address.
type target struct {
	addr   string
	base   *url.URL
	socket string // path of a unix socket; empty for TCP
}

// AddressError says that an address has not the form of one.
type AddressError struct {
	Addr string
	Rule string // what it must be
}

func (e *AddressError) Error() string { return fmt.Sprintf("address %q: %s", e.Addr, e.Rule) }

func parseAddr(addr string) (target, error) {
	if addr == "" {
		addr = DefaultAddr
	}
	if path, ok := strings.CutPrefix(addr, "unix://"); ok {
		if !filepath.IsAbs(path) {
			return target{}, &AddressError{Addr: addr, Rule: "the path of a unix socket must be absolute, as in unix:///run/slotd.sock"}
		}
		// The host only has to be one that the daemon takes for itself.
		return target{addr: addr, base: &url.URL{Scheme: "http", Host: "localhost"}, socket: path}, nil
	}
	if !strings.Contains(addr, "://") {
		addr = "http://" + addr
	}
	base, err := url.Parse(addr)
	if err != nil || base.Host == "" || base.Scheme != "http" && base.Scheme != "https" {
		return target{}, &AddressError{Addr: addr, Rule: "must be http://host:port, https://host:port or unix:///path"}
	}
	if base.RawQuery != "" || base.Fragment != "" || base.User != nil {
		return target{}, &AddressError{Addr: addr, Rule: "must not carry a user, a query or a fragment"}
	}
	return target{addr: strings.TrimSuffix(addr, "/"), base: base}, nil
}

func (t target) transport(security TLS) (*http.Transport, error) {
	dialer := &net.Dialer{Timeout: dialTimeout}
	transport := &http.Transport{
		Proxy:               http.ProxyFromEnvironment,
		DialContext:         dialer.DialContext,
		ForceAttemptHTTP2:   true,
		MaxIdleConnsPerHost: 16,
		IdleConnTimeout:     90 * time.Second,
		TLSHandshakeTimeout: dialTimeout,
		DisableCompression:  true,
	}
	if t.base.Scheme == "https" {
		cfg, err := security.config()
		if err != nil {
			return nil, err
		}
		transport.TLSClientConfig = cfg
	}
	if t.socket != "" {
		transport.Proxy = nil
		transport.DialContext = func(ctx context.Context, _, _ string) (net.Conn, error) {
			return dialer.DialContext(ctx, "unix", t.socket)
		}
	}
	return transport, nil
}
