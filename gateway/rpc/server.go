// Package rpc is slotd's gRPC API: solti.v1.SoltiApi, slotd.v1.Supervisor, grpc.health.v1 and reflection.
//
// It decides nothing about tasks. Commands go to the registry through package ask, questions to a [gateway.Reader],
// output and transitions come from [gateway.Logs] and [gateway.Events]. What is refused, and in which words, is the same
// as in package rest. gRPC codes exist only here; see errors.go for what each refusal becomes.
//
// Every call runs on a goroutine of its own. A client that goes away or stops reading costs that goroutine and what
// flow control lets wait for it, never anything else. The health status follows [gateway.Reader.Ready]: a Check asks at
// once, a Watch learns of a change within a second; a node that stops is NOT_SERVING.
//
// Reading order: tasks.go, supervisor.go, stream.go, errors.go; then what every call passes: intercept.go, codec.go.
package rpc

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"sync"
	"sync/atomic"
	"time"

	"github.com/hashicorp/go-hclog"
	"google.golang.org/grpc"
	"google.golang.org/grpc/health"
	healthpb "google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/keepalive"
	"google.golang.org/grpc/reflection"

	"slotd/gateway"
	"slotd/gateway/ask"
	"slotd/gateway/auth"
	slotdv1 "slotd/messages/slotd/v1"
	soltiv1 "slotd/messages/solti/v1"
)

// Limits of every connection.
const (
	MaxMessage         = 4 << 20            // bytes, both ways
	readLimit          = MaxMessage + 2<<20 // a request up to this long is refused in slotd's words, a longer one in the library's
	maxHeaderBytes     = 64 << 10           // of all headers together
	maxStreams         = 1000               // at once, per connection
	handshakeLimit     = 10 * time.Second   // unless Deps says otherwise
	arrivalLimit       = time.Minute        // unless Deps says otherwise
	silenceBeforePing  = 2 * time.Minute    // a silent client is asked whether it is still there
	pingLimit          = 20 * time.Second
	shortestClientPing = 10 * time.Second // a client that pings more often is cut off
	readyPeriod        = time.Second
)

// Deps is what the server asks. All of it is required but Events, Gate, TLS and the limits.
type Deps struct {
	Registry *ask.Registry
	Reader   gateway.Reader
	Logs     gateway.Logs
	Events   gateway.Events // nil = StreamEvents is UNIMPLEMENTED
	Version  *slotdv1.VersionResponse
	Gate     *auth.Gate  // nil = everybody may do everything
	TLS      *tls.Config // nil = clear text
	Logger   hclog.Logger

	Handshake time.Duration // a connection must have become one of gRPC within; default 10s
	Arrival   time.Duration // the first message of a call must arrive within; default 1m
}

// Server answers gRPC on any number of listeners.
type Server struct {
	deps   Deps
	grpc   *grpc.Server
	roles  map[string]auth.Role // of each method that is served; known from the first Serve on
	health *health.Server

	draining   atomic.Bool        // submissions are refused
	ending     context.Context    //nolint:containedctx // a state of the server, not of a call: done when streams end and waits answer
	end        context.CancelFunc // begins the ending
	unanswered atomic.Int64       // simple calls

	follow sync.WaitGroup // the goroutine that follows readiness
	once   sync.Once
	fresh  greetings
}

// New returns a server that listens nowhere yet.
func New(deps Deps) (*Server, error) {
	if deps.Registry == nil || deps.Reader == nil || deps.Logs == nil || deps.Version == nil || deps.Logger == nil {
		return nil, errors.New("grpc: registry, reader, logs, version and logger are all required")
	}
	if deps.Handshake == 0 {
		deps.Handshake = handshakeLimit
	}
	if deps.Arrival == 0 {
		deps.Arrival = arrivalLimit
	}
	s := &Server{deps: deps, health: health.NewServer()}
	s.ending, s.end = context.WithCancel(context.Background())
	s.grpc = grpc.NewServer(
		grpc.ForceServerCodecV2(newCodec()),
		grpc.MaxRecvMsgSize(readLimit),
		grpc.MaxSendMsgSize(MaxMessage),
		grpc.MaxHeaderListSize(maxHeaderBytes),
		grpc.MaxConcurrentStreams(maxStreams),
		grpc.ConnectionTimeout(deps.Handshake),
		grpc.Creds(handshakes(deps.TLS)),
		grpc.KeepaliveParams(keepalive.ServerParameters{Time: silenceBeforePing, Timeout: pingLimit}),
		grpc.KeepaliveEnforcementPolicy(keepalive.EnforcementPolicy{MinTime: shortestClientPing, PermitWithoutStream: true}),
		grpc.InTapHandle(s.authorize),
		grpc.UnaryInterceptor(s.unary),
		grpc.StreamInterceptor(s.stream),
		grpc.WaitForHandlers(true),
	)
	register(s.grpc, soltiv1.SoltiApi_ServiceDesc, taskService{Server: s})
	register(s.grpc, slotdv1.Supervisor_ServiceDesc, supervisorService{Server: s})
	register(s.grpc, healthpb.Health_ServiceDesc, &readiness{Server: s.health, refresh: s.refresh})
	reflection.Register(s.grpc)
	return s, nil
}

// Serve answers the connections of l until Shutdown, then returns nil. It may be called for several listeners, one
// goroutine each. It closes l.
func (s *Server) Serve(l net.Listener) error {
	s.once.Do(func() {
		s.roles = rolesOf(s.grpc)
		s.refresh()
		s.follow.Go(s.followReadiness)
	})
	if err := s.grpc.Serve(hall{l, &s.fresh}); err != nil && !errors.Is(err, grpc.ErrServerStopped) {
		return fmt.Errorf("grpc: %w", err)
	}
	return nil
}
