package rpc_test

import (
	"bytes"
	"context"
	"crypto/sha256"
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/hashicorp/go-hclog"
	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/credentials/insecure"
	healthpb "google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/metadata"
	reflectionpb "google.golang.org/grpc/reflection/grpc_reflection_v1"
	"google.golang.org/grpc/status"

	"slotd/gateway"
	"slotd/gateway/ask"
	"slotd/gateway/auth"
	"slotd/gateway/cert"
	"slotd/gateway/cert/certtest"
	"slotd/gateway/quota"
	"slotd/gateway/rpc"
	slotdv1 "slotd/messages/slotd/v1"
)

// tokens returns a file with a token for each role, called as the role.
func tokens(t *testing.T) *auth.File {
	t.Helper()
	var text strings.Builder
	for _, role := range []string{"read", "submit", "admin"} {
		fmt.Fprintf(&text, "%s sha256:%x %s-token\n", role, sha256.Sum256([]byte(role)), role)
	}
	path := filepath.Join(t.TempDir(), "tokens")
	if err := os.WriteFile(path, []byte(text.String()), 0o600); err != nil {
		t.Fatal(err)
	}
	f, err := auth.OpenFile(path, hclog.NewNullLogger())
	if err != nil {
		t.Fatal(err)
	}
	return f
}

// always is a reader of a node that is ready; nothing else is asked here.
type always struct{ gateway.Reader }

func (always) Ready() error { return nil }

// serve starts a server on loopback and returns its address. Limit is what its connections pass; nil = nothing.
func serve(t *testing.T, deps rpc.Deps, limit func(net.Listener) net.Listener) string {
	t.Helper()
	deps.Registry, deps.Reader, deps.Logs = ask.New(nil, nil), always{}, struct{ gateway.Logs }{}
	deps.Version, deps.Logger = &slotdv1.VersionResponse{}, hclog.NewNullLogger()
	server, err := rpc.New(deps)
	if err != nil {
		t.Fatal(err)
	}
	l, err := new(net.ListenConfig).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	addr := l.Addr().String()
	if limit != nil {
		l = limit(l)
	}
	served := make(chan error, 1)
	go func() { served <- server.Serve(l) }()
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), patience)
		defer cancel()
		if err := server.Shutdown(ctx); err != nil {
			t.Error(err)
		}
		if err := <-served; err != nil {
			t.Error(err)
		}
	})
	return addr
}

// dial returns a client; nil is clear text.
func dial(t *testing.T, addr string, config *tls.Config) *grpc.ClientConn {
	t.Helper()
	secret := insecure.NewCredentials()
	if config != nil {
		secret = credentials.NewTLS(config)
	}
	conn, err := grpc.NewClient(addr, grpc.WithTransportCredentials(secret))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := conn.Close(); err != nil {
			t.Error(err)
		}
	})
	return conn
}

// reflects asks which services there are, which needs the role read.
func reflects(t *testing.T, conn *grpc.ClientConn, authorization ...string) error {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	ctx = metadata.NewOutgoingContext(ctx, metadata.MD{"authorization": authorization})
	stream, err := reflectionpb.NewServerReflectionClient(conn).ServerReflectionInfo(ctx)
	if err != nil {
		return err
	}
	request := &reflectionpb.ServerReflectionRequest{MessageRequest: &reflectionpb.ServerReflectionRequest_ListServices{}}
	if err := stream.Send(request); err != nil && err != io.EOF { //nolint:errorlint // Send returns it as it is
		return err
	}
	_, err = stream.Recv()
	return err
}

