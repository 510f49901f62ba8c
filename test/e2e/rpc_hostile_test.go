package e2e

import (
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"os"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/encoding"
	"google.golang.org/grpc/mem"

	slotdv1 "slotd/messages/slotd/v1"
	soltiv1 "slotd/messages/solti/v1"
)

// knock opens a bare connection to the gRPC port; it is closed at the end of the test.
func (d *daemon) knock() net.Conn {
	d.t.Helper()
	conn, err := new(net.Dialer).DialContext(contextOf(d.t), "tcp", d.grpc)
	if err != nil {
		d.t.Fatal(err)
	}
	d.t.Cleanup(func() {
		if err := conn.Close(); err != nil && !errors.Is(err, net.ErrClosed) {
			d.t.Error(err)
		}
	})
	if err := conn.SetDeadline(time.Now().Add(patience)); err != nil {
		d.t.Fatal(err)
	}
	return conn
}

// hungUp reads until the daemon closes the connection.
func hungUp(t testing.TB, what string, conn net.Conn) {
	t.Helper()
	if _, err := io.Copy(io.Discard, conn); errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("%s: the daemon keeps the connection", what)
	}
}

// peer speaks HTTP/2 frame by frame, whatever the rules are.
type peer struct {
	t      testing.TB
	conn   net.Conn
	framer *http2.Framer
	next   uint32
}

// peer makes a connection whose preface is said.
func (d *daemon) peer() *peer {
	d.t.Helper()
	p := &peer{t: d.t, conn: d.knock(), next: 1}
	if _, err := io.WriteString(p.conn, http2.ClientPreface); err != nil {
		d.t.Fatal(err)
	}
	p.framer = http2.NewFramer(p.conn, p.conn)
	if err := p.framer.WriteSettings(); err != nil {
		d.t.Fatal(err)
	}
	return p
}

// headers is the block that opens a call, with more fields behind.
func headers(method string, more ...string) []byte {
	var block bytes.Buffer
	encoder := hpack.NewEncoder(&block)
	fields := append([]string{":method", "POST", ":scheme", "http", ":path", method, ":authority", "localhost", "content-type", "application/grpc", "te", "trailers"}, more...)
	for i := 0; i < len(fields); i += 2 {
		if err := encoder.WriteField(hpack.HeaderField{Name: fields[i], Value: fields[i+1]}); err != nil {
			panic(err) // a buffer takes everything
		}
	}
	return block.Bytes()
}

// open begins a call and returns its stream.
func (p *peer) open(block []byte) (uint32, error) {
	id := p.next
	p.next += 2
	const most = 16 << 10 // bytes of a frame
	first := block[:min(len(block), most)]
	block = block[len(first):]
	err := p.framer.WriteHeaders(http2.HeadersFrameParam{StreamID: id, BlockFragment: first, EndHeaders: len(block) == 0})
	for err == nil && len(block) > 0 {
		piece := block[:min(len(block), most)]
		block = block[len(piece):]
		err = p.framer.WriteContinuation(id, len(block) == 0, piece)
	}
	return id, err
}

const versionMethod = "/slotd.v1.Supervisor/GetVersion"

func TestWhatIsNoGRPCIsHungUpOn(t *testing.T) {
	t.Parallel()
	d := serve(t)
	c := d.call()
	for what, text := range map[string]string{
		"HTTP/1.1":            "GET / HTTP/1.1\r\nHost: localhost\r\n\r\n",
		"a long request":      "POST / HTTP/1.1\r\nX: " + strings.Repeat("x", 1<<20) + "\r\n\r\n",
		"zeros":               strings.Repeat("\x00", 1<<16),
		"a preface and noise": http2.ClientPreface + strings.Repeat("\xff\xfe\xfd", 1<<12),
		"no settings":         http2.ClientPreface + "\x00\x00\x08\x06\x00\x00\x00\x00\x00pingpong",
	} {
		conn := d.knock()
		// It may hang up before it has all.
		_, _ = io.WriteString(conn, text)
		hungUp(t, what, conn)
		c.works()
	}
	conn := tls.Client(d.knock(), &tls.Config{InsecureSkipVerify: true}) //nolint:gosec // nothing is to be kept secret here
	if err := conn.HandshakeContext(contextOf(t)); err == nil {
		t.Error("a TLS handshake on the plain port came through")
	}
	c.works()
}

