package rest_test

import (
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"

	"github.com/gin-gonic/gin"
	"github.com/hashicorp/go-hclog"

	"slotd/gateway/ask"
	"slotd/gateway/rest"
	slotdv1 "slotd/messages/slotd/v1"
	soltiv1 "slotd/messages/solti/v1"
)

// BenchmarkRead compares reads over a real connection with a bare gin handler that sends the same bytes.
func BenchmarkRead(b *testing.B) {
	n := &node{tasks: map[string]*soltiv1.TaskData{}}
	for i := range 100 {
		id := fmt.Sprintf("tsk_%026d", i)
		n.tasks[id] = task(id, running, 1)
	}
	server, err := rest.New(rest.Config{}, rest.Deps{
		Registry: ask.New(nil, nil), Reader: n, Logs: n, Version: &slotdv1.VersionResponse{}, Logger: hclog.NewNullLogger(),
	})
	if err != nil {
		b.Fatal(err)
	}
	for name, path := range map[string]string{"get": "/api/v1/tasks/tsk_" + strings.Repeat("0", 26), "list": "/api/v1/tasks"} {
		body := fetch(b, listen(b, server.Handler()), path)
		bare := gin.New()
		bare.GET("/*any", func(c *gin.Context) { c.Data(http.StatusOK, "application/json", body) })
		b.Run(name+"/bare", func(b *testing.B) { read(b, bare, path) })
		b.Run(name+"/slotd", func(b *testing.B) { read(b, server.Handler(), path) })
	}
}

func listen(b *testing.B, handler http.Handler) string {
	b.Helper()
	var lc net.ListenConfig
	l, err := lc.Listen(b.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		b.Fatal(err)
	}
	server := &http.Server{Handler: handler, ReadHeaderTimeout: patience}
	done := make(chan error, 1)
	go func() { done <- server.Serve(l) }()
	b.Cleanup(func() {
		if err := server.Close(); err != nil {
			b.Error(err)
		}
		if err := <-done; !errors.Is(err, http.ErrServerClosed) {
			b.Error(err)
		}
	})
	return "http://" + l.Addr().String()
}

func read(b *testing.B, handler http.Handler, path string) {
	b.Helper()
	url := listen(b, handler)
	b.ReportAllocs()
	b.RunParallel(func(pb *testing.PB) {
		for pb.Next() {
			fetch(b, url, path)
		}
	})
	http.DefaultClient.CloseIdleConnections()
}

func fetch(b *testing.B, url, path string) []byte {
	b.Helper()
	request, err := http.NewRequestWithContext(b.Context(), http.MethodGet, url+path, nil)
	if err != nil {
		b.Fatal(err)
	}
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		b.Fatal(err)
	}
	body, err := io.ReadAll(response.Body)
	if err != nil || response.StatusCode != http.StatusOK {
		b.Fatalf("got %d, %v", response.StatusCode, err)
	}
	if err := response.Body.Close(); err != nil {
		b.Fatal(err)
	}
	return body
}
