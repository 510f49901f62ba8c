package rest

import (
	"net"
	"net/http"
	"sync"
	"time"
)

// newcomerPatience is how long a connection that has not sent anything yet is given to do so when the server ends.
const newcomerPatience = 200 * time.Millisecond

// newcomers are the connections that have not sent anything yet. Clients open some ahead of need, and a server that
// ends would wait seconds for their first request.
type newcomers struct {
	mu    sync.Mutex
	conns map[net.Conn]struct{}
	over  bool
}

// note is told of every change of a connection's state.
func (n *newcomers) note(conn net.Conn, state http.ConnState) {
	n.mu.Lock()
	defer n.mu.Unlock()
	switch {
	case state != http.StateNew:
		delete(n.conns, conn)
	case n.over:
		_ = conn.Close() // nobody has said anything that could be lost
	default:
		if n.conns == nil {
			n.conns = make(map[net.Conn]struct{})
		}
		n.conns[conn] = struct{}{}
	}
}

// dismiss closes those that are still new, and all that come later.
func (n *newcomers) dismiss() {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.over = true
	for conn := range n.conns {
		_ = conn.Close() // as above
	}
}
