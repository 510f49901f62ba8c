package rpc_test

import (
	"context"
	"strings"
	"testing"

	"google.golang.org/grpc/codes"
	healthpb "google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/status"

	"slotd/gateway/rpc"
)

func TestCheckFollowsReadinessAtOnce(t *testing.T) {
	n := start(t)
	client := healthpb.NewHealthClient(n.conn)
	for _, c := range []struct {
		missing string
		want    healthpb.HealthCheckResponse_ServingStatus
	}{
		{"", healthpb.HealthCheckResponse_SERVING},
		{"the store", healthpb.HealthCheckResponse_NOT_SERVING},
		{"", healthpb.HealthCheckResponse_SERVING},
	} {
		n.change(func() { n.missing = c.missing })
		got, err := client.Check(t.Context(), &healthpb.HealthCheckRequest{})
		if err != nil || got.GetStatus() != c.want {
			t.Errorf("Check = %v, %v; want %v", got, err, c.want)
		}
		list, err := client.List(t.Context(), &healthpb.HealthListRequest{})
		if err != nil || list.GetStatuses()[""].GetStatus() != c.want {
			t.Errorf("List = %v, %v; want %v", list, err, c.want)
		}
	}
	if _, err := client.Check(t.Context(), &healthpb.HealthCheckRequest{Service: "nope"}); status.Code(err) != codes.NotFound {
		t.Errorf("unknown service: %v, want NotFound", err)
	}
}

func TestWatchLearnsOfAChangeAndEndsWithTheServer(t *testing.T) {
	n := start(t)
	ctx := within(t)
	watch, err := healthpb.NewHealthClient(n.conn).Watch(ctx, &healthpb.HealthCheckRequest{})
	if err != nil {
		t.Fatal(err)
	}
	expect := func(want healthpb.HealthCheckResponse_ServingStatus) {
		t.Helper()
		if got, err := watch.Recv(); err != nil || got.GetStatus() != want {
			t.Fatalf("Watch = %v, %v; want %v", got, err, want)
		}
	}
	expect(healthpb.HealthCheckResponse_SERVING)
	n.change(func() { n.missing = "the store" })
	expect(healthpb.HealthCheckResponse_NOT_SERVING)
	if err := n.server.Shutdown(ctx); err != nil {
		t.Errorf("shutdown: %v", err)
	}
	if _, err := watch.Recv(); err == nil {
		t.Error("the watch goes on")
	}
}

func TestAPanicIsInternalAndSaysNothing(t *testing.T) {
	n := start(t)
	client := healthpb.NewHealthClient(n.conn)
	if _, err := client.Check(t.Context(), &healthpb.HealthCheckRequest{}); err != nil {
		t.Fatal(err)
	}
	n.change(func() { n.panics = true })
	_, err := client.Check(t.Context(), &healthpb.HealthCheckRequest{})
	n.change(func() { n.panics = false })
	refused(t, err, codes.Internal, "Internal", "the daemon's log has the cause")
	if strings.Contains(err.Error(), "secret") {
		t.Errorf("Check: %v tells the cause", err)
	}
}

func TestAMessageOverTheLimitIsRefused(t *testing.T) {
	n := start(t)
	_, err := healthpb.NewHealthClient(n.conn).Check(t.Context(), &healthpb.HealthCheckRequest{Service: strings.Repeat("x", rpc.MaxMessage+1)})
	refused(t, err, codes.ResourceExhausted, "PayloadTooLarge", "exceeds 4194304 bytes")
	if _, err := healthpb.NewHealthClient(n.conn).Check(t.Context(), &healthpb.HealthCheckRequest{}); err != nil {
		t.Errorf("the call after it: %v", err)
	}
}

// A connection that says nothing does not keep a server from ending.
func TestShutdownDoesNotWaitForHandshakes(t *testing.T) {
	n := start(t)
	silent, err := n.dial(within(t))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := healthpb.NewHealthClient(n.conn).Check(within(t), &healthpb.HealthCheckRequest{}); err != nil {
		t.Fatal(err) // so the silent one has been accepted
	}
	ctx, cancel := context.WithTimeout(t.Context(), patience/2)
	defer cancel()
	if err := n.server.Shutdown(ctx); err != nil {
		t.Errorf("shutdown: %v", err)
	}
	if err := silent.Close(); err != nil {
		t.Error(err)
	}
}
