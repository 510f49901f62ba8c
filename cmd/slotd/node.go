package main

import (
	"context"
	"strings"
	"time"

	soltiv1 "slotd/messages/solti/v1"
)

// NodeConfig is one node, with every default filled in.
type NodeConfig struct {
	Name         string
	Labels       map[string]string
	HTTP, GRPC   string // host:port; empty = not
	Unix         string // absolute path of a socket for HTTP; empty = none
	AllowedHosts []string

	AuthTokens                   string // absolute path of the token file; empty = no tokens
	TLSCert, TLSKey, TLSClientCA string // absolute paths; empty = none
	MaxConnsPerAddr              int

	DataDir     string
	Store       string
	SlotQueue   int
	MaxRunning  int // 0 = no limit
	MaxTasks    int
	Retain      time.Duration
	RetainTasks int
	LogBytes    int64 // of one task
	LogTotal    int64
	RunnerEnv   []string // K=V; the last of a key wins

	ShutdownGrace time.Duration
}

// node is a running slotd as its owner sees it. Its calls come from one goroutine, but for Drain, which may be called
// again while it runs.
type node interface {
	// Addresses are those that it really listens on: a port of 0 has become a number. They are empty when there is none.
	Addresses() addresses

	// Ready returns when the node has recovered, or says why it never will.
	Ready(ctx context.Context) error

	// Failed delivers the error of a listener that broke.
	Failed() <-chan error

	// Running are the tasks with an attempt that is not yet reaped.
	Running() []*soltiv1.TaskData

	// Drain admits nothing more and ends what runs, with no grace longer than the given one; 0 kills at once, and of
	// several calls the shortest grace holds. It returns when nothing runs, or when ctx ends.
	Drain(ctx context.Context, grace time.Duration) error

	// Reload reads tokens and certificates again. On an error what held goes on holding. It returns false when there is
	// nothing to read.
	Reload() (bool, error)

	// Stop ends streams and listeners, kills what still runs and releases everything. It is called once.
	Stop() error
}

type addresses struct{ http, grpc, unix string }

// ready is the line that tells whoever started the daemon where it is.
func (a addresses) ready(data string) string {
	words := []string{"slotd ready"}
	for _, pair := range [][2]string{{"http", a.http}, {"grpc", a.grpc}, {"unix", a.unix}, {"data", data}} {
		if pair[1] != "" {
			words = append(words, pair[0]+"="+pair[1])
		}
	}
	return strings.Join(words, " ")
}