// raw sends bytes for a message.
type raw struct{ encoding.CodecV2 }

func (r raw) Marshal(v any) (mem.BufferSlice, error) {
	if data, ok := v.([]byte); ok {
		return mem.BufferSlice{mem.SliceBuffer(data)}, nil
	}
	return r.CodecV2.Marshal(v)
}

func TestBadRequestsAreRefusedOneByOne(t *testing.T) {
	t.Parallel()
	d := serve(t)
	c := d.call()
	send := func(message []byte) error {
		return c.Invoke(c.ctx(), "/solti.v1.SoltiApi/SubmitTask", message, &soltiv1.SubmitTaskResponse{}, grpc.ForceCodecV2(raw{encoding.GetCodecV2("proto")}))
	}
	for what, message := range map[string][]byte{
		"no protobuf":          []byte("\xff\xff\xff\xff"),
		"a slot without UTF-8": []byte("\x0a\x04\x0a\x02\xff\xfe"),
	} {
		t.Log(what)
		refusedAs(t, send(message), codes.InvalidArgument, "InvalidRequest")
	}
	refusedAs(t, send(make([]byte, 5<<20)), codes.ResourceExhausted, "PayloadTooLarge")
	if err := send(make([]byte, 64<<20)); err == nil {
		t.Error("64 MiB were taken")
	}
	c.works()

	p := d.peer()
	// It may hang up before it has all.
	_, _ = p.open(headers(versionMethod, "x", strings.Repeat("x", 1<<20)))
	for {
		frame, err := p.framer.ReadFrame()
		if errors.Is(err, os.ErrDeadlineExceeded) {
			t.Error("headers of a MiB are not refused")
		}
		if err != nil {
			break
		}
		if kind := frame.Header().Type; frame.Header().StreamID == 1 && (kind == http2.FrameRSTStream || kind == http2.FrameHeaders) || kind == http2.FrameGoAway {
			break
		}
	}
	c.works()
}

func TestResetsDoNotWearTheDaemonOut(t *testing.T) {
	t.Parallel()
	d := serve(t)
	c := d.call()
	id := c.submit(shell("lane", "exec sleep 1000"))
	before := number(t, d.introspect().Goroutines)
	var group sync.WaitGroup
	for range 4 {
		p := d.peer()
		group.Go(func() {
			drained := make(chan struct{})
			go func() { // what it answers must not stay in the way
				_, _ = io.Copy(io.Discard, p.conn)
				close(drained)
			}()
			block := headers("/solti.v1.SoltiApi/StreamTaskLogs")
			request := append([]byte{0, 0, 0, 0, byte(2 + len(id)), 0x0a, byte(len(id))}, id...)
			for range 5000 {
				stream, err := p.open(block)
				if err == nil {
					err = p.framer.WriteData(stream, true, request)
				}
				if err == nil {
					err = p.framer.WriteRSTStream(stream, http2.ErrCodeCancel)
				}
				if err != nil {
					break // it has hung up
				}
			}
			if err := p.conn.Close(); err != nil {
				t.Error(err)
			}
			<-drained
		})
	}
	for range 50 {
		c.works()
	}
	group.Wait()
	c.works()
	eventually(t, "nothing is left of the streams", func() bool {
		f := d.introspect()
		return number(t, f.Logs.Subscribers) == 0 && number(t, f.Goroutines) <= before+10
	})
}

