package events_test

import (
	"errors"
	"strings"
	"testing"

	"slotd/actors/events"
	"slotd/messages"
)

// FuzzID: a hub takes ids as they were given out and no other spelling of them, and a refusal fits a line.
func FuzzID(f *testing.F) {
	h := events.New()
	f.Cleanup(h.Close)
	for _, s := range []string{
		"", "-", "0-0", "1-2", h.ID(0), h.ID(1), h.ID(0) + " ", "0" + h.ID(0), strings.ToUpper(h.ID(0)), "-1-1", "+1-1", "1-+1", "1-01", "1-1-1",
		"3w5e11264sgsf-9223372036854775807", "3w5e11264sgsg-0", "1-9223372036854775808", "1_0-1", "\xff-1", strings.Repeat("9", 5000),
	} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, after string) {
		c, err := h.Open(messages.EventQuery{After: after})
		if err != nil {
			var invalid *messages.InvalidError
			if !errors.As(err, &invalid) || len(invalid.Problems) != 1 || !strings.HasPrefix(invalid.Problems[0], "after: ") || len(err.Error()) > 500 || strings.ContainsAny(err.Error(), "\n\r\x00") {
				t.Fatalf("%q: %v", after, err)
			}
			return
		}
		defer c.Close()
		// An id of this life is the place itself; one of another life is the beginning of this one.
		if at := c.Position(); after != at && strings.HasPrefix(after, at[:strings.IndexByte(at, '-')+1]) {
			t.Fatalf("%q stands at %s", after, at)
		}
		again, err := h.Open(messages.EventQuery{After: c.Position()})
		if err != nil || again.Position() != c.Position() {
			t.Fatalf("%q: the place %s cannot be taken again: %v", after, c.Position(), err)
		}
		again.Close()
		if epoch, number, ok := strings.Cut(after, "-"); after != "" && (!ok || epoch == "" || number == "" || strings.Trim(number, "0123456789") != "" || len(number) > 1 && number[0] == '0' || len(epoch) > 1 && epoch[0] == '0') {
			t.Fatalf("%q is no spelling of an id", after)
		}
	})
}