func TestCallsNeedATokenAndHealthDoesNot(t *testing.T) {
	conn := dial(t, serve(t, rpc.Deps{Gate: auth.NewGate(tokens(t), false)}, nil), nil)
	if _, err := healthpb.NewHealthClient(conn).Check(t.Context(), &healthpb.HealthCheckRequest{}); err != nil {
		t.Errorf("health: %v", err)
	}
	for name, c := range map[string]struct {
		authorization []string
		want          codes.Code
	}{
		"none":    {nil, codes.Unauthenticated},
		"unknown": {[]string{"Bearer hush"}, codes.Unauthenticated},
		"two":     {[]string{"Bearer read", "Bearer admin"}, codes.Unauthenticated},
		"read":    {[]string{"Bearer read"}, codes.OK},
		"admin":   {[]string{"bearer admin"}, codes.OK},
	} {
		err := reflects(t, conn, c.authorization...)
		if status.Code(err) != c.want || err != nil && strings.Contains(err.Error(), "hush") {
			t.Errorf("%s: %v, want %v", name, err, c.want)
		}
	}
	if err := conn.Invoke(t.Context(), "/slotd.v1.Supervisor/Nothing", &healthpb.HealthCheckRequest{}, &healthpb.HealthCheckResponse{}); status.Code(err) != codes.Unimplemented {
		t.Errorf("a method that does not exist: %v", err)
	}
	open := dial(t, serve(t, rpc.Deps{}, nil), nil)
	if err := reflects(t, open); err != nil {
		t.Errorf("without authentication: %v", err)
	}
}

func TestCertificatesAreVerifiedAndTokensDecide(t *testing.T) {
	ca, other := certtest.NewAuthority(t), certtest.NewAuthority(t)
	pair := ca.Issue(t, "server")
	keeper, err := cert.Open(cert.Files{Cert: pair.Cert, Key: pair.Key, CA: ca.File}, time.Now, hclog.NewNullLogger())
	if err != nil {
		t.Fatal(err)
	}
	own := &tls.Config{RootCAs: ca.Pool, Certificates: []tls.Certificate{ca.Issue(t, "ci").TLS}}
	foreign := &tls.Config{RootCAs: ca.Pool, GetClientCertificate: func(*tls.CertificateRequestInfo) (*tls.Certificate, error) {
		eve := other.Issue(t, "eve").TLS
		return &eve, nil
	}}
	alone := serve(t, rpc.Deps{Gate: auth.NewGate(nil, true), TLS: keeper.Config("h2")}, nil)
	both := serve(t, rpc.Deps{Gate: auth.NewGate(tokens(t), true), TLS: keeper.Config("h2")}, nil)
	for name, c := range map[string]struct {
		addr   string
		config *tls.Config
		token  string
		want   codes.Code
	}{
		"a certificate":             {alone, own, "", codes.OK},
		"none":                      {alone, &tls.Config{RootCAs: ca.Pool}, "", codes.Unavailable},
		"a foreign one":             {alone, foreign, "", codes.Unavailable},
		"clear text":                {alone, nil, "", codes.Unavailable},
		"a certificate, no token":   {both, own, "", codes.Unauthenticated},
		"a certificate and a token": {both, own, "Bearer read", codes.OK},
		"a token, no certificate":   {both, &tls.Config{RootCAs: ca.Pool}, "Bearer read", codes.Unavailable},
	} {
		var authorization []string
		if c.token != "" {
			authorization = []string{c.token}
		}
		if err := reflects(t, dial(t, c.addr, c.config), authorization...); status.Code(err) != c.want {
			t.Errorf("%s: %v, want %v", name, err, c.want)
		}
	}
}

// raw opens a connection that is closed at the end of the test.
func raw(t *testing.T, addr string, first []byte) net.Conn {
	t.Helper()
	c, err := new(net.Dialer).DialContext(t.Context(), "tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := c.Close(); err != nil {
			t.Error(err)
		}
	})
	if err := c.SetDeadline(time.Now().Add(patience)); err != nil {
		t.Fatal(err)
	}
	if _, err := c.Write(first); err != nil {
		t.Fatal(err)
	}
	return c
}

