package rpc

import (
	"context"
	"crypto/tls"
	"net"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/peer"
	"google.golang.org/grpc/tap"

	"slotd/gateway/auth"
	"slotd/gateway/quota"
)

// authorize is asked for each call once its headers are there: it finds out who calls and refuses what that client may
// not do, before anything of a message is kept. The context it returns has the client, and is done when the first message
// does not arrive in time. The goroutine that reads the connection waits for it.
func (s *Server) authorize(ctx context.Context, call *tap.Info) (context.Context, error) {
	needed, known := s.roles[call.FullMethodName]
	if !known {
		return ctx, nil // the library says that there is no such method
	}
	if needed != auth.None {
		id, err := s.deps.Gate.Identify(connectionOf(ctx).peer, call.Header["authorization"])
		if err == nil {
			err = auth.Check(id, needed)
		}
		if err != nil {
			return nil, s.outcome(call.FullMethodName, nil, err)
		}
		ctx = auth.With(ctx, id)
	}
	ctx, cancel := context.WithCancel(ctx)
	return context.WithValue(ctx, arrivalKey{}, time.AfterFunc(s.deps.Arrival, cancel)), nil
}

// rolesOf is the role that each method of the server needs.
func rolesOf(server *grpc.Server) map[string]auth.Role {
	roles := make(map[string]auth.Role)
	for service, info := range server.GetServiceInfo() {
		for _, method := range info.Methods {
			full := "/" + service + "/" + method.Name
			roles[full] = roleOf(full)
		}
	}
	return roles
}

type arrivalKey struct{}

// arrived says that the first message of a call is there: from now on the call may take its time.
func arrived(ctx context.Context) {
	if limit, ok := ctx.Value(arrivalKey{}).(*time.Timer); ok {
		limit.Stop()
	}
}

// connection is what a call can be told about the connection it came by.
type connection struct {
	credentials.AuthInfo

	peer    auth.Peer
	counted *quota.Conn
}

// handshake notes what each new connection proves about its other end.
type handshake struct {
	credentials.TransportCredentials
}

// handshakes returns those of a server with this configuration; nil is clear text.
func handshakes(config *tls.Config) credentials.TransportCredentials {
	if config == nil {
		return handshake{insecure.NewCredentials()}
	}
	return handshake{credentials.NewTLS(config)}
}

// ServerHandshake implements credentials.TransportCredentials.
func (h handshake) ServerHandshake(raw net.Conn) (net.Conn, credentials.AuthInfo, error) {
	conn, info, err := h.TransportCredentials.ServerHandshake(raw)
	if err != nil {
		return nil, nil, err
	}
	if noted, ok := raw.(*greeted); ok {
		raw = noted.Conn
	}
	c := connection{AuthInfo: info, peer: auth.PeerOf(raw), counted: quota.Of(raw)}
	if secure, ok := info.(credentials.TLSInfo); ok && len(secure.State.VerifiedChains) > 0 {
		c.peer.Certificate = secure.State.VerifiedChains[0][0]
	}
	return conn, c, nil
}

// Clone implements credentials.TransportCredentials.
func (h handshake) Clone() credentials.TransportCredentials {
	return handshake{h.TransportCredentials.Clone()}
}

// connectionOf is the connection that a call came by.
func connectionOf(ctx context.Context) connection {
	from, ok := peer.FromContext(ctx)
	if !ok {
		return connection{}
	}
	c, _ := from.AuthInfo.(connection)
	return c
}
