// Package rpc is slotd's gRPC listener: grpc.health.v1 and reflection, with the limits and the error mapping that every
// service on it shares.
//
// It decides nothing. gRPC codes exist only here; see errors.go for what each refusal becomes. The health status follows
// [gateway.Reader.Ready]: a Check asks at once, a Watch learns of a change within a second.
package rpc

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"sync"
	"time"

	"github.com/hashicorp/go-hclog"
	"google.golang.org/grpc"
	"google.golang.org/grpc/health"
	healthpb "google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/keepalive"
	"google.golang.org/grpc/reflection"

	"slotd/gateway"
	"slotd/gateway/auth"
)

// Limits of every connection.
const (
	MaxMessage         = 4 << 20          // bytes, both ways
	maxHeaderBytes     = 64 << 10         // of all headers together
	maxStreams         = 1000             // at once, per connection
	handshakeLimit     = 10 * time.Second // unless Deps says otherwise
	arrivalLimit       = time.Minute      // unless Deps says otherwise
	silenceBeforePing  = 2 * time.Minute  // a silent client is asked whether it is still there
	pingLimit          = 20 * time.Second
	shortestClientPing = 10 * time.Second // a client that pings more often is cut off
	readyPeriod        = time.Second
)

// Deps is what the server asks. Reader and Logger are required.
type Deps struct {
	Reader gateway.Reader
	Gate   *auth.Gate  // nil = everybody may do everything
	TLS    *tls.Config // nil = clear text
	Logger hclog.Logger

	Handshake time.Duration // a connection must have become one of gRPC within; default 10s
	Arrival   time.Duration // the first message of a call must arrive within; default 1m
}

// Server answers gRPC on any number of listeners.
type Server struct {
	deps   Deps
	grpc   *grpc.Server
	roles  map[string]auth.Role // of each method that is served; known from the first Serve on
	health *health.Server
	ending context.Context //nolint:containedctx // a state of the server, not of a call: done when streams end
	end    context.CancelFunc
	follow sync.WaitGroup // the goroutine that follows readiness
	once   sync.Once
	fresh  greetings
}

// New returns a server that listens nowhere yet.
func New(deps Deps) (*Server, error) {
	if deps.Reader == nil || deps.Logger == nil {
		return nil, errors.New("grpc: reader and logger are both required")
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
		grpc.MaxRecvMsgSize(MaxMessage),
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
	healthpb.RegisterHealthServer(s.grpc, &readiness{Server: s.health, refresh: s.refresh})
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

// Shutdown says NOT_SERVING, ends streams, lets open calls finish and returns when they have. When ctx is done first, it
// cuts the connections that are left and returns an error.
func (s *Server) Shutdown(ctx context.Context) error {
	s.health.Shutdown()
	s.end()
	s.once.Do(func() {}) // a Serve that comes late starts nothing
	s.follow.Wait()
	dismissal := time.AfterFunc(greetingPatience, s.fresh.dismiss)
	defer dismissal.Stop()
	finished := make(chan struct{})
	go func() {
		s.grpc.GracefulStop()
		close(finished)
	}()
	select {
	case <-finished:
		return nil
	case <-ctx.Done():
		s.grpc.Stop()
		<-finished
		return fmt.Errorf("grpc: calls were cut off: %w", ctx.Err())
	}
}

// followReadiness keeps watchers up to date.
func (s *Server) followReadiness() {
	tick := time.NewTicker(readyPeriod)
	defer tick.Stop()
	for {
		select {
		case <-tick.C:
			s.refresh()
		case <-s.ending.Done():
			return
		}
	}
}

func (s *Server) refresh() {
	status := healthpb.HealthCheckResponse_SERVING
	if s.deps.Reader.Ready() != nil {
		status = healthpb.HealthCheckResponse_NOT_SERVING
	}
	s.health.SetServingStatus("", status)
}

// readiness is the library's health service, asked about the present moment.
type readiness struct {
	*health.Server
	refresh func()
}

func (r *readiness) Check(ctx context.Context, request *healthpb.HealthCheckRequest) (*healthpb.HealthCheckResponse, error) {
	r.refresh()
	return r.Server.Check(ctx, request)
}

func (r *readiness) List(ctx context.Context, request *healthpb.HealthListRequest) (*healthpb.HealthListResponse, error) {
	r.refresh()
	return r.Server.List(ctx, request)
}