func TestAHandshakeThatStopsIsCut(t *testing.T) {
	ca := certtest.NewAuthority(t)
	pair := ca.Issue(t, "server")
	keeper, err := cert.Open(cert.Files{Cert: pair.Cert, Key: pair.Key}, time.Now, hclog.NewNullLogger())
	if err != nil {
		t.Fatal(err)
	}
	limit := 50 * time.Millisecond
	for name, c := range map[string]struct {
		deps  rpc.Deps
		first []byte
	}{
		"clear text": {rpc.Deps{Handshake: limit}, []byte(http2.ClientPreface[:5])},
		"TLS":        {rpc.Deps{Handshake: limit, TLS: keeper.Config("h2")}, []byte{22, 3, 1, 2, 0, 1}},
	} {
		conn := raw(t, serve(t, c.deps, nil), c.first)
		if _, err := io.Copy(io.Discard, conn); os.IsTimeout(err) {
			t.Errorf("%s: the connection is still open", name)
		}
	}
}

// frames is a client that speaks HTTP/2 by hand.
func frames(t *testing.T, addr string) *http2.Framer {
	t.Helper()
	conn := raw(t, addr, []byte(http2.ClientPreface))
	f := http2.NewFramer(conn, conn)
	if err := f.WriteSettings(); err != nil {
		t.Fatal(err)
	}
	return f
}

// ended reads frames until the server ends a stream, and returns whether it did.
func ended(t *testing.T, f *http2.Framer) bool {
	t.Helper()
	for {
		frame, err := f.ReadFrame()
		if err != nil {
			return false
		}
		switch frame := frame.(type) {
		case *http2.RSTStreamFrame:
			return true
		case *http2.HeadersFrame:
			if frame.StreamEnded() {
				return true
			}
		}
	}
}

func TestAMessageThatDoesNotArriveIsGivenUp(t *testing.T) {
	f := frames(t, serve(t, rpc.Deps{Arrival: 50 * time.Millisecond}, nil))
	var call bytes.Buffer
	encoder := hpack.NewEncoder(&call)
	for _, header := range [][2]string{
		{":method", "POST"},
		{":scheme", "http"},
		{":path", healthpb.Health_Check_FullMethodName},
		{":authority", "localhost"},
		{"content-type", "application/grpc"},
		{"te", "trailers"},
	} {
		if err := encoder.WriteField(hpack.HeaderField{Name: header[0], Value: header[1]}); err != nil {
			t.Fatal(err)
		}
	}
	if err := f.WriteHeaders(http2.HeadersFrameParam{StreamID: 1, EndHeaders: true, BlockFragment: call.Bytes()}); err != nil {
		t.Fatal(err)
	}
	if err := f.WriteData(1, false, []byte{0, 0, 0, 0, 9, 'a'}); err != nil { // one of nine bytes
		t.Fatal(err)
	}
	if !ended(t, f) {
		t.Error("the call goes on")
	}
}

func TestACallMayTakeLongerThanItsMessage(t *testing.T) {
	conn := dial(t, serve(t, rpc.Deps{Arrival: time.Second}, nil), nil)
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Second)
	defer cancel()
	watch, err := healthpb.NewHealthClient(conn).Watch(ctx, &healthpb.HealthCheckRequest{})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := watch.Recv(); err != nil {
		t.Fatal(err)
	}
	if _, err := watch.Recv(); status.Code(err) != codes.DeadlineExceeded {
		t.Errorf("the stream ended with %v, want the client's own deadline", err)
	}
}

func TestSoManyStreamsOfAConnectionAndNoMore(t *testing.T) {
	conn := dial(t, serve(t, rpc.Deps{}, nil), nil)
	client := healthpb.NewHealthClient(conn)
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	first, end := context.WithCancel(ctx)
	defer end()
	for i := range 1000 {
		of := ctx
		if i == 0 {
			of = first
		}
		watch, err := client.Watch(of, &healthpb.HealthCheckRequest{})
		if err != nil {
			t.Fatal(err)
		}
		if _, err := watch.Recv(); err != nil {
			t.Fatal(err)
		}
	}
	short, cancelShort := context.WithTimeout(ctx, 100*time.Millisecond)
	defer cancelShort()
	if _, err := client.Check(short, &healthpb.HealthCheckRequest{}); status.Code(err) != codes.DeadlineExceeded {
		t.Errorf("one more: %v, want that it waits", err)
	}
	end()
	if _, err := client.Check(ctx, &healthpb.HealthCheckRequest{}); err != nil {
		t.Errorf("after one has ended: %v", err)
	}
}