func TestThousandsOfStreamsAreOpen(t *testing.T) {
	t.Parallel()
	const connections, each = 3, 900
	d := serve(t)
	c := d.call()
	id := c.submit(shell("lane", "exec sleep 1000"))
	c.wait(id, "running")
	before := number(t, d.introspect().Goroutines)
	ctx, leave := context.WithCancel(c.ctx())
	defer leave()
	for range connections {
		of := d.call()
		for range each {
			stream, err := of.tasks.StreamTaskLogs(ctx, &soltiv1.StreamTaskLogsRequest{TaskId: id})
			if err != nil {
				t.Fatal(err)
			}
			if _, err := stream.Header(); err != nil {
				t.Fatal(err)
			}
		}
		of.works()
	}
	if f := d.introspect(); number(t, f.Logs.Subscribers) != connections*each || number(t, f.Goroutines) > before+connections*each+50 {
		t.Errorf("%s subscribers with %s goroutines, before there were %d", f.Logs.Subscribers, f.Goroutines, before)
	}
	leave()
	eventually(t, "nothing is left of the streams", func() bool {
		f := d.introspect()
		return number(t, f.Logs.Subscribers) == 0 && number(t, f.Goroutines) <= before+20
	})
}

// Clients that read nothing, of the stream or of the connection, slow neither the task nor others, and the daemon ends as
// if they were not there.
func TestClientsThatNeverReadHoldNothingUp(t *testing.T) {
	t.Parallel()
	d := serve(t)
	c := d.call()
	id := c.submit(shell("lane", `while [ ! -e "$0" ]; do sleep 0.02; done; yes "$(printf %01000d 7)" | head -n 30000; echo done; exec sleep 1000`, d.data+"/go"))
	c.wait(id, "running")
	for range 30 {
		stream, err := c.tasks.StreamTaskLogs(c.ctx(), &soltiv1.StreamTaskLogsRequest{TaskId: id})
		if err != nil {
			t.Fatal(err)
		}
		if _, err := stream.Header(); err != nil {
			t.Fatal(err)
		}
		deaf := d.peer()
		opened, err := deaf.open(headers("/solti.v1.SoltiApi/StreamTaskLogs"))
		if err == nil {
			err = deaf.framer.WriteData(opened, true, append([]byte{0, 0, 0, 0, byte(2 + len(id)), 0x0a, byte(len(id))}, id...))
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	eventually(t, "all have opened the log", func() bool { return number(t, d.introspect().Logs.Subscribers) == 60 })
	if err := os.WriteFile(d.data+"/go", nil, 0o600); err != nil {
		t.Fatal(err)
	}
	reader, err := d.call().tasks.StreamTaskLogs(c.ctx(), &soltiv1.StreamTaskLogsRequest{TaskId: id, Tail: new(uint64(1))})
	if err != nil {
		t.Fatal(err)
	}
	for {
		e, err := reader.Recv()
		if err != nil {
			t.Fatalf("the reader that reads: %v", err)
		}
		if e.GetLagged() != nil {
			t.Errorf("the reader that reads has lost %d events", e.GetLagged().GetSkipped())
		}
		if brief(e) == "done" {
			break
		}
	}
	c.works()
	figures, err := c.more.Introspect(c.ctx(), &slotdv1.IntrospectRequest{})
	if err != nil || figures.GetHeapBytes() > 256<<20 {
		t.Errorf("the daemon has %d MiB on its heap, %v", figures.GetHeapBytes()>>20, err)
	}
	if code := d.stop(syscall.SIGTERM); code != 0 {
		t.Errorf("exit code %d", code)
	}
}

func TestConnectionsThatSayNothingHoldNothingUp(t *testing.T) {
	t.Parallel()
	d := serve(t)
	c := d.call()
	for i := range 300 {
		conn := d.knock()
		if i%2 == 0 {
			if _, err := io.WriteString(conn, http2.ClientPreface[:10]); err != nil {
				t.Fatal(err)
			}
		}
	}
	c.works()
	half := d.peer() // a call whose request never ends
	stream, err := half.open(headers("/solti.v1.SoltiApi/SubmitTask"))
	if err == nil {
		err = half.framer.WriteData(stream, false, []byte{0, 0, 1, 0, 0, 'x'})
	}
	if err != nil {
		t.Fatal(err)
	}
	id := c.submit(command("lane", "true"))
	if k := c.wait(id, "terminal"); k.GetStatus().GetReason() != "Completed" {
		t.Errorf("the task ended with %v", k.GetStatus())
	}
	began := time.Now()
	if code := d.stop(syscall.SIGTERM); code != 0 {
		t.Errorf("exit code %d", code)
	}
	if took := time.Since(began); took > patience/2 {
		t.Errorf("the daemon took %v to end", took)
	}
}
