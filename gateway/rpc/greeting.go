package rpc

import (
	"net"
	"sync"
	"time"
)

// greetingPatience is how long a connection that is still in its handshake is given for it when the server ends.
const greetingPatience = 200 * time.Millisecond

// greetings are the connections in their handshake. The library waits for them when it ends, for as long as a handshake
// may take.
type greetings struct {
	mu    sync.Mutex
	conns map[*greeted]struct{}
	over  bool
}

// dismiss closes those that are not through, and all that come later.
func (g *greetings) dismiss() {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.over = true
	for conn := range g.conns {
		_ = conn.Conn.Close() // no call has begun that could be lost
	}
}

func (g *greetings) begin(conn net.Conn) net.Conn {
	c := &greeted{Conn: conn, among: g}
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.over {
		_ = conn.Close() // as above
	}
	if g.conns == nil {
		g.conns = make(map[*greeted]struct{})
	}
	g.conns[c] = struct{}{}
	return c
}

func (g *greetings) end(c *greeted) {
	g.mu.Lock()
	defer g.mu.Unlock()
	delete(g.conns, c)
}

// hall is a listener whose connections are noted until their handshake is over.
type hall struct {
	net.Listener
	greetings *greetings
}

// Accept implements net.Listener.
func (h hall) Accept() (net.Conn, error) {
	conn, err := h.Listener.Accept()
	if err != nil {
		return nil, err
	}
	return h.greetings.begin(conn), nil
}

// greeted is a connection whose handshake ends when the library lifts its deadline.
type greeted struct {
	net.Conn
	among *greetings
}

// SetDeadline implements net.Conn.
func (c *greeted) SetDeadline(t time.Time) error {
	if t.IsZero() {
		c.among.end(c)
	}
	return c.Conn.SetDeadline(t)
}

// Close implements net.Conn.
func (c *greeted) Close() error {
	c.among.end(c)
	return c.Conn.Close()
}
