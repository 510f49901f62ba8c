package events_test

import (
	"context"
	"errors"
	"io"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"google.golang.org/protobuf/proto"

	"slotd/actors/events"
	"slotd/messages"
	slotdv1 "slotd/messages/slotd/v1"
)

func TestWhatIsNoEventIDIsRefused(t *testing.T) {
	w := newWorld(t, events.New())
	w.admit("tsk_1", "s", holder, nil)
	last := w.hub.Last()
	epoch, _, _ := strings.Cut(last, "-")
	for after, says := range map[string]string{
		"x":                            "is not an event id",
		"-":                            "is not an event id",
		"1":                            "is not an event id",
		epoch + "-":                    "is not an event id",
		epoch + "-01":                  "is not an event id",
		epoch + "-+1":                  "is not an event id",
		epoch + "-1-1":                 "is not an event id",
		strings.ToUpper("a" + last):    "is not an event id",
		"3w5e11264sgsg-1":              "is not an event id", // one more than 64 bits hold
		epoch + "-9223372036854775808": "is not an event id",
		strings.Repeat("z", 1000):      "is not an event id",
		w.hub.ID(3):                    "has not happened yet",
	} {
		c, err := w.hub.Open(messages.EventQuery{After: after})
		var invalid *messages.InvalidError
		if !errors.As(err, &invalid) || c != nil || !strings.Contains(err.Error(), says) || len(err.Error()) > 300 {
			t.Errorf("after %.80q: got %v, want that it %s", after, err, says)
		}
	}
	if n := w.hub.Stats().Subscribers; n != 0 {
		t.Errorf("%d subscribers, want none", n)
	}
	if got := read(t, w.open(messages.EventQuery{After: last})); len(got) != 0 {
		t.Errorf("after the newest: got %v", got)
	}
}

// An id of another life says nothing about this one: the reader is told so, and gets all that there is.
func TestAnIDOfAnotherLifeBeginsWithAGap(t *testing.T) {
	w, earlier := newWorld(t, events.New()), newWorld(t, events.New())
	earlier.admit("tsk_1", "s", holder, nil)
	c := w.open(messages.EventQuery{After: earlier.hub.Last()})
	got := read(t, c)
	equal(t, "before anything happened", bodies(got), []proto.Message{&slotdv1.GapEvent{}})
	if got[0].GetId() != w.hub.ID(0) || got[0].GetGap().GetTime() == 0 {
		t.Errorf("got %v, want the id of this life and the time", got[0])
	}
	w.admit("tsk_2", "s", holder, nil)
	for what, c := range map[string]*events.Cursor{
		"the cursor goes on": c,
		"resumed":            w.open(messages.EventQuery{After: got[0].GetId()}),
	} {
		if got := read(t, c); len(got) != 2 || short(got[0]) != "tsk_2" {
			t.Errorf("%s: got %v", what, got)
		}
	}
	got = read(t, w.open(messages.EventQuery{After: earlier.hub.Last(), Task: "tsk_2"}))
	if len(got) != 2 || short(got[0]) != "gap" || short(got[1]) != "tsk_2" {
		t.Errorf("got %v, want a gap and what this life has", got)
	}
}

func TestWhoFallsBehindIsToldHowManyAreMissing(t *testing.T) {
	w := newWorld(t, events.NewSmall(8, 1<<20, 4))
	slow, filtered := w.open(messages.EventQuery{}), w.open(messages.EventQuery{Slot: "none"})
	w.admit(numbered(0), "s", holder, nil) // two events
	first := read(t, slow)
	for n := range 20 {
		w.admit(numbered(n+1), "s", queued, nil)
	}
	oldest := w.hub.Oldest()
	if kept := 22 - oldest + 1; kept < 8 || kept >= 12 {
		t.Errorf("%d events are kept, want 8 and less than a chunk more", kept)
	}
	for what, c := range map[string]*events.Cursor{
		"who reads slowly": slow,
		"who comes back":   w.open(messages.EventQuery{After: first[1].GetId()}),
	} {
		got := read(t, c)
		if gap := got[0].GetGap(); gap.GetSkipped() != oldest-3 || got[0].GetId() != w.hub.ID(oldest-1) {
			t.Errorf("%s: got %v first, want a gap of %d", what, got[0], oldest-3)
		}
		for i, e := range got[1:] {
			if want := w.hub.ID(oldest + uint64(i)); e.GetId() != want {
				t.Errorf("%s: got %s, want %s", what, e.GetId(), want)
			}
		}
		if len(got) != int(22-oldest+1)+1 {
			t.Errorf("%s: got %d events", what, len(got))
		}
	}
	// A gap is a gap, also for who wants other events.
	equal(t, "filtered", bodies(read(t, filtered)), []proto.Message{&slotdv1.GapEvent{Skipped: oldest - 1}})
}

