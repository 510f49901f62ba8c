package rest

import (
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"strings"

	"github.com/gin-gonic/gin"

	"slotd/messages"
)

// guard keeps web pages of others away from an API that starts processes. A page that makes its own name resolve to
// this machine (DNS rebinding) still sends that name as Host; one that posts across origins sends its own Origin.
type guard struct {
	names     map[string]bool // lower case, without trailing dot
	addresses map[netip.Addr]bool
	allowed   map[string]bool // the names that an operator added
}

func newGuard(config Config) guard {
	g := guard{names: map[string]bool{"localhost": true}, addresses: map[netip.Addr]bool{}, allowed: map[string]bool{}}
	for _, name := range config.Hostnames {
		g.names[plainName(name)] = true
	}
	for _, host := range config.AllowedHosts {
		if ip, ok := address(host); ok {
			g.addresses[ip] = true
			g.allowed[ip.String()] = true
			continue
		}
		g.names[plainName(host)] = true
		g.allowed[plainName(host)] = true
	}
	return g
}

// checkOrigin refuses requests that were not meant for this server. Connections over a unix socket come from no browser.
func (s *Server) checkOrigin(c *gin.Context) {
	local, _ := c.Request.Context().Value(http.LocalAddrContextKey).(net.Addr)
	if _, ok := local.(*net.UnixAddr); ok {
		return
	}
	host := hostOnly(c.Request.Host)
	if !s.guard.knows(host, local) {
		s.refuse(c, messages.LabelPermissionDenied, fmt.Sprintf(
			"the Host %s is neither an address nor a name of this server; use one, or add it with --allowed-host", quoted(c.Request.Host)))
		return
	}
	for _, origin := range c.Request.Header.Values("Origin") {
		if !s.guard.accepts(origin, c.Request.Host, c.Request.TLS != nil) {
			s.refuse(c, messages.LabelPermissionDenied, fmt.Sprintf(
				"the Origin %s is foreign and pages of other origins may not use this server; send the request from its own pages or without Origin", quoted(origin)))
			return
		}
	}
}

// knows says whether host is the address the client really connected to, or one of the names.
func (g guard) knows(host string, local net.Addr) bool {
	ip, ok := address(host)
	if !ok {
		return g.names[plainName(host)]
	}
	if g.addresses[ip] {
		return true
	}
	tcp, ok := local.(*net.TCPAddr)
	if !ok {
		return ip.IsLoopback()
	}
	own, ok := netip.AddrFromSlice(tcp.IP)
	own = own.Unmap()
	return ok && (ip == own || ip.IsLoopback() && own.IsLoopback())
}

// accepts says whether an Origin is this server's own: its host and port are those of the request. A proxy may have
// rewritten the Host; then an allowed name on the scheme's own port counts as well. What came over TLS has an Origin that
// did, too: anybody on the way can write a page of http.
func (g guard) accepts(origin, host string, secure bool) bool {
	o, err := url.Parse(origin)
	if err != nil || (o.Scheme != "https" && (o.Scheme != "http" || secure)) || o.Host == "" {
		return false
	}
	if name := plainName(hostOnly(o.Host)); o.Port() == "" && g.allowed[name] {
		return true
	}
	return withPort(o.Host, o.Scheme) == withPort(host, o.Scheme)
}

// withPort brings host and host:port into one form.
func withPort(host, scheme string) string {
	name, port, err := net.SplitHostPort(host)
	if err != nil {
		name, port = host, map[string]string{"http": "80", "https": "443"}[scheme]
	}
	return net.JoinHostPort(plainName(strings.Trim(name, "[]")), port)
}

func hostOnly(host string) string {
	if name, _, err := net.SplitHostPort(host); err == nil {
		return name
	}
	return host
}

func address(host string) (netip.Addr, bool) {
	ip, err := netip.ParseAddr(strings.Trim(host, "[]"))
	return ip.Unmap().WithZone(""), err == nil
}

func plainName(name string) string {
	return strings.ToLower(strings.TrimSuffix(name, "."))
}
