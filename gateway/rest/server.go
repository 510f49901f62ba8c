// Package rest is slotd's HTTP API: it turns requests into commands and questions, and answers into JSON and event
// streams.
//
// It decides nothing about tasks. Commands go to the registry through package ask, questions to a [gateway.Reader],
// output comes from [gateway.Logs], transitions from [gateway.Events]. Bodies are the proto3-JSON of package codec. HTTP status codes exist only here.
//
// Every request runs on a goroutine of its own that net/http owns. A client that goes away, stops reading or sends slowly
// costs that goroutine until a time limit of [Config], never anything else. Query parameters that a route does not know
// are refused like unknown fields of a body: a filter with a typing error must not match everything. Health routes ignore
// their query, because probes add their own.
//
// Reading order: routes.go, tasks.go, sse.go, events.go, errors.go; then what every request passes: observe.go, guard.go,
// authorize.go with roles.go, body.go.
package rest

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"sync"
	"sync/atomic"
	"time"

	"github.com/gin-gonic/gin"
	"github.com/hashicorp/go-hclog"

	"slotd/gateway"
	"slotd/gateway/ask"
	"slotd/gateway/auth"
	slotdv1 "slotd/messages/slotd/v1"
)

// Deps is what the server asks. All of it is required, but for Gate: without one, everybody may do everything.
type Deps struct {
	Registry *ask.Registry
	Reader   gateway.Reader
	Logs     gateway.Logs
	Events   gateway.Events
	Version  *slotdv1.VersionResponse
	Gate     *auth.Gate
	Logger   hclog.Logger
}

// Server answers the HTTP API on any number of listeners.
type Server struct {
	deps   Deps
	config Config
	guard  guard
	engine *gin.Engine
	http   *http.Server
	fresh  newcomers

	document func() (content, error) // what /openapi.json answers
	draining atomic.Bool             // submissions are refused
	ending   context.Context         //nolint:containedctx // a state of the server, not of a call: done when streams end and waits answer
	end      context.CancelFunc      // begins the ending
	abandon  context.CancelFunc      // ends the context of every request
}

// New returns a server that listens nowhere yet.
func New(config Config, deps Deps) (*Server, error) {
	if err := config.Validate(); err != nil {
		return nil, fmt.Errorf("http: %w", err)
	}
	if deps.Registry == nil || deps.Reader == nil || deps.Logs == nil || deps.Events == nil || deps.Version == nil || deps.Logger == nil {
		return nil, errors.New("http: registry, reader, logs, events, version and logger are all required")
	}
	config = config.withDefaults()
	ending, end := context.WithCancel(context.Background())
	base, abandon := context.WithCancel(context.Background())
	s := &Server{
		deps: deps, config: config, guard: newGuard(config),
		ending: ending, end: end, abandon: abandon,
		document: sync.OnceValues(openAPIJSON),
	}
	s.engine = s.routes()
	s.http = &http.Server{
		Handler:           s.engine,
		BaseContext:       func(net.Listener) context.Context { return base },
		ReadHeaderTimeout: config.HeaderTimeout,
		IdleTimeout:       config.IdleTimeout,
		ConnContext:       s.greet,
		HTTP2:             &http.HTTP2Config{MaxConcurrentStreams: maxStreams, WriteByteTimeout: config.WriteTimeout},
		MaxHeaderBytes:    maxHeaderBytes,
		ConnState:         s.changed,
		ErrorLog:          deps.Logger.StandardLogger(&hclog.StandardLoggerOptions{ForceLevel: hclog.Debug}),

		DisableGeneralOptionsHandler: true, // OPTIONS * is a route like any other: checked, logged and unknown
	}
	return s, nil
}

// Handler returns the whole API as a handler, without the limits that a listener of [Server.Serve] has.
func (s *Server) Handler() http.Handler { return s.engine }

// Serve answers the connections of l until Shutdown, then returns nil. It may be called for several listeners, one
// goroutine each. It closes l.
func (s *Server) Serve(l net.Listener) error {
	if err := s.http.Serve(l); !errors.Is(err, http.ErrServerClosed) {
		return fmt.Errorf("http: %w", err)
	}
	return nil
}

// Drain begins a graceful stop: submissions and readiness are answered with 503 from now on; everything else goes on.
func (s *Server) Drain() { s.draining.Store(true) }

// Shutdown drains, ends event streams, lets waits answer with the present state, closes the listeners and returns when
// every request has been answered. When ctx is done first, it cuts the connections that are left and returns an error.
func (s *Server) Shutdown(ctx context.Context) error {
	s.Drain()
	s.end()
	defer s.abandon()
	dismissal := time.AfterFunc(newcomerPatience, s.fresh.dismiss)
	defer dismissal.Stop()
	if err := s.http.Shutdown(ctx); err != nil {
		closed := s.http.Close() // first: who is told to give up would still answer
		s.abandon()
		return errors.Join(fmt.Errorf("http: requests were cut off: %w", err), closed)
	}
	return nil
}

// untilEnding returns a context that is done when ctx is, and when streams have to end.
func (s *Server) untilEnding(ctx context.Context) (context.Context, context.CancelFunc) {
	ctx, cancel := context.WithCancel(ctx)
	release := context.AfterFunc(s.ending, cancel)
	return ctx, func() { release(); cancel() }
}
