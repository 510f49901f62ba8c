package auth

import (
	"context"
	"crypto/x509"
	"fmt"
	"net"
	"os"
	"strconv"
	"strings"
	"syscall"

	"slotd/messages"
)

// Peer is what a connection proves about its other end, without a word of the client.
type Peer struct {
	Unix        bool              // it came over a unix socket
	UID         int               // then the user who connected, as the kernel says; -1 = it does not
	Certificate *x509.Certificate // verified in the handshake; nil = none
}

// PeerOf returns what the kernel knows of the other end of a connection. It noted the user in the moment of connect, so
// that nothing the client does or says afterwards changes it.
func PeerOf(conn net.Conn) Peer {
	socket, ok := conn.(*net.UnixConn)
	if !ok {
		return Peer{}
	}
	p := Peer{Unix: true, UID: -1}
	raw, err := socket.SyscallConn()
	if err != nil {
		return p
	}
	// An error is a connection that is gone already: it stays unknown, and may do nothing.
	_ = raw.Control(func(fd uintptr) {
		if credentials, err := syscall.GetsockoptUcred(int(fd), syscall.SOL_SOCKET, syscall.SO_PEERCRED); err == nil {
			p.UID = int(credentials.Uid)
		}
	})
	return p
}

// Gate says who sends a request. The zero value, like nil, knows nobody apart: over TCP everybody is admin.
type Gate struct {
	tokens       *File
	certificates bool
	uid          int
}

// NewGate returns a gate. With tokens a request over TCP must carry one of them; with certificates, and no tokens, a
// verified certificate makes its client admin. Whoever asks the server for TLS must have it verify them.
func NewGate(tokens *File, certificates bool) *Gate {
	return &Gate{tokens: tokens, certificates: certificates, uid: os.Geteuid()}
}

// everybody is who sends a request where nobody is known apart.
var everybody = Identity{Role: Admin}

// Open says whether everybody may do everything.
func (g *Gate) Open() bool { return g == nil || g.tokens == nil && !g.certificates }

// Identify says who sends a request with these Authorization headers, or refuses it with a [messages.RejectionError].
// A token that is sent decides, wherever it is sent; without one, the connection does.
func (g *Gate) Identify(p Peer, authorization []string) (Identity, error) {
	if g != nil && g.tokens != nil && len(authorization) > 0 {
		return g.byToken(authorization)
	}
	switch {
	case p.Unix:
		return g.byUser(p.UID)
	case g.Open():
		return everybody, nil
	case g.tokens != nil:
		return Identity{}, unauthenticated("this server wants a token; send Authorization: Bearer TOKEN")
	case p.Certificate != nil:
		return Identity{Name: subject(p.Certificate), Role: Admin}, nil
	}
	return Identity{}, unauthenticated("this server wants a client certificate")
}

func (g *Gate) byToken(authorization []string) (Identity, error) {
	if len(authorization) > 1 {
		return Identity{}, unauthenticated("the request has several Authorization headers; send one")
	}
	scheme, token, _ := strings.Cut(authorization[0], " ")
	if !strings.EqualFold(scheme, "Bearer") {
		return Identity{}, unauthenticated("the Authorization header has another scheme; send Authorization: Bearer TOKEN")
	}
	id, ok := g.tokens.Tokens().Identify(strings.TrimSpace(token))
	if !ok {
		return Identity{}, unauthenticated("this server does not know the token; ask its operator for one that holds")
	}
	return id, nil
}

// byUser knows the user who runs the server, and root, who could read its memory anyway.
func (g *Gate) byUser(uid int) (Identity, error) {
	own := os.Geteuid()
	if g != nil {
		own = g.uid
	}
	if uid == 0 || uid == own && uid >= 0 {
		return Identity{Name: "uid-" + strconv.Itoa(uid), Role: Admin}, nil
	}
	return Identity{}, denied("this socket is for the user who runs slotd and for root; others need a token")
}

// subject is a name of the certificate that can stand in a log line.
func subject(c *x509.Certificate) string {
	names := append([]string{c.Subject.CommonName}, c.DNSNames...)
	for _, name := range names {
		if name != "" && ValidateName(name) == nil {
			return name
		}
	}
	return "certificate-" + c.SerialNumber.Text(16)
}

// Check refuses what id may not do, naming the role that it needs.
func Check(id Identity, needed Role) error {
	if id.Role.May(needed) {
		return nil
	}
	who := "this client"
	if id.Name != "" {
		who = strconv.Quote(id.Name)
	}
	return denied(fmt.Sprintf("this needs the role %s, and %s has %s; use a token with that role", needed, who, id.Role))
}

func unauthenticated(message string) error {
	return &messages.RejectionError{Rejection: messages.Reject(messages.LabelUnauthenticated, message, 0)}
}

func denied(message string) error {
	return &messages.RejectionError{Rejection: messages.Reject(messages.LabelPermissionDenied, message, 0)}
}

type peerKey struct{}

// WithPeer returns a context of a connection from p.
func WithPeer(ctx context.Context, p Peer) context.Context {
	return context.WithValue(ctx, peerKey{}, p)
}

// PeerFrom returns where the request of a context comes from.
func PeerFrom(ctx context.Context) Peer {
	p, _ := ctx.Value(peerKey{}).(Peer)
	return p
}
