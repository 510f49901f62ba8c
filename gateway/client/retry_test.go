package client_test

import (
	"context"
	"errors"
	"net/http"
	"net/http/httptest"
	"sync/atomic"
	"testing"
	"time"

	"slotd/gateway/client"
	soltiv1 "slotd/messages/solti/v1"
)

// refusing answers the first n requests with a refusal, and the rest.
func refusing(t *testing.T, n int32, status int, label, retryAfter string) (addr string, sent *atomic.Int32) {
	t.Helper()
	sent = new(atomic.Int32)
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if sent.Add(1) <= n {
			if retryAfter != "" {
				w.Header().Set("Retry-After", retryAfter)
			}
			w.WriteHeader(status)
			write(t, w, `{"error":"`+label+`","message":"no"}`)
			return
		}
		if r.Method == http.MethodPost {
			reply(t, w, &soltiv1.SubmitTaskResponse{TaskId: someID})
			return
		}
		reply(t, w, &soltiv1.GetTaskStatusResponse{Task: task(someID, nil)})
	}))
	t.Cleanup(server.Close)
	return server.URL, sent
}

func TestRefusalsAreRepeatedOnlyForThePatient(t *testing.T) {
	for name, tc := range map[string]struct {
		refusals int32
		status   int
		label    string
		after    string
		patience time.Duration
		deadline time.Duration
		submit   bool
		key      string
		sent     int32
		want     error
	}{
		"nobody asked":                 {1, 503, "Unavailable", "", 0, 0, false, "", 1, client.ErrUnavailable},
		"unavailable":                  {2, 503, "Unavailable", "", time.Minute, 0, false, "", 3, nil},
		"unavailable for a second":     {1, 503, "Unavailable", "1", time.Minute, 0, false, "", 2, nil},
		"full":                         {1, 429, "QueueFull", "", time.Minute, 0, true, "k", 2, nil},
		"without a key":                {1, 429, "QueueFull", "", time.Minute, 0, true, "", 1, client.ErrQueueFull},
		"later than the patience":      {1, 503, "Unavailable", "60", time.Minute, 0, false, "", 1, client.ErrUnavailable},
		"later than the deadline":      {1, 503, "Unavailable", "60", time.Hour, time.Minute, false, "", 1, client.ErrUnavailable},
		"a refusal that time not heal": {1, 409, "SlotBusy", "", time.Minute, 0, true, "k", 1, client.ErrSlotBusy},
		"a fault":                      {1, 500, "Internal", "", time.Minute, 0, false, "", 1, client.ErrInternal},
	} {
		t.Run(name, func(t *testing.T) {
			addr, sent := refusing(t, tc.refusals, tc.status, tc.label, tc.after)
			c := newClient(t, client.Config{Addr: addr, Patience: tc.patience})
			ctx := t.Context()
			if tc.deadline > 0 {
				var cancel context.CancelFunc
				ctx, cancel = context.WithTimeout(ctx, tc.deadline)
				defer cancel()
			}
			var err error
			if tc.submit {
				_, err = c.Submit(ctx, &soltiv1.CreateSpec{}, tc.key)
			} else {
				_, err = c.Get(ctx, someID)
			}
			if !errors.Is(err, tc.want) || sent.Load() != tc.sent {
				t.Errorf("got %v after %d requests, want %v after %d", err, sent.Load(), tc.want, tc.sent)
			}
		})
	}
}

func TestPatienceEndsWithTheContext(t *testing.T) {
	addr, _ := refusing(t, 1, 503, "Unavailable", "30")
	c := newClient(t, client.Config{Addr: addr, Patience: time.Hour})
	why := errors.New("enough")
	ctx, cancel := context.WithCancelCause(t.Context())
	time.AfterFunc(10*time.Millisecond, func() { cancel(why) })
	if _, err := c.Get(ctx, someID); !errors.Is(err, why) {
		t.Errorf("got %v", err)
	}
}

func TestRefusalsAreToldApartByTheirLabel(t *testing.T) {
	for _, label := range []error{
		client.ErrInvalidRequest, client.ErrUnauthenticated, client.ErrPermissionDenied, client.ErrTaskNotFound, client.ErrSlotBusy,
		client.ErrQueueFull, client.ErrTooManyTasks, client.ErrPreconditionFailed, client.ErrPayloadTooLarge, client.ErrNoRunner,
		client.ErrUnenforceable, client.ErrIdempotencyKeyReused, client.ErrInternal, client.ErrUnavailable,
	} {
		err := error(&client.Error{Label: label.Error()[len("refused: "):], Message: "why"})
		if !errors.Is(err, label) || errors.Is(&client.Error{Label: "Other"}, label) || errors.Is(&client.Error{}, label) {
			t.Errorf("%v: told wrong", label)
		}
	}
}

func TestLogStreamsWaitOutRefusalsToo(t *testing.T) {
	for _, patience := range []time.Duration{0, time.Minute} {
		var opened atomic.Int32
		server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			switch opened.Add(1) {
			case 1, 3:
				w.WriteHeader(http.StatusServiceUnavailable)
				write(t, w, `{"error":"Unavailable","message":"later"}`)
			case 2:
				stream(t, w, chunk("a", 0, "one"))
				cutOff(t, w)
			default:
				if got := r.Header.Get("Last-Event-Id"); got != "a" {
					t.Errorf("resumed after %q", got)
				}
				stream(t, w, chunk("b", 1, "two"))
			}
		}))
		t.Cleanup(server.Close)
		events, err := read(t, newClient(t, client.Config{Addr: server.URL, Patience: patience}), client.LogOptions{Follow: true})
		if patience == 0 {
			if !errors.Is(err, client.ErrUnavailable) || opened.Load() != 1 {
				t.Errorf("got %v after %d requests", err, opened.Load())
			}
			continue
		}
		if err != nil || len(events) != 2 {
			t.Errorf("got %v, %v", events, err)
		}
	}
}
