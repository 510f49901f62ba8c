package bench

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"testing/iotest"
)

func TestLinesAreNumberedAndFramedWhole(t *testing.T) {
	const n = 3000 // several blocks
	var pipe, frames bytes.Buffer
	if err := WriteLines(&pipe, n); err != nil {
		t.Fatal(err)
	}
	if got, want := pipe.Len(), n*(lineBytes+1); got != want {
		t.Fatalf("%d bytes written, want %d", got, want)
	}
	got, err := frame(iotest.HalfReader(&pipe), &frames)
	if err != nil || got != n {
		t.Fatalf("got %d lines (%v), want %d", got, err, n)
	}
	rest := frames.Bytes()
	for i := range n {
		length := int(binary.LittleEndian.Uint32(rest))
		stamp, seq := binary.LittleEndian.Uint64(rest[4:]), binary.LittleEndian.Uint64(rest[12:])
		text := rest[20 : 20+length]
		if length != lineBytes || stamp == 0 || seq != uint64(i) || lineNumber(text) != i {
			t.Fatalf("frame %d: length %d, stamp %d, number %d, %q", i, length, stamp, seq, text)
		}
		rest = rest[20+length:]
	}
	if len(rest) > 0 {
		t.Errorf("%d bytes after the last frame", len(rest))
	}
}

func TestFollowerReadsEventsHoweverTheyAreCut(t *testing.T) {
	const n = 200
	stream := "event: run-started\ndata: {}\n\n: alive\n\n" + string(bytes.Join(encodeEvents(n), nil)) + "event: run-finished\ndata: {}\n\n"
	var seen Seen
	if err := seen.read(iotest.OneByteReader(strings.NewReader(stream)), n); err != nil {
		t.Fatal(err)
	}
	if err := seen.Whole(n); err != nil {
		t.Error(err)
	}
	if seen.LastAt.IsZero() {
		t.Error("nobody saw when the last line came")
	}
}

func TestFollowerNoticesEveryKindOfLoss(t *testing.T) {
	chunk := func(number int) string {
		return fmt.Sprintf("event: chunk\ndata: {\"line\":\"%010d text\"}\n\n", number)
	}
	for name, stream := range map[string]string{
		"the end is missing": chunk(0) + chunk(1),
		"one is missing":     chunk(0) + chunk(2) + chunk(3),
		"one comes twice":    chunk(0) + chunk(1) + chunk(1),
		"one too many":       chunk(0) + chunk(1) + chunk(2) + chunk(3),
		"one is damaged":     chunk(0) + strings.Replace(chunk(1), "1", "x", 1) + chunk(2),
		"it lagged":          chunk(0) + chunk(1) + "event: lagged\ndata: {}\n\n" + chunk(2),
		"nothing came":       "",
	} {
		var seen Seen
		if err := seen.read(strings.NewReader(stream), 3); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		if seen.Whole(3) == nil {
			t.Errorf("%s, and the follower noticed nothing: %+v", name, seen)
		}
	}
}

func TestOneFollowerWithLossFailsThemAll(t *testing.T) {
	const n = 100
	var served int
	turn := make(chan struct{}, 1)
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		turn <- struct{}{}
		served++
		batches := encodeEvents(n)
		if served == 2 {
			batches = batches[:1]
		}
		<-turn
		for _, batch := range batches {
			if _, err := w.Write(batch); err != nil {
				return
			}
		}
	}))
	defer server.Close()
	if _, err := FollowAll(t.Context(), server.URL, 3, n, func() error { return nil }); err == nil {
		t.Error("a follower missed lines, and nobody noticed")
	}
}

func BenchmarkFollower(b *testing.B) {
	const n = 100_000
	stream := bytes.Join(encodeEvents(n), nil)
	for b.Loop() {
		var seen Seen
		if err := seen.read(bytes.NewReader(stream), n); err != nil {
			b.Fatal(err)
		}
		if err := seen.Whole(n); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportMetric(float64(b.N)*n/b.Elapsed().Seconds(), "events/s")
}
