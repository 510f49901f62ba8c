package rpc

import (
	"context"
	"time"

	"google.golang.org/grpc/health"
	healthpb "google.golang.org/grpc/health/grpc_health_v1"
)

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
	if s.draining.Load() || s.deps.Reader.Ready() != nil {
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
