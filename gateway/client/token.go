package client

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"os"
	"strings"
)

// TokenSource returns the bearer token for the next request; it is asked before each one. An empty token sends none. An
// error ends the call, and must not repeat the token. Several goroutines may call it at a time.
type TokenSource func(ctx context.Context) (string, error)

// Token is always the same token.
func Token(token string) TokenSource {
	return func(context.Context) (string, error) { return token, nil }
}

// TokenFile reads the token from a file, for each request anew: one that is replaced is used from the next request on.
// White space around the token does not count.
func TokenFile(path string) TokenSource {
	return func(context.Context) (string, error) {
		token, err := readToken(path)
		if err != nil {
			return "", fmt.Errorf("token file: %w", err)
		}
		return token, nil
	}
}

// maxToken bounds a token, bytes: whatever is longer is not a token but some other file.
const maxToken = 8 << 10

func readToken(path string) (token string, err error) {
	file, err := os.Open(path)
	if err != nil {
		return "", err
	}
	defer func() { err = errors.Join(err, file.Close()) }()
	text, err := io.ReadAll(io.LimitReader(file, maxToken+1))
	if err != nil {
		return "", err
	}
	token = strings.TrimSpace(string(text))
	switch {
	case len(text) > maxToken:
		return "", fmt.Errorf("%s is longer than %d bytes; a file with a token and nothing else is expected", path, maxToken)
	case token == "":
		return "", fmt.Errorf("%s is empty; a file with a token is expected", path)
	}
	return token, nil
}

var errTokenForm = errors.New("the bearer token has a blank or another character that no token has")

// authorize adds the token to a request. Its value is in no error.
func (c *Client) authorize(req *http.Request) error {
	if c.token == nil {
		return nil
	}
	token, err := c.token(req.Context())
	if err != nil || token == "" {
		return err
	}
	if strings.ContainsFunc(token, func(r rune) bool { return r <= ' ' || r > '~' }) {
		return errTokenForm
	}
	req.Header.Set("Authorization", "Bearer "+token)
	return nil
}

// ErrPlaintextToken says that a token would cross a network where everybody can read it. [New] returns it.
var ErrPlaintextToken = errors.New("a token is not sent over plain http to another machine, where everybody on the way can read it; use https")

// private says whether what is sent to a target can be read by nobody on a network.
func (t target) private() bool {
	return t.socket != "" || t.base.Scheme == "https" || loopback(t.base)
}

func loopback(base *url.URL) bool {
	host := base.Hostname()
	ip := net.ParseIP(host)
	return strings.EqualFold(host, "localhost") || ip != nil && ip.IsLoopback()
}