func TestHeadersOverTheLimitAreRefused(t *testing.T) {
	conn := dial(t, serve(t, rpc.Deps{}, nil), nil)
	ctx := metadata.AppendToOutgoingContext(t.Context(), "x", strings.Repeat("x", 128<<10))
	if _, err := healthpb.NewHealthClient(conn).Check(ctx, &healthpb.HealthCheckRequest{}); err == nil {
		t.Error("128 KiB of headers were taken")
	}
}

// What a page of another origin may send without asking first is not gRPC, and calls nothing.
func TestABrowserCannotCall(t *testing.T) {
	ca := certtest.NewAuthority(t)
	pair := ca.Issue(t, "server")
	keeper, err := cert.Open(cert.Files{Cert: pair.Cert, Key: pair.Key}, time.Now, hclog.NewNullLogger())
	if err != nil {
		t.Fatal(err)
	}
	addr := serve(t, rpc.Deps{TLS: keeper.Config("h2")}, nil)
	transport := &http.Transport{TLSClientConfig: &tls.Config{RootCAs: ca.Pool}, ForceAttemptHTTP2: true}
	defer transport.CloseIdleConnections()
	for _, kind := range []string{"text/plain", "application/x-www-form-urlencoded", "multipart/form-data; boundary=x", ""} {
		for method, want := range map[string]int{http.MethodPost: http.StatusUnsupportedMediaType, http.MethodOptions: 0, http.MethodGet: 0} {
			request, err := http.NewRequestWithContext(t.Context(), method, "https://"+addr+"/grpc.health.v1.Health/Check", bytes.NewReader(make([]byte, 5)))
			if err != nil {
				t.Fatal(err)
			}
			request.Header.Set("Origin", "https://evil.example")
			if kind != "" {
				request.Header.Set("Content-Type", kind)
			}
			response, err := transport.RoundTrip(request)
			if err != nil {
				continue // a stream that is reset has called nothing either
			}
			if _, err := io.Copy(io.Discard, response.Body); err == nil && response.StatusCode == http.StatusOK {
				t.Errorf("%s %q: got 200", method, kind)
			}
			if err := response.Body.Close(); err != nil {
				t.Error(err)
			}
			if want != 0 && response.StatusCode != want {
				t.Errorf("%s %q: got %d, want %d", method, kind, response.StatusCode, want)
			}
			for name := range response.Header {
				if strings.HasPrefix(name, "Access-Control-") {
					t.Errorf("%s %q: the answer has %s", method, kind, name)
				}
			}
		}
	}
}

// far is a listener whose connections come from another machine, as far as anybody can tell.
type far struct{ net.Listener }

func (l far) Accept() (net.Conn, error) {
	c, err := l.Listener.Accept()
	return farConn{c}, err
}

type farConn struct{ net.Conn }

func (farConn) RemoteAddr() net.Addr { return &net.TCPAddr{IP: net.IPv4(192, 0, 2, 1), Port: 1} }

func TestAConnectionWithoutCallsMakesRoomAndOneWithACallDoesNot(t *testing.T) {
	addr := serve(t, rpc.Deps{}, func(l net.Listener) net.Listener { return quota.New(2, hclog.NewNullLogger()).Limit(far{l}) })
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	busy := dial(t, addr, nil)
	watch, err := healthpb.NewHealthClient(busy).Watch(ctx, &healthpb.HealthCheckRequest{})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := watch.Recv(); err != nil {
		t.Fatal(err)
	}
	silent := raw(t, addr, []byte(http2.ClientPreface))
	if _, err := healthpb.NewHealthClient(dial(t, addr, nil)).Check(ctx, &healthpb.HealthCheckRequest{}); err != nil {
		t.Errorf("a third: %v", err)
	}
	if _, err := io.Copy(io.Discard, silent); os.IsTimeout(err) {
		t.Error("the silent one keeps its place")
	}
	if _, err := healthpb.NewHealthClient(busy).Check(ctx, &healthpb.HealthCheckRequest{}); err != nil || watch.Context().Err() != nil {
		t.Errorf("the busy one was cut: %v", err)
	}
}
