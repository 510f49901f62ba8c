// Package quota bounds how many connections one remote address may hold, so that a single client cannot use up what the
// others need: file descriptors, memory and patience.
//
// Over the bound room is made by closing the connection of the same address that has waited longest without a complete
// request: one that never sent any, or one that is kept for the next. When all of them are being answered, the new one
// is closed. So a client that opens connections and says little drives out itself, and never an answer that is under way.
//
// Loopback and unix sockets are exempt, and are not even wrapped. Of an IPv6 address the first 64 bits count, since whoever
// has one of them has them all. The servers of rest and rpc say when a connection is busy; that costs them one atomic
// operation.
package quota

import (
	"errors"
	"net"
	"net/netip"
	"sync"
	"sync/atomic"
	"time"

	"github.com/hashicorp/go-hclog"
)

const (
	networkBits = 64          // of an IPv6 address
	toldPeriod  = time.Minute // a crowd is told at most so often
)

// Limiter counts the connections of all its listeners together. Its methods may be called from any goroutine.
type Limiter struct {
	most   int
	logger hclog.Logger

	mu   sync.Mutex
	open map[netip.Prefix]crowd
	told time.Time
}

// crowd are the open connections of one address.
type crowd map[*Conn]struct{}

// New returns a limiter that lets each address hold most connections, at least 1.
func New(most int, logger hclog.Logger) *Limiter {
	return &Limiter{most: max(1, most), logger: logger, open: make(map[netip.Prefix]crowd)}
}

// Limit returns l with the limit. The listener that is returned closes l.
func (q *Limiter) Limit(l net.Listener) net.Listener { return &listener{Listener: l, limiter: q} }

type listener struct {
	net.Listener

	limiter *Limiter
}

// Accept returns the next connection for which there is room.
func (l *listener) Accept() (net.Conn, error) {
	for {
		raw, err := l.Listener.Accept()
		if err != nil {
			return nil, err
		}
		from, limited := origin(raw.RemoteAddr())
		if !limited {
			return raw, nil
		}
		if conn := l.limiter.admit(raw, from); conn != nil {
			return conn, nil
		}
	}
}

// origin is what counts as one address, and false for one that is exempt.
func origin(remote net.Addr) (netip.Prefix, bool) {
	tcp, ok := remote.(*net.TCPAddr)
	if !ok {
		return netip.Prefix{}, false
	}
	ip := tcp.AddrPort().Addr().Unmap().WithZone("")
	if !ip.IsValid() || ip.IsLoopback() {
		return netip.Prefix{}, false
	}
	bits := ip.BitLen()
	if ip.Is6() {
		bits = networkBits
	}
	from, err := ip.Prefix(bits)
	return from, err == nil
}

// admit makes room, and returns the connection with its place. It closes it and returns nil when there is none.
func (q *Limiter) admit(raw net.Conn, from netip.Prefix) *Conn {
	conn := &Conn{Conn: raw, limiter: q, from: from}
	conn.since.Store(time.Now().UnixNano())
	victim, full := q.place(conn)
	if full && q.tells() {
		q.logger.Warn("an address has too many connections; those that wait for a request are closed, and new ones when there are none",
			"remote", from.Addr().String(), "limit", q.most)
	}
	if victim != nil {
		// Whoever reads from it learns of it; there is nobody else to tell.
		_ = victim.Conn.Close()
	}
	if victim == conn {
		return nil
	}
	return conn
}

// place gives conn a place, and returns whom it takes that from: nil while there is room, conn itself when there is none.
func (q *Limiter) place(conn *Conn) (victim *Conn, full bool) {
	q.mu.Lock()
	defer q.mu.Unlock()
	c := q.open[conn.from]
	if full = len(c) >= q.most; full {
		if victim = c.idlest(); victim == nil {
			return conn, full
		}
		delete(c, victim)
	}
	if c == nil {
		c = make(crowd)
		q.open[conn.from] = c
	}
	c[conn] = struct{}{}
	return victim, full
}

// idlest is the connection that has waited longest without a complete request, or nil when all are busy.
func (c crowd) idlest() (found *Conn) {
	for conn := range c {
		if conn.busy.Load() <= 0 && (found == nil || conn.since.Load() < found.since.Load()) {
			found = conn
		}
	}
	return found
}

// tells says whether a crowd is worth a line in the log again.
func (q *Limiter) tells() bool {
	q.mu.Lock()
	defer q.mu.Unlock()
	if !q.told.IsZero() && time.Since(q.told) < toldPeriod {
		return false
	}
	q.told = time.Now()
	return true
}

func (q *Limiter) forget(conn *Conn) {
	q.mu.Lock()
	defer q.mu.Unlock()
	c := q.open[conn.from]
	delete(c, conn)
	if len(c) == 0 {
		delete(q.open, conn.from)
	}
}

// Addresses is how many addresses have a connection.
func (q *Limiter) Addresses() int {
	q.mu.Lock()
	defer q.mu.Unlock()
	return len(q.open)
}

// Conn is a connection that counts.
type Conn struct {
	net.Conn

	limiter *Limiter
	from    netip.Prefix
	busy    atomic.Int32 // complete requests that are being answered
	since   atomic.Int64 // Unix ns: when the last of them ended, or the connection came
}

// Of returns the counted connection that conn is, or that is below its TLS; nil when it is exempt. A nil Conn may be told
// everything that any other may.
func Of(conn net.Conn) *Conn {
	if over, ok := conn.(interface{ NetConn() net.Conn }); ok {
		conn = over.NetConn()
	}
	counted, _ := conn.(*Conn)
	return counted
}

// Begin says that a complete request has arrived.
func (c *Conn) Begin() {
	if c != nil {
		c.busy.Add(1)
	}
}

// End says that a request has been answered. Each End follows its Begin.
func (c *Conn) End() {
	if c != nil {
		c.since.Store(time.Now().UnixNano())
		c.busy.Add(-1)
	}
}

// Close implements net.Conn.
func (c *Conn) Close() error {
	c.limiter.forget(c)
	return c.Conn.Close()
}

// CloseWrite ends what is sent, so that a client that still sends gets to read the answer before the connection closes.
func (c *Conn) CloseWrite() error {
	if half, ok := c.Conn.(interface{ CloseWrite() error }); ok {
		return half.CloseWrite()
	}
	return errors.ErrUnsupported
}
