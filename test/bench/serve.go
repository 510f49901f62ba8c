package bench

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"time"
)

// perFlush is how many events the bare server sends at once.
const perFlush = 64

// bareFollowers starts the bare server and lets n clients read all of it.
func bareFollowers(ctx context.Context, c Config, n int) (took time.Duration, err error) {
	cmd := c.child(ctx, childServe, c.Lines)
	stdin, err := cmd.StdinPipe()
	if err != nil {
		return 0, err
	}
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		return 0, err
	}
	if err := cmd.Start(); err != nil {
		return 0, err
	}
	defer func() { err = errors.Join(err, stdin.Close(), cmd.Wait()) }()
	url, err := bufio.NewReader(stdout).ReadString('\n')
	if err != nil {
		return 0, fmt.Errorf("read the address of the bare server: %w", err)
	}
	start := time.Now()
	last, err := FollowAll(ctx, strings.TrimSpace(url), n, c.Lines, func() error { return nil }) // it has begun by itself
	return last.Sub(start), err
}

// ServeLines is the bare server: it encodes n lines as the events that slotd would send, prints its URL, and sends them
// to every client until stdin ends.
func ServeLines(ctx context.Context, n int, stdin io.Reader, stdout io.Writer) error {
	batches := encodeEvents(n)
	listener, err := (&net.ListenConfig{}).Listen(ctx, "tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	server := &http.Server{
		ReadHeaderTimeout: 10 * time.Second,
		Handler: http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Type", "text/event-stream")
			w.Header().Set("Cache-Control", "no-cache")
			out := http.NewResponseController(w)
			for _, batch := range batches {
				if _, err := w.Write(batch); err != nil {
					return // the client is gone, and says so itself
				}
				if err := out.Flush(); err != nil {
					return
				}
			}
		}),
	}
	served := make(chan error, 1)
	go func() { served <- server.Serve(listener) }()
	_, printed := fmt.Fprintf(stdout, "http://%s/\n", listener.Addr())
	_, drained := io.Copy(io.Discard, stdin)
	closed := server.Close()
	if err := <-served; !errors.Is(err, http.ErrServerClosed) {
		return err
	}
	return errors.Join(printed, drained, closed)
}

// encodeEvents returns the events of n lines, perFlush in each batch.
func encodeEvents(n int) [][]byte {
	var batches [][]byte
	var batch []byte
	l := firstLine()
	for seq := range n {
		batch = fmt.Appendf(batch, "event: chunk\nid: 1-%d\ndata: "+
			`{"type":"chunk","attempt":1,"stream":"stdout","seq":%d,"ts":1712750400123,"line":"%s"}`+"\n\n", seq+1, seq, l[:])
		l.next()
		if (seq+1)%perFlush == 0 || seq == n-1 {
			batches = append(batches, batch)
			batch = make([]byte, 0, len(batch)+perFlush)
		}
	}
	return batches
}
