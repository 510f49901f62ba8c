package rest

import (
	"fmt"
	"net"
	"os"
	"strings"
	"time"

	"golang.org/x/net/http/httpguts"
)

// Config is what an operator may set. The zero value is ready for use.
type Config struct {
	// AllowedHosts are further names or addresses, without port, under which clients reach this server: behind a proxy,
	// a port mapping or a DNS name.
	AllowedHosts []string

	// Hostnames are the machine's own names; left out, the kernel's host name and its first label.
	Hostnames []string

	HeaderTimeout time.Duration // a request's headers must arrive within; default 10s
	BodyTimeout   time.Duration // its body must arrive within; default 60s
	IdleTimeout   time.Duration // a kept-alive connection may be silent for; default 2m
	WriteTimeout  time.Duration // a client must take each piece (at most 64 KiB, or one batch of events) within; default 30s
	KeepAlive     time.Duration // a silent event stream gets a comment every; default 15s
}

// Limits of requests, bytes.
const (
	MaxBody        = 4 << 20  // a longer body is answered with 413
	discardLimit   = 1 << 20  // so much more of it is read, so that the client gets to see the answer
	maxHeaderBytes = 64 << 10 // of all headers together
	maxStreams     = 1000     // requests at once on a connection of HTTP/2; not bytes
)

// Validate returns an error that names the first value that makes no sense.
func (c Config) Validate() error {
	for _, limit := range []struct {
		name string
		d    time.Duration
	}{
		{"header timeout", c.HeaderTimeout},
		{"body timeout", c.BodyTimeout},
		{"idle timeout", c.IdleTimeout},
		{"write timeout", c.WriteTimeout},
		{"keep-alive", c.KeepAlive},
	} {
		if limit.d < 0 {
			return fmt.Errorf("%s: %v is negative", limit.name, limit.d)
		}
	}
	for _, host := range c.AllowedHosts {
		bare := strings.TrimSuffix(strings.TrimPrefix(host, "["), "]")
		if net.ParseIP(bare) == nil && (host == "" || strings.ContainsAny(host, "/:*@ ") || !httpguts.ValidHostHeader(host)) {
			return fmt.Errorf("allowed host %q: must be a host name or an IP address, without scheme, port or wildcard", host)
		}
	}
	return nil
}

// withDefaults fills in what is left out.
func (c Config) withDefaults() Config {
	for _, d := range []struct {
		value *time.Duration
		unset time.Duration
	}{
		{&c.HeaderTimeout, 10 * time.Second},
		{&c.BodyTimeout, time.Minute},
		{&c.IdleTimeout, 2 * time.Minute},
		{&c.WriteTimeout, 30 * time.Second},
		{&c.KeepAlive, 15 * time.Second},
	} {
		if *d.value == 0 {
			*d.value = d.unset
		}
	}
	if c.Hostnames == nil {
		if name, err := os.Hostname(); err == nil {
			label, _, _ := strings.Cut(name, ".")
			c.Hostnames = []string{name, label}
		}
	}
	return c
}
