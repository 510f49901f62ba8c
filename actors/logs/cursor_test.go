package logs

import (
	"testing"
)

func TestFollowerGetsEverythingThenTheEnd(t *testing.T) {
	h := newHouse(t)
	h.begin(1)
	c := h.cursor(query(live))
	want(t, c, "start 1")
	h.print(1, stdout, "a", "b")
	want(t, c, "a, b")
	h.print(1, stderr, "c")
	h.end(1, 0)
	h.close()
	want(t, c, "c, finish 1")
	if rest := drain(t, c); len(rest) != 0 {
		t.Fatalf("after the end: %v", rest)
	}
	c.Close()
	if got := h.logs.Stats(); got.Hubs != 0 || got.Subscribers != 0 {
		t.Fatalf("left in memory: %+v", got)
	}
	if got := short(h.read(query())); got != "start 1, a, b, c, finish 1" {
		t.Fatalf("replay %q", got)
	}
}
