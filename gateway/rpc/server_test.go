package rpc_test

import (
	"context"
	"errors"
	"net"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/hashicorp/go-hclog"
	"go.uber.org/goleak"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	healthpb "google.golang.org/grpc/health/grpc_health_v1"
	reflectionpb "google.golang.org/grpc/reflection/grpc_reflection_v1"
	"google.golang.org/grpc/status"

	"slotd/gateway"
	"slotd/gateway/rpc"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const patience = 10 * time.Second

// reader answers Ready alone: nothing else is asked here.
type reader struct {
	gateway.Reader
	missing atomic.Pointer[string]
	panics  atomic.Bool
}

func (r *reader) Ready() error {
	if r.panics.Load() {
		panic("secret cause")
	}
	if missing := r.missing.Load(); missing != nil {
		return errors.New(*missing)
	}
	return nil
}

// A connection that says nothing does not keep a server from ending.
func TestShutdownDoesNotWaitForHandshakes(t *testing.T) {
	server, _, conn := start(t)
	silent, err := new(net.Dialer).DialContext(t.Context(), "tcp", conn.Target())
	if err != nil {
		t.Fatal(err)
	}
	if _, err := healthpb.NewHealthClient(conn).Check(t.Context(), &healthpb.HealthCheckRequest{}); err != nil {
		t.Fatal(err) // so the silent one has been accepted
	}
	ctx, cancel := context.WithTimeout(t.Context(), patience/2)
	defer cancel()
	if err := server.Shutdown(ctx); err != nil {
		t.Errorf("shutdown: %v", err)
	}
	if err := silent.Close(); err != nil {
		t.Error(err)
	}
}

func start(t *testing.T) (*rpc.Server, *reader, *grpc.ClientConn) {
	t.Helper()
	r := &reader{}
	server, err := rpc.New(rpc.Deps{Reader: r, Logger: hclog.NewNullLogger()})
	if err != nil {
		t.Fatal(err)
	}
	var lc net.ListenConfig
	l, err := lc.Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	served := make(chan error, 1)
	go func() { served <- server.Serve(l) }()
	conn, err := grpc.NewClient(l.Addr().String(), grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := conn.Close(); err != nil {
			t.Error(err)
		}
		ctx, cancel := context.WithTimeout(context.Background(), patience)
		defer cancel()
		if err := server.Shutdown(ctx); err != nil {
			t.Error(err)
		}
		if err := <-served; err != nil {
			t.Error(err)
		}
	})
	return server, r, conn
}

func TestCheckFollowsReadinessAtOnce(t *testing.T) {
	_, r, conn := start(t)
	client := healthpb.NewHealthClient(conn)
	for _, c := range []struct {
		missing *string
		want    healthpb.HealthCheckResponse_ServingStatus
	}{
		{nil, healthpb.HealthCheckResponse_SERVING},
		{new("the store"), healthpb.HealthCheckResponse_NOT_SERVING},
		{nil, healthpb.HealthCheckResponse_SERVING},
	} {
		r.missing.Store(c.missing)
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
	server, r, conn := start(t)
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	watch, err := healthpb.NewHealthClient(conn).Watch(ctx, &healthpb.HealthCheckRequest{})
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
	r.missing.Store(new("the store"))
	expect(healthpb.HealthCheckResponse_NOT_SERVING)
	if err := server.Shutdown(ctx); err != nil {
		t.Errorf("shutdown: %v", err)
	}
	if _, err := watch.Recv(); err == nil {
		t.Error("the watch goes on")
	}
}

func TestShutdownCutsWhatDoesNotEnd(t *testing.T) {
	server, _, conn := start(t)
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	open, err := reflectionpb.NewServerReflectionClient(conn).ServerReflectionInfo(ctx)
	if err != nil {
		t.Fatal(err)
	}
	request := &reflectionpb.ServerReflectionRequest{MessageRequest: &reflectionpb.ServerReflectionRequest_ListServices{}}
	if err := open.Send(request); err != nil {
		t.Fatal(err)
	}
	answer, err := open.Recv()
	if err != nil || !strings.Contains(answer.String(), "grpc.health.v1.Health") {
		t.Errorf("reflection: %v, %v; want the health service", answer, err)
	}
	bound, cancelBound := context.WithTimeout(ctx, 50*time.Millisecond)
	defer cancelBound()
	if err := server.Shutdown(bound); err == nil {
		t.Error("shutdown cut a call off and said nothing")
	}
	if _, err := open.Recv(); err == nil {
		t.Error("the call goes on")
	}
}

func TestAPanicIsInternalAndSaysNothing(t *testing.T) {
	_, r, conn := start(t)
	client := healthpb.NewHealthClient(conn)
	if _, err := client.Check(t.Context(), &healthpb.HealthCheckRequest{}); err != nil {
		t.Fatal(err)
	}
	r.panics.Store(true)
	_, err := client.Check(t.Context(), &healthpb.HealthCheckRequest{})
	r.panics.Store(false)
	if status.Code(err) != codes.Internal || strings.Contains(err.Error(), "secret") {
		t.Errorf("Check: %v, want Internal without the cause", err)
	}
}

func TestAMessageOverTheLimitIsRefused(t *testing.T) {
	_, _, conn := start(t)
	_, err := healthpb.NewHealthClient(conn).Check(t.Context(), &healthpb.HealthCheckRequest{Service: strings.Repeat("x", rpc.MaxMessage+1)})
	if status.Code(err) != codes.ResourceExhausted {
		t.Errorf("got %v, want ResourceExhausted", err)
	}
}
