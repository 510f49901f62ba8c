package client

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/url"
	"strconv"
	"time"

	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"

	"slotd/messages"
)

// Config says where the daemon is. Its zero value is the daemon of this machine, at [DefaultAddr].
type Config struct {
	// Addr is http://host:port, https://host:port, unix:///path, or host:port for plain HTTP; empty is [DefaultAddr].
	Addr string

	// Source tells where Addr came from ("--addr", "SLOTD_ADDR", …); it is repeated in an [*UnreachableError].
	Source string

	// UserAgent is sent with every request; empty is "slotd-client".
	UserAgent string

	// Token gives the bearer token of each request: [Token], [TokenFile] or a function of yours. Nil sends none. A token
	// goes to https addresses, unix sockets and this machine; with any other address [New] returns [ErrPlaintextToken].
	Token TokenSource

	// PlaintextToken allows a token to cross a network over plain http, where everybody on the way can read it.
	PlaintextToken bool

	// TLS is for https addresses.
	TLS TLS

	// Patience is how long a call that may be sent twice is repeated while the daemon answers 503 or 429: after the time
	// that the daemon asks for (Retry-After), else after pauses that grow to 5 s. What could only be repeated after
	// Patience or the context's deadline is returned at once. 0 repeats no refusal.
	Patience time.Duration
}

// Client talks to one daemon. Make one with [New]; Close it when done.
type Client struct {
	http     *http.Client
	base     *url.URL
	addr     string
	source   string
	agent    string
	token    TokenSource
	patience time.Duration
}

// New returns a client for the daemon at cfg.Addr. It does not connect. Errors are an [*AddressError], files of TLS that
// cannot be read, and [ErrPlaintextToken].
func New(cfg Config) (*Client, error) {
	target, err := parseAddr(cfg.Addr)
	if err != nil {
		return nil, err
	}
	if cfg.Token != nil && !cfg.PlaintextToken && !target.private() {
		return nil, fmt.Errorf("address %q: %w", target.addr, ErrPlaintextToken)
	}
	transport, err := target.transport(cfg.TLS)
	if err != nil {
		return nil, err
	}
	agent := cfg.UserAgent
	if agent == "" {
		agent = "slotd-client"
	}
	return &Client{
		http:     &http.Client{Transport: transport, CheckRedirect: stay},
		base:     target.base,
		addr:     target.addr,
		source:   cfg.Source,
		agent:    agent,
		token:    cfg.Token,
		patience: cfg.Patience,
	}, nil
}

// stay follows no redirect: no daemon sends one, and whoever does must not be given a token or a spec.
func stay(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }

// Addr is the address this client talks to, as [Config.Addr] with its default filled in.
func (c *Client) Addr() string { return c.addr }

// Source tells where the address came from; empty when nobody said so.
func (c *Client) Source() string { return c.source }

// Close drops idle connections. Calls under way are not disturbed.
func (c *Client) Close() { c.http.CloseIdleConnections() }

// request is one call of the API.
type request struct {
	method string
	path   []string // below /, escaped one by one
	query  url.Values
	header http.Header
	body   []byte
	again  bool // may be sent twice without harm
}

// call performs r and decodes the answer into out, unless out is nil.
func (c *Client) call(ctx context.Context, r request, out proto.Message) error {
	again := repeats{allowed: r.again}
	if c.patience > 0 {
		again.until = time.Now().Add(c.patience)
	}
	for {
		body, err := c.once(ctx, r)
		if err == nil {
			return decode(body, out)
		}
		wait, more := again.after(ctx, err, time.Now())
		if !more {
			return err
		}
		if err := pause(ctx, wait); err != nil {
			return err
		}
	}
}

// once sends r a single time and reads the whole answer.
func (c *Client) once(ctx context.Context, r request) ([]byte, error) {
	resp, err := c.send(ctx, r)
	if err != nil {
		return nil, err
	}
	defer discard(resp)
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		return nil, c.lost(ctx, err)
	}
	return body, nil
}

// send returns the answer to r when its status is a success; the caller closes its body.
func (c *Client) send(ctx context.Context, r request) (*http.Response, error) {
	for _, element := range r.path {
		if element == "" || element == "." || element == ".." {
			message := fmt.Sprintf("%q is not a task id or a slot", element)
			return nil, &Error{Status: http.StatusBadRequest, Label: messages.LabelInvalidRequest, Message: message}
		}
	}
	target := c.base.JoinPath(r.path...)
	target.RawQuery = r.query.Encode()
	req, err := http.NewRequestWithContext(ctx, r.method, target.String(), bytes.NewReader(r.body))
	if err != nil {
		return nil, fmt.Errorf("build request: %w", err)
	}
	maps.Copy(req.Header, r.header)
	req.Header.Set("User-Agent", c.agent)
	if err := c.authorize(req); err != nil {
		return nil, err
	}
	if r.body != nil {
		req.Header.Set("Content-Type", "application/json")
	}
	resp, err := c.http.Do(req)
	if err != nil {
		return nil, c.lost(ctx, err)
	}
	if resp.StatusCode/100 != 2 {
		defer discard(resp)
		return nil, refusal(resp)
	}
	return resp, nil
}

// discard ends an answer that has been read as far as it is wanted: an error of the closing changes nothing any more.
func discard(resp *http.Response) { _ = resp.Body.Close() }

// lost says why no answer came: the caller gave up, nobody listens there, or the connection broke.
func (c *Client) lost(ctx context.Context, err error) error {
	if cause := context.Cause(ctx); cause != nil {
		return cause
	}
	if wrapped, ok := errors.AsType[*url.Error](err); ok {
		err = wrapped.Err
	}
	why, ok := undialed(err)
	if !ok {
		why, ok = mistrust(err)
	}
	if ok {
		return &UnreachableError{Addr: c.addr, Source: c.source, Err: why}
	}
	return &brokenError{addr: c.addr, err: err}
}

func decode(body []byte, out proto.Message) error {
	if out == nil {
		return nil
	}
	if err := (protojson.UnmarshalOptions{DiscardUnknown: true}).Unmarshal(body, out); err != nil {
		return fmt.Errorf("the answer is not what slotd answers: %w", err)
	}
	return nil
}

// pause waits for d, or returns the context's cause when that comes first.
func pause(ctx context.Context, d time.Duration) error {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

func milliseconds(d time.Duration) string {
	return strconv.FormatInt(d.Milliseconds(), 10) + "ms"
}