// A reader that wants little is not behind: it has looked at everything.
func TestThePositionMovesOverWhatIsNotWanted(t *testing.T) {
	w := newWorld(t, events.NewSmall(8, 1<<20, 4))
	c := w.open(messages.EventQuery{Slot: "none"})
	for n := range 40 {
		w.admit(numbered(n), "s", queued, nil)
		if got := read(t, c); len(got) != 0 {
			t.Fatalf("got %v", got)
		}
		if c.Position() != w.hub.Last() {
			t.Fatalf("at %s, want %s", c.Position(), w.hub.Last())
		}
	}
}

func TestAReaderWaitsForTheNextEvent(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, events.New())
		c := w.open(messages.EventQuery{})
		got := make(chan []*slotdv1.Event)
		go func() {
			batch, err := c.Next(t.Context())
			if err != nil {
				t.Error(err)
			}
			got <- batch
		}()
		synctest.Wait()
		w.admit("tsk_1", "s", holder, nil)
		if batch := <-got; len(batch) != 2 || short(batch[0]) != "tsk_1" {
			t.Errorf("got %v", batch)
		}
	})
}

func TestAWaitEndsWithItsContextAndLosesNothing(t *testing.T) {
	w := newWorld(t, events.New())
	c := w.open(messages.EventQuery{})
	ctx, cancel := context.WithTimeout(t.Context(), time.Millisecond)
	defer cancel()
	if batch, err := c.Next(ctx); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("got %v, %v", batch, err)
	}
	w.admit("tsk_1", "s", holder, nil)
	if batch, err := c.Next(ctx); err != nil || len(batch) != 2 { // what is there is delivered all the same
		t.Errorf("got %v, %v", batch, err)
	}
}

func TestCursorsEndWithTheHubOnceTheyHaveReadAll(t *testing.T) {
	w := newWorld(t, events.New())
	c, waits := w.open(messages.EventQuery{}), w.open(messages.EventQuery{Slot: "none"})
	ended := make(chan error)
	go func() {
		_, err := waits.Next(t.Context())
		ended <- err
	}()
	w.admit("tsk_1", "s", holder, nil)
	w.hub.Close()
	if err := <-ended; !errors.Is(err, io.EOF) {
		t.Errorf("got %v, want io.EOF", err)
	}
	if got := await(t, c); len(got) != 2 {
		t.Errorf("got %v", got)
	}
	if _, err := c.Next(t.Context()); !errors.Is(err, io.EOF) {
		t.Errorf("got %v, want io.EOF", err)
	}
}

func TestSubscribersAreCounted(t *testing.T) {
	w := newWorld(t, events.New())
	a, b := w.open(messages.EventQuery{}), w.open(messages.EventQuery{})
	w.admit("tsk_1", "s", holder, nil)
	if got := w.hub.Stats(); got.Subscribers != 2 || got.Published != 2 || got.Kept != 2 || got.Bytes == 0 {
		t.Errorf("got %+v", got)
	}
	a.Close()
	a.Close()
	if got := w.hub.Stats().Subscribers; got != 1 {
		t.Errorf("got %d, want 1", got)
	}
	b.Close()
	if _, err := b.Next(t.Context()); !errors.Is(err, io.EOF) {
		t.Errorf("after Close: %v", err)
	}
}

// However fast events come, readers are woken once a millisecond.
func TestReadersAreWokenTogether(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, events.New())
		c := w.open(messages.EventQuery{})
		var batches []int
		done := make(chan struct{})
		go func() {
			defer close(done)
			for {
				batch, err := c.Next(t.Context())
				if err != nil {
					return
				}
				batches = append(batches, len(batch))
			}
		}()
		time.Sleep(time.Second)
		synctest.Wait()
		for n := range 1 + 100 {
			w.admit(numbered(n), "s", queued, nil)
			synctest.Wait() // the reader reads what it is woken for, and waits again
			time.Sleep(10 * time.Microsecond)
		}
		time.Sleep(2 * time.Millisecond)
		w.hub.Close()
		<-done
		// The first wakes it at once, and changes the slot too; then one batch a millisecond.
		if len(batches) > 4 || batches[0] != 2 || sum(batches) != 102 {
			t.Errorf("batches of %v", batches)
		}
	})
}

func sum(list []int) (n int) {
	for _, i := range list {
		n += i
	}
	return n
}

func TestEventsAreSharedByReaders(t *testing.T) {
	w := newWorld(t, events.New())
	a, b := w.open(messages.EventQuery{}), w.open(messages.EventQuery{Task: "tsk_1"})
	w.admit("tsk_1", "s", holder, nil)
	first, second := read(t, a), read(t, b)
	if first[0] != second[0] {
		t.Error("two readers have two messages of one event")
	}
	if slices.Contains(second, first[1]) {
		t.Error("the event of the slot is about no task")
	}
}
