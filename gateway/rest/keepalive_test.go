package rest_test

import (
	"context"
	"io"
	"net/http"
	"net/http/httptest"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/hashicorp/go-hclog"

	"slotd/gateway"
	"slotd/gateway/ask"
	"slotd/gateway/rest"
	"slotd/messages"
	slotdv1 "slotd/messages/slotd/v1"
)

// timetable is a log whose events come at fixed times after the opening; the last of them is its end.
type timetable struct {
	gateway.Reader
	gateway.Cursor

	opened time.Time
	at     []time.Duration
}

func (l *timetable) Open(context.Context, string, messages.LogQuery) (gateway.Cursor, error) {
	l.opened = time.Now()
	return l, nil
}

func (l *timetable) Next(ctx context.Context) (gateway.LogBatch, error) {
	select {
	case <-time.After(time.Until(l.opened.Add(l.at[0]))):
	case <-ctx.Done():
		return gateway.LogBatch{}, ctx.Err()
	}
	if l.at = l.at[1:]; len(l.at) == 0 {
		return gateway.LogBatch{}, io.EOF
	}
	return gateway.LogBatch{Data: []byte("event"), Events: 1}, nil
}

func (l *timetable) Close() {}

// arrivals notes what a client receives and when.
type arrivals struct {
	header http.Header
	began  time.Time
	seen   []string
}

func (a *arrivals) Header() http.Header { return a.header }
func (a *arrivals) WriteHeader(int)     {}
func (a *arrivals) Flush()              {}

func (a *arrivals) Write(data []byte) (int, error) {
	if len(data) > 0 {
		a.seen = append(a.seen, time.Since(a.began).String()+" "+string(data))
	}
	return len(data), nil
}

func TestNoSilenceIsLongerThanTheKeepAlivePeriod(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := &timetable{at: []time.Duration{0, 5 * time.Second, 29 * time.Second, time.Minute}}
		server, err := rest.New(rest.Config{}, rest.Deps{
			Registry: ask.New(nil, nil), Reader: l, Logs: l, Events: newTransitions(), Version: new(slotdv1.VersionResponse), Logger: hclog.NewNullLogger(),
		})
		if err != nil {
			t.Fatal(err)
		}
		a := &arrivals{header: http.Header{}, began: time.Now()}
		r := httptest.NewRequestWithContext(t.Context(), http.MethodGet, "http://localhost/api/v1/tasks/tsk_1/logs", nil)
		server.Handler().ServeHTTP(a, r)
		const comment = " : keep-alive\n\n"
		want := []string{"0s event", "5s event", "20s" + comment, "29s event", "44s" + comment, "59s" + comment}
		if diff := cmp.Diff(a.seen, want); diff != "" {
			t.Errorf("(-got +want):\n%s", diff)
		}
	})
}
