package bench

import (
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2"
	"github.com/gin-gonic/gin"
)

func TestEveryAnsweredSubmissionIsCounted(t *testing.T) {
	var answered atomic.Int64
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if _, err := io.Copy(io.Discard, r.Body); err != nil {
			t.Error(err)
		}
		w.WriteHeader(http.StatusCreated)
		_, _ = fmt.Fprintf(w, `{"taskId":"tsk_%d"}`, answered.Add(1))
	}))
	defer server.Close()
	rate, got, err := submitAll(t.Context(), strings.TrimPrefix(server.URL, "http://"), 3, 10*time.Millisecond)
	if err != nil {
		t.Fatal(err)
	}
	if want := int(answered.Load()); got != want || got <= 3*rehearsal || rate <= 0 {
		t.Errorf("%d counted at %.0f a second, %d answered", got, rate, want)
	}
}

func TestARefusedSubmissionFailsTheMeasurement(t *testing.T) {
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.WriteHeader(http.StatusServiceUnavailable)
	}))
	defer server.Close()
	if _, _, err := submitAll(t.Context(), strings.TrimPrefix(server.URL, "http://"), 3, 10*time.Millisecond); err == nil {
		t.Error("nothing was admitted, and nobody noticed")
	}
}

func TestTheBareServerKeepsWhatItAnswers(t *testing.T) {
	db, err := pebble.Open(t.TempDir(), &pebble.Options{Logger: quiet{}})
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := db.Close(); err != nil {
			t.Error(err)
		}
	}()
	gin.SetMode(gin.ReleaseMode)
	router := gin.New()
	router.POST("/api/v1/tasks", admit(db, 2))
	body, err := encode(queued())
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		body   string
		status int
	}{
		{`{"spec":`, http.StatusBadRequest},
		{string(body), http.StatusCreated},
		{string(body), http.StatusCreated},
		{string(body), http.StatusTooManyRequests},
	} {
		w := httptest.NewRecorder()
		router.ServeHTTP(w, httptest.NewRequestWithContext(t.Context(), http.MethodPost, "/api/v1/tasks", strings.NewReader(c.body)))
		if w.Code != c.status {
			t.Errorf("%s: got %d, want %d", c.body, w.Code, c.status)
		}
	}
	if got, err := count(db); err != nil || got != 2 {
		t.Errorf("%d kept (%v), want 2", got, err)
	}
}

func TestASyncLeavesNothing(t *testing.T) {
	dir := t.TempDir()
	took, err := bareSyncs(dir, 5)
	if err != nil || len(took) != 5 {
		t.Errorf("got %v, %v, want 5 times", took, err)
	}
	if left, err := os.ReadDir(dir); err != nil || len(left) > 0 {
		t.Errorf("left behind: %v (%v)", left, err)
	}
}
