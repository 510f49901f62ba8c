package rest

import (
	"context"
	"crypto/x509"
	"net"
	"net/http"

	"github.com/gin-gonic/gin"

	"slotd/gateway/auth"
	"slotd/gateway/quota"
)

// challenge is what a client without credentials is asked for.
var challenge = []string{`Bearer realm="slotd"`}

// greet notes what a new connection proves about its other end, and who that is unless its requests say otherwise.
func (s *Server) greet(ctx context.Context, conn net.Conn) context.Context {
	peer := auth.PeerOf(conn)
	ctx = auth.WithPeer(ctx, peer)
	if id, err := s.deps.Gate.Identify(peer, nil); err == nil {
		ctx = auth.With(ctx, id)
	}
	return ctx
}

// changed is told of every change of a connection's state, and tells the limit of connections which of them are busy.
func (s *Server) changed(conn net.Conn, state http.ConnState) {
	s.fresh.note(conn, state)
	switch state {
	case http.StateActive:
		quota.Of(conn).Begin()
	case http.StateIdle:
		quota.Of(conn).End()
	default:
	}
}

// authorize finds out who asks and refuses what that client may not do. What the client is stands in the request's
// context from then on. Where nothing is found there is nothing to protect.
func (s *Server) authorize(c *gin.Context) {
	needed := roleOf(c.Request.Method, c.FullPath())
	if needed == auth.None {
		return
	}
	ctx := c.Request.Context()
	peer := auth.PeerFrom(ctx)
	peer.Certificate = certificate(c.Request)
	id, err := s.deps.Gate.Identify(peer, c.Request.Header["Authorization"])
	if err == nil {
		err = auth.Check(id, needed)
	}
	if err != nil {
		s.fail(c, err)
		return
	}
	if id != auth.From(ctx) {
		c.Request = c.Request.WithContext(auth.With(ctx, id))
	}
}

// certificate is the client's, if the handshake has verified one.
func certificate(r *http.Request) *x509.Certificate {
	if r.TLS == nil || len(r.TLS.VerifiedChains) == 0 {
		return nil
	}
	return r.TLS.VerifiedChains[0][0]
}
