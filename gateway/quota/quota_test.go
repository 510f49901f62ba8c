package quota_test

import (
	"bytes"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/hashicorp/go-hclog"

	"slotd/gateway/quota"
)

// fakeConn is a connection from anywhere.
type fakeConn struct {
	net.Conn

	remote net.Addr
	closed int
	half   bool
}

func (c *fakeConn) RemoteAddr() net.Addr { return c.remote }
func (c *fakeConn) Close() error         { c.closed++; return nil }
func (c *fakeConn) CloseWrite() error    { c.half = true; return nil }

// queue is a listener at which connections wait.
type queue []net.Conn

func (q *queue) Accept() (net.Conn, error) {
	if len(*q) == 0 {
		return nil, io.EOF
	}
	c := (*q)[0]
	*q = (*q)[1:]
	return c, nil
}

func (*queue) Close() error   { return nil }
func (*queue) Addr() net.Addr { return nil }

func from(ip string) *fakeConn {
	return &fakeConn{remote: &net.TCPAddr{IP: net.ParseIP(ip), Port: 1000}}
}

// gate is a limiter with a listener that a test feeds.
type gate struct {
	t     *testing.T
	queue *queue
	l     net.Listener
	log   bytes.Buffer
}

func newGate(t *testing.T, most int) *gate {
	t.Helper()
	g := &gate{t: t, queue: &queue{}}
	g.l = quota.New(most, hclog.New(&hclog.LoggerOptions{Output: &g.log})).Limit(g.queue)
	return g
}

// comes lets c come in, and returns what the server gets; nil when it was turned away.
func (g *gate) comes(c *fakeConn) net.Conn {
	g.t.Helper()
	*g.queue = append(*g.queue, c)
	conn, err := g.l.Accept()
	if err != nil && !errors.Is(err, io.EOF) {
		g.t.Fatal(err)
	}
	return conn
}

func TestTheOneThatWaitsLongestMakesRoom(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := newGate(t, 3)
		conns := []*fakeConn{from("192.0.2.1"), from("192.0.2.1"), from("192.0.2.1"), from("192.0.2.1"), from("192.0.2.1")}
		first := g.comes(conns[0])
		time.Sleep(time.Second)
		second := g.comes(conns[1])
		time.Sleep(time.Second)
		g.comes(conns[2])
		time.Sleep(time.Second)
		quota.Of(first).Begin() // the oldest is busy
		quota.Of(second).Begin()
		quota.Of(second).End() // the second has waited shorter than the third
		time.Sleep(time.Second)
		if g.comes(conns[3]) == nil || conns[2].closed != 1 || conns[0].closed+conns[1].closed+conns[3].closed > 0 {
			t.Errorf("closed are %d, %d, %d, %d; want the third alone", conns[0].closed, conns[1].closed, conns[2].closed, conns[3].closed)
		}
		time.Sleep(time.Second)
		if g.comes(conns[4]) == nil || conns[1].closed != 1 || conns[0].closed+conns[3].closed > 0 {
			t.Errorf("closed are %d, %d, %d; want the second", conns[0].closed, conns[1].closed, conns[3].closed)
		}
		if n := strings.Count(g.log.String(), "too many connections"); n != 1 || !strings.Contains(g.log.String(), "remote=192.0.2.1") {
			t.Errorf("told %d times: %s", n, &g.log)
		}
		time.Sleep(time.Minute)
		g.comes(from("192.0.2.1"))
		if n := strings.Count(g.log.String(), "too many connections"); n != 2 {
			t.Errorf("a minute later it was told %d times, want 2", n)
		}
	})
}

func TestANewOneIsTurnedAwayWhenAllAreBusy(t *testing.T) {
	g := newGate(t, 2)
	a, b, late := from("192.0.2.1"), from("192.0.2.1"), from("192.0.2.1")
	first, second := g.comes(a), g.comes(b)
	quota.Of(first).Begin()
	quota.Of(second).Begin()
	if g.comes(late) != nil || late.closed != 1 || a.closed+b.closed > 0 {
		t.Errorf("closed are %d, %d and the new one %d times", a.closed, b.closed, late.closed)
	}
	if g.comes(from("192.0.2.2")) == nil {
		t.Error("another address was turned away too")
	}
	if err := first.Close(); err != nil {
		t.Fatal(err)
	}
	if g.comes(from("192.0.2.1")) == nil {
		t.Error("a connection that ended keeps its place")
	}
	if err := first.Close(); err != nil { // twice, as servers do
		t.Fatal(err)
	}
	next := from("192.0.2.1")
	g.comes(next)
	if last := from("192.0.2.1"); g.comes(last) == nil || next.closed+last.closed != 1 {
		t.Errorf("closing twice gave a place away twice: closed %d and %d", next.closed, last.closed)
	}
}

func TestWhatCountsAsOneAddress(t *testing.T) {
	for name, c := range map[string]struct {
		a, b *fakeConn
		same bool
	}{
		"port":          {from("192.0.2.1"), &fakeConn{remote: &net.TCPAddr{IP: net.ParseIP("192.0.2.1"), Port: 2}}, true},
		"mapped":        {&fakeConn{remote: &net.TCPAddr{IP: net.IPv4(192, 0, 2, 1).To4()}}, from("::ffff:192.0.2.1"), true},
		"one network":   {from("2001:db8::1"), from("2001:db8::ffff:ffff:ffff:ffff"), true},
		"two networks":  {from("2001:db8::1"), from("2001:db8:0:1::1"), false},
		"neighbors":     {from("192.0.2.1"), from("192.0.2.2"), false},
		"loopback":      {from("127.0.0.1"), from("127.0.0.1"), false},
		"loopback IPv6": {from("::1"), from("::1"), false},
		"unix":          {&fakeConn{remote: &net.UnixAddr{}}, &fakeConn{remote: &net.UnixAddr{}}, false},
	} {
		g := newGate(t, 1)
		if g.comes(c.a) == nil || g.comes(c.b) == nil {
			t.Errorf("%s: turned away", name)
		}
		if c.a.closed == 1 != c.same || c.b.closed > 0 {
			t.Errorf("%s: closed %d times, want one address: %v", name, c.a.closed, c.same)
		}
	}
}

func TestAConnectionIsFoundBelowTLS(t *testing.T) {
	g := newGate(t, 1)
	raw := from("192.0.2.1")
	conn := g.comes(raw)
	counted := quota.Of(conn)
	if counted == nil || quota.Of(tls.Server(conn, &tls.Config{})) != counted {
		t.Error("the counted connection is not found")
	}
	if err := counted.CloseWrite(); err != nil || !raw.half {
		t.Errorf("half closed %v, %v", raw.half, err)
	}
	exempt := quota.Of(g.comes(from("127.0.0.1")))
	exempt.Begin()
	exempt.End()
	if exempt != nil {
		t.Error("loopback is counted")
	}
}

func TestALimiterForgetsWhoIsGone(t *testing.T) {
	limiter := quota.New(1, hclog.NewNullLogger())
	q := &queue{}
	l := limiter.Limit(q)
	for range 3 {
		*q = append(*q, from("192.0.2.1"))
		conn, err := l.Accept()
		if err != nil {
			t.Fatal(err)
		}
		if err := conn.Close(); err != nil {
			t.Fatal(err)
		}
	}
	if n := limiter.Addresses(); n != 0 {
		t.Errorf("%d addresses are remembered, want none", n)
	}
}
