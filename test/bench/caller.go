package bench

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strconv"

	"google.golang.org/protobuf/encoding/protojson"

	soltiv1 "slotd/messages/solti/v1"
)

// caller is a client of a daemon with one connection that stays open. It writes its requests by hand: on a small machine
// whatever a client computes is missing from what it measures.
type caller struct {
	conn net.Conn
	in   *bufio.Reader
	out  []byte // the head and body of a request
	host string
	drop func() bool // takes back that the end of the context closes the connection
}

// dial connects a caller to the daemon.
func (d *daemon) dial(ctx context.Context) (*caller, error) { return dial(ctx, d.addr) }

// dial connects a caller to host:port. When ctx ends, what it waits for fails.
func dial(ctx context.Context, addr string) (*caller, error) {
	conn, err := (&net.Dialer{}).DialContext(ctx, "tcp", addr)
	if err != nil {
		return nil, err
	}
	closing := func() { _ = conn.Close() } // the call under way fails, and says so
	return &caller{conn: conn, in: bufio.NewReader(conn), host: addr, drop: context.AfterFunc(ctx, closing)}, nil
}

func (c *caller) close() error {
	if !c.drop() {
		return nil // the end of the context has closed it
	}
	return c.conn.Close()
}

// narrow lets the kernel keep no more than a little of what comes, so that whoever sends to a caller that does not read
// is held up soon.
func (c *caller) narrow() error {
	conn, ok := c.conn.(*net.TCPConn)
	if !ok {
		return fmt.Errorf("%s is not reached by TCP", c.host)
	}
	return conn.SetReadBuffer(blockBytes)
}

// send writes one request.
func (c *caller) send(method, path string, body []byte) error {
	out := append(c.out[:0], method...)
	out = append(out, ' ')
	out = append(out, path...)
	out = append(out, " HTTP/1.1\r\nHost: "...)
	out = append(out, c.host...)
	if body != nil {
		out = append(out, "\r\nContent-Type: application/json\r\nContent-Length: "...)
		out = strconv.AppendInt(out, int64(len(body)), 10)
	}
	out = append(out, "\r\n\r\n"...)
	c.out = append(out, body...)
	_, err := c.conn.Write(c.out)
	return err
}

// call sends one request and decodes its answer, which must have the status.
func (c *caller) call(method, path string, body []byte, status int, answer any) error {
	if err := c.send(method, path, body); err != nil {
		return err
	}
	response, err := http.ReadResponse(c.in, nil)
	if err != nil {
		return err
	}
	text, err := io.ReadAll(response.Body)
	if err = errors.Join(err, response.Body.Close()); err != nil {
		return err
	}
	if response.StatusCode != status {
		return fmt.Errorf("%s %s: %s: %s", method, path, response.Status, text)
	}
	if answer == nil {
		return nil
	}
	return json.Unmarshal(text, answer)
}

// fetch sends a GET and reads its answer to the end.
func (c *caller) fetch(path string) error {
	if err := c.send(http.MethodGet, path, nil); err != nil {
		return err
	}
	response, err := http.ReadResponse(c.in, nil)
	if err != nil {
		return err
	}
	_, err = io.Copy(io.Discard, response.Body)
	if err = errors.Join(err, response.Body.Close()); err == nil && response.StatusCode != http.StatusOK {
		err = fmt.Errorf("GET %s: %s", path, response.Status)
	}
	return err
}

// encode is the body of a submission.
func encode(spec *soltiv1.CreateSpec) ([]byte, error) {
	return protojson.Marshal(&soltiv1.SubmitTaskRequest{Spec: spec})
}

// submit returns the id of the admitted task.
func (c *caller) submit(body []byte) (string, error) {
	var answer struct{ TaskID string }
	err := c.call(http.MethodPost, "/api/v1/tasks", body, http.StatusCreated, &answer)
	return answer.TaskID, err
}

// await waits until the task is "running" or "terminal" and returns an error unless it is then in that phase.
func (c *caller) await(id, what string, phase soltiv1.TaskStatus) error {
	var answer struct {
		Task struct {
			Status struct {
				Phase, Error string
				Terminal     bool
			}
		}
	}
	if err := c.call(http.MethodGet, "/api/v1/tasks/"+id+"?wait=5m&for="+what, nil, http.StatusOK, &answer); err != nil {
		return err
	}
	if got := answer.Task.Status; got.Phase != phase.String() || got.Terminal != (what == "terminal") {
		return fmt.Errorf("task %s is %+v, want %s", id, got, phase)
	}
	return nil
}

// cancel returns once everything that the task started is dead.
func (c *caller) cancel(id string) error {
	return c.call(http.MethodPost, "/api/v1/tasks/"+id+"/cancel", nil, http.StatusOK, nil)
}

// remove purges a terminal task.
func (c *caller) remove(id string) error {
	return c.call(http.MethodDelete, "/api/v1/tasks/"+id, nil, http.StatusNoContent, nil)
}
