package main

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"slotd/gateway/client"
	soltiv1 "slotd/messages/solti/v1"
)

// hush is how long a wait is silent before it tells what it waits for.
const hush = 2 * time.Second

// progress tells a person at a terminal, on one line that is rewritten, what a long wait waits for. Its nil tells
// nothing.
type progress struct {
	app    *app
	client *client.Client
	verb   string
	began  time.Time
	stop   context.CancelFunc
	over   chan struct{}

	mu   sync.Mutex
	left []string
	all  int
}

// progress begins to tell of a wait; end ends it. Without a terminal on stderr, or with -q, it is nil.
func (a *app) progress(ctx context.Context, c *client.Client, verb string, ids ...string) *progress {
	if a.screen == nil || a.quiet {
		return nil
	}
	p := &progress{app: a, client: c, verb: verb, began: a.now(), over: make(chan struct{}), left: slices.Clone(ids), all: len(ids)}
	ctx, p.stop = context.WithCancel(ctx)
	go p.tell(ctx)
	return p
}

// ended says that a task is waited for no longer.
func (p *progress) ended(id string) {
	if p == nil {
		return
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.left = slices.DeleteFunc(p.left, func(other string) bool { return other == id })
}

// end takes the line away for good.
func (p *progress) end() {
	if p == nil {
		return
	}
	p.stop()
	<-p.over
	p.app.screen.clear()
}

func (p *progress) tell(ctx context.Context) {
	defer close(p.over)
	tick := time.NewTicker(p.app.hush / 2)
	defer tick.Stop()
	for began := time.Now(); ; {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
			if text := p.text(ctx, time.Since(began) < p.app.hush); text != "" && ctx.Err() == nil {
				p.app.screen.draw(text, p.app.hush)
			}
		}
	}
}

// text is the line; empty when there is nothing to tell, or it is too early.
func (p *progress) text(ctx context.Context, early bool) string {
	p.mu.Lock()
	left := slices.Clone(p.left)
	p.mu.Unlock()
	if early || len(left) == 0 {
		return ""
	}
	words := []string{left[0]}
	ctx, cancel := context.WithTimeout(ctx, p.app.hush)
	defer cancel()
	if task, err := p.client.Get(ctx, left[0]); err == nil {
		words = append(words, stateText(task, p.app.now()))
	}
	words = append(words, age(p.app.now().Sub(p.began)))
	count := ""
	if p.all > 1 {
		count = fmt.Sprintf("%d of %d, ", len(left), p.all)
	}
	return p.verb + " " + count + strings.Join(words, ", ")
}

// stateText is where a task stands, in a few words.
func stateText(task *soltiv1.TaskData, now time.Time) string {
	status := task.GetStatus()
	text := phaseName(status.GetPhase())
	if n := status.GetAttempt(); n > 0 {
		text += fmt.Sprintf(", attempt %d", n)
	}
	if next := nextText(status, now); next != "" {
		text += ", " + strings.Replace(next, "attempt in", "next in", 1)
	}
	return text
}
