package main

import (
	"crypto/tls"
	"errors"
	"net"
	"time"

	"github.com/hashicorp/go-hclog"

	"slotd/gateway/auth"
	"slotd/gateway/cert"
	"slotd/gateway/quota"
)

// locks are what stands between a listener and its servers: tokens, certificates and the limit of connections.
type locks struct {
	tokens  *auth.File   // nil = none
	keeper  *cert.Keeper // nil = clear text
	gate    *auth.Gate
	limiter *quota.Limiter
}

func openLocks(cfg NodeConfig, logger hclog.Logger) (*locks, error) {
	l := &locks{limiter: quota.New(cfg.MaxConnsPerAddr, logger)}
	var err error
	if cfg.AuthTokens != "" {
		if l.tokens, err = auth.OpenFile(cfg.AuthTokens, logger); err != nil {
			return nil, err
		}
	}
	if cfg.TLSCert != "" {
		files := cert.Files{Cert: cfg.TLSCert, Key: cfg.TLSKey, CA: cfg.TLSClientCA}
		if l.keeper, err = cert.Open(files, time.Now, logger); err != nil {
			return nil, err
		}
	}
	l.gate = auth.NewGate(l.tokens, cfg.TLSClientCA != "")
	return l, nil
}

// config is the TLS configuration of a server that speaks these protocols; nil is clear text.
func (l *locks) config(protocols ...string) *tls.Config {
	if l.keeper == nil {
		return nil
	}
	return l.keeper.Config(protocols...)
}

// guard puts the limit of connections before the TCP listeners, and TLS before that of HTTP: gRPC makes its own handshakes.
func (l *locks) guard(raw listeners) listeners {
	guarded := raw
	if raw.http != nil {
		guarded.http = l.limiter.Limit(raw.http)
		if config := l.config("h2", "http/1.1"); config != nil {
			guarded.http = tls.NewListener(guarded.http, config)
		}
	}
	if raw.grpc != nil {
		guarded.grpc = l.limiter.Limit(raw.grpc)
	}
	return guarded
}

// addresses are a as a client names them.
func (l *locks) addresses(a addresses) addresses {
	if l.keeper == nil {
		return a
	}
	for _, addr := range []*string{&a.http, &a.grpc} {
		if *addr != "" {
			*addr = "https://" + *addr
		}
	}
	return a
}

// reload reads tokens and certificates again, and returns false when there are none.
func (l *locks) reload() (bool, error) {
	var errs []error
	if l.tokens != nil {
		errs = append(errs, l.tokens.Reload())
	}
	if l.keeper != nil {
		errs = append(errs, l.keeper.Reload())
	}
	return len(errs) > 0, errors.Join(errs...)
}

// authenticates says whether clients over TCP have to prove who they are.
func (c NodeConfig) authenticates() bool { return c.AuthTokens != "" || c.TLSClientCA != "" }

// validateSecurity refuses to offer everybody on the network to run commands here.
func (c Config) validateSecurity() error {
	switch n := c.Node; {
	case n.TLSCert != "" && n.TLSKey == "":
		return usagef("--tls-cert needs --tls-key, the certificate's private key")
	case n.TLSKey != "" && n.TLSCert == "":
		return usagef("--tls-key needs --tls-cert, the certificate that it belongs to")
	case n.TLSClientCA != "" && n.TLSCert == "":
		return usagef("--tls-client-ca needs --tls-cert and --tls-key: client certificates are sent over TLS only")
	case c.Insecure || n.authenticates():
		return nil
	}
	for _, listen := range c.Node.tcp() {
		switch {
		case loopback(listen.addr):
		case c.Node.TLSCert != "":
			return usagef("%s %q: listens beyond this machine with TLS but without authentication, so everybody who reaches it can run commands here; know clients by --auth-tokens (`slotd token create` makes one) or --tls-client-ca, or add --insecure where the network is trusted", listen.flag, listen.addr)
		default:
			return usagef("%s %q: listens beyond this machine without authentication, so everybody who reaches it can run commands here; listen on 127.0.0.1, know clients by --auth-tokens (`slotd token create` makes one) and encrypt with --tls-cert, or add --insecure where the network is trusted", listen.flag, listen.addr)
		}
	}
	return nil
}

// warn tells what is allowed, and still deserves a thought.
func (c Config) warn(uid int, logger hclog.Logger) {
	beyond := ""
	for _, listen := range c.Node.tcp() {
		if !loopback(listen.addr) {
			beyond = listen.addr
		}
	}
	switch open := !c.Node.authenticates(); {
	case open && beyond != "":
		logger.Warn("listening beyond this machine without authentication: everybody who reaches it can run commands here", "address", beyond)
	case open && uid == 0 && len(c.Node.tcp()) > 0:
		logger.Warn("running as root without authentication: every local user can run commands as root")
	case !open && beyond != "" && c.Node.TLSCert == "":
		logger.Warn("tokens cross the network in clear text: whoever reads along can use them; add --tls-cert and --tls-key unless a proxy or a tunnel encrypts", "address", beyond)
	}
}

// listening is an address of the command line.
type listening struct{ flag, addr string }

// tcp are the addresses that anybody can connect to who reaches them.
func (c NodeConfig) tcp() (all []listening) {
	for _, each := range []listening{{"--http", c.HTTP}, {"--grpc", c.GRPC}} {
		if each.addr != "" {
			all = append(all, each)
		}
	}
	return all
}

func loopback(addr string) bool {
	host, _, err := net.SplitHostPort(addr)
	if err != nil {
		return false
	}
	ip := net.ParseIP(host)
	return host == "localhost" || ip != nil && ip.IsLoopback()
}

// reload is what a hang-up does.
func reload(n node, logger hclog.Logger) {
	read, err := n.Reload()
	switch {
	case err != nil:
		logger.Error("tokens or certificates could not be read again; those that held still hold", "error", err)
	case read:
		logger.Info("tokens and certificates were read again")
	default:
		logger.Info("left alone: a hang-up stops nothing, SIGTERM does, and there are no tokens or certificates to read again")
	}
}
