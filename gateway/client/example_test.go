package client_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"strings"
	"time"

	"slotd/gateway/client"
	soltiv1 "slotd/messages/solti/v1"
)

// shell is the spec of a command.
func shell(slot, script string) *soltiv1.CreateSpec {
	return &soltiv1.CreateSpec{
		Slot:      slot,
		TimeoutMs: 60_000,
		Admission: soltiv1.AdmissionStrategy_ADMISSION_STRATEGY_QUEUE,
		Kind: &soltiv1.TaskKind{Kind: &soltiv1.TaskKind_Subprocess{Subprocess: &soltiv1.SubprocessTask{
			Mode: &soltiv1.SubprocessTask_Command{Command: &soltiv1.CommandMode{Command: "sh", Args: []string{"-c", script}}},
		}}},
	}
}

// Submit a task, follow its output and learn how it ended.
func Example() {
	daemon := exampleDaemon()
	defer daemon.Close()
	ctx := context.Background()

	c, err := client.New(client.Config{Addr: daemon.URL}) // left out: the daemon of this machine
	if err != nil {
		log.Fatal(err)
	}
	defer c.Close()

	id, err := c.Submit(ctx, shell("greeting", "echo hello; echo world"), "")
	if err != nil {
		log.Fatal(err)
	}
	for event, err := range c.Logs(ctx, id, client.LogOptions{Tail: client.TailAll, Follow: true}) {
		if err != nil {
			log.Fatal(err)
		}
		if chunk := event.GetChunk(); chunk != nil {
			fmt.Printf("%s\n", chunk.GetLine())
		}
	}
	task, err := c.Wait(ctx, id, client.Terminal)
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(task.GetStatus().GetReason(), task.GetStatus().GetExitCode())
	// Output:
	// hello
	// world
	// Completed 0
}

// What a daemon refuses is told by a label.
func ExampleError() {
	daemon := exampleDaemon()
	defer daemon.Close()
	c, err := client.New(client.Config{Addr: daemon.URL})
	if err != nil {
		log.Fatal(err)
	}
	defer c.Close()

	_, err = c.Submit(context.Background(), shell("busy", "true"), "")
	switch {
	case err == nil:
		fmt.Println("admitted")
	case errors.Is(err, client.ErrSlotBusy), errors.Is(err, client.ErrQueueFull):
		fmt.Println("later:", err)
	default:
		log.Fatal(err)
	}
	// Output:
	// later: slot "busy" is busy
}

// A batch has a result for each spec; one that is refused spoils no other.
func ExampleClient_SubmitBatch() {
	daemon := exampleDaemon()
	defer daemon.Close()
	c, err := client.New(client.Config{Addr: daemon.URL})
	if err != nil {
		log.Fatal(err)
	}
	defer c.Close()

	results, err := c.SubmitBatch(context.Background(), []*soltiv1.CreateSpec{shell("a", "true"), shell("busy", "true")})
	if err != nil {
		log.Fatal(err)
	}
	for _, result := range results {
		if result.Err != nil {
			fmt.Println("refused:", result.Err)
			continue
		}
		fmt.Println("admitted:", result.ID)
	}
	// Output:
	// admitted: tsk_01KAV000000000000000000070
	// refused: slot "busy" is busy
}

// All reads every page; a task that matches the whole time is there exactly once.
func ExampleClient_All() {
	daemon := exampleDaemon()
	defer daemon.Close()
	c, err := client.New(client.Config{Addr: daemon.URL})
	if err != nil {
		log.Fatal(err)
	}
	defer c.Close()

	for task, err := range c.All(context.Background(), client.Filter{Selector: "app in (web, api)"}) {
		if err != nil {
			log.Fatal(err)
		}
		fmt.Println(task.GetMetadata().GetId(), task.GetSpec().GetSlot())
	}
	// Output:
	// tsk_01KAV000000000000000000070 greeting
}

// A daemon beyond this machine: a token from a file that may be replaced, an authority of one's own, a certificate, and
// patience with a daemon that is restarted.
func ExampleNew() {
	c, err := client.New(client.Config{
		Addr:  "https://slotd.example.com:8085",
		Token: client.TokenFile("/run/secrets/slotd-token"),
		TLS: client.TLS{
			CAFile:   "/etc/slotd/ca.pem",
			CertFile: "/etc/slotd/client.pem",
			KeyFile:  "/etc/slotd/client.key",
		},
		Patience: 30 * time.Second,
	})
	if err != nil {
		log.Fatal(err)
	}
	defer c.Close()
}

// A submission with a key may be repeated: it is the same task for 24 hours.
func ExampleClient_Submit_idempotent() {
	c, err := client.New(client.Config{Addr: "unix:///run/slotd.sock", Patience: time.Minute})
	if err != nil {
		log.Fatal(err)
	}
	defer c.Close()
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Minute)
	defer cancel()
	id, err := c.Submit(ctx, shell("invoices", "exec send-invoices"), "invoices-2026-03")
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(id)
}

// exampleDaemon answers the examples as a daemon would.
func exampleDaemon() *httptest.Server {
	say := func(w http.ResponseWriter, status int, body string) {
		w.WriteHeader(status)
		_, _ = io.WriteString(w, body) // the example's output shows a failure
	}
	task := `{"metadata":{"id":"` + someID + `"},"spec":{"slot":"greeting"},"status":{"phase":"TASK_STATUS_SUCCEEDED","attempt":1,"terminal":true,"reason":"Completed","exitCode":0}}`
	mux := http.NewServeMux()
	mux.HandleFunc("POST /api/v1/tasks", func(w http.ResponseWriter, r *http.Request) {
		if body, err := io.ReadAll(r.Body); err != nil || strings.Contains(string(body), `"busy"`) {
			say(w, http.StatusConflict, `{"error":"SlotBusy","message":"slot \"busy\" is busy"}`)
			return
		}
		say(w, http.StatusCreated, `{"taskId":"`+someID+`"}`)
	})
	mux.HandleFunc("POST /api/v1/tasks/batch", func(w http.ResponseWriter, _ *http.Request) {
		say(w, http.StatusOK, `{"results":[{"taskId":"`+someID+`"},{"error":"SlotBusy","message":"slot \"busy\" is busy"}]}`)
	})
	mux.HandleFunc("GET /api/v1/tasks", func(w http.ResponseWriter, _ *http.Request) {
		say(w, http.StatusOK, `{"tasks":[`+task+`],"total":1}`)
	})
	mux.HandleFunc("GET /api/v1/tasks/{id}", func(w http.ResponseWriter, _ *http.Request) {
		say(w, http.StatusOK, `{"task":`+task+`}`)
	})
	mux.HandleFunc("GET /api/v1/tasks/{id}/logs", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "text/event-stream")
		say(w, http.StatusOK, chunk("a", 0, "hello")+chunk("b", 1, "world"))
	})
	return httptest.NewServer(mux)
}
