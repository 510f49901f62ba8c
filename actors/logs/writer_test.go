package logs

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"strings"
	"testing"
	"testing/iotest"
	"time"
	"unicode/utf8"

	"github.com/google/go-cmp/cmp"
)

type line struct {
	Text      string
	Truncated bool
}

var framing = []struct {
	name string
	in   string
	want []line
}{
	{"nothing", "", nil},
	{"one line", "a\n", []line{{"a", false}}},
	{"last line without an end", "a\nb", []line{{"a", false}, {"b", false}}},
	{"empty lines", "\n\n", []line{{"", false}, {"", false}}},
	{"carriage return and newline", "a\r\nb\r\n", []line{{"a", false}, {"b", false}}},
	{"only carriage return and newline", "\r\n", []line{{"", false}}},
	{"two carriage returns", "a\r\r\n", []line{{"a\r", false}}},
	{"carriage return within", "a\rb\n", []line{{"a\rb", false}}},
	{"carriage return at the very end", "a\r", []line{{"a\r", false}}},
	{"NUL", "\x00a\x00\n", []line{{"\x00a\x00", false}}},
	{"invalid UTF-8", "\xff\xfe\n\xc3\n", []line{{"\xff\xfe", false}, {"\xc3", false}}},
	{"as long as may be", text(65536) + "\n", []line{{text(65536), false}}},
	{"as long as may be, carriage return", text(65536) + "\r\n", []line{{text(65536), false}}},
	{"as long as may be, no end", text(65536), []line{{text(65536), false}}},
	{"one too long", text(65537) + "\nb\n", []line{{text(65536), true}, {"b", false}}},
	{"one too long, carriage return", text(65537) + "\r\nb\n", []line{{text(65536), true}, {"b", false}}},
	{"a carriage return too long", text(65536) + "\rx\n", []line{{text(65536), true}}},
	{"a carriage return too long, no end", text(65536) + "\r", []line{{text(65536), true}}},
	{"two carriage returns too long", text(65536) + "\r\r\n", []line{{text(65536), true}}},
	{"one too long, no end", "a\n" + text(65537), []line{{"a", false}, {text(65536), true}}},
	{"ten megabytes", "a\n" + text(10<<20) + "\nb\n", []line{{"a", false}, {text(65536), true}, {"b", false}}},
	{"ten megabytes, no end", text(10 << 20), []line{{text(65536), true}}},
	{"many short lines", strings.Repeat("x\n", 5000), many(5000)},
}

func text(n int) string {
	return strings.Repeat("0123456789abcdef", n/16+1)[:n]
}

func many(n int) []line {
	lines := make([]line, n)
	for i := range lines {
		lines[i].Text = "x"
	}
	return lines
}

// Every way in cuts the same lines, however the input is broken up.
func TestLinesAreCutTheSameWhateverTheReads(t *testing.T) {
	ways := map[string]func(t *testing.T, w *Writer, in string){
		"at once": func(t *testing.T, w *Writer, in string) {
			if n, err := io.WriteString(w, in); n != len(in) || err != nil {
				t.Fatal(n, err)
			}
		},
		"broken up": func(t *testing.T, w *Writer, in string) {
			r := rand.New(rand.NewPCG(1, uint64(len(in))))
			for len(in) > 0 {
				n := min(len(in), 1+r.IntN(max(2, len(in)/50)))
				if _, err := io.WriteString(w, in[:n]); err != nil {
					t.Fatal(err)
				}
				in = in[n:]
			}
		},
		"from a reader": func(t *testing.T, w *Writer, in string) {
			if n, err := w.ReadFrom(iotest.DataErrReader(strings.NewReader(in))); n != int64(len(in)) || err != nil {
				t.Fatal(n, err)
			}
		},
		"from a reader, halves": func(t *testing.T, w *Writer, in string) {
			if n, err := w.ReadFrom(iotest.HalfReader(strings.NewReader(in))); n != int64(len(in)) || err != nil {
				t.Fatal(n, err)
			}
		},
		"from a pipe": func(t *testing.T, w *Writer, in string) { fromPipe(t, w, in, len(in)) },
		"from a pipe, byte by byte": func(t *testing.T, w *Writer, in string) {
			if len(in) > 1<<17 {
				fromPipe(t, w, in, 4093)
				return
			}
			fromPipe(t, w, in, 1)
		},
		"from a file": func(t *testing.T, w *Writer, in string) {
			path := t.TempDir() + "/in"
			if err := os.WriteFile(path, []byte(in), 0o600); err != nil {
				t.Fatal(err)
			}
			f, err := os.Open(path)
			if err != nil {
				t.Fatal(err)
			}
			if n, err := io.Copy(w, f); n != int64(len(in)) || err != nil {
				t.Fatal(n, err)
			}
			if err := f.Close(); err != nil {
				t.Fatal(err)
			}
		},
	}
	for way, write := range ways {
		for _, tt := range framing {
			t.Run(way+"/"+tt.name, func(t *testing.T) {
				h := newHouse(t)
				h.begin(1)
				w := h.logs.Writer(taskID, 1, stderr)
				write(t, w, tt.in)
				if err := w.Close(); err != nil {
					t.Fatal(err)
				}
				h.end(1, 0)
				var got []line
				for i, e := range h.read(query(stream(stderr))) {
					if e.Event != "chunk" {
						continue
					}
					if e.Seq != uint64(i-1) || e.Stream != "stderr" || e.Attempt != 1 || e.TS != 5000 {
						t.Fatalf("event %d is %+v", i, e)
					}
					got = append(got, line{e.Line, e.Truncated})
				}
				var want []line
				for _, l := range tt.want {
					want = append(want, line{asText(l.Text), l.Truncated})
				}
				if diff := cmp.Diff(want, got); diff != "" {
					t.Errorf("lines (-want +got):\n%.2000s", diff)
				}
			})
		}
	}
}

// asText is what a client sees of bytes: each invalid one becomes one U+FFFD.
func asText(s string) string {
	var b strings.Builder
	for len(s) > 0 {
		r, size := utf8.DecodeRuneInString(s)
		b.WriteRune(r)
		s = s[size:]
	}
	return b.String()
}

func fromPipe(t *testing.T, w *Writer, in string, piece int) {
	t.Helper()
	r, out, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan error, 1)
	go func() {
		rest := in
		for len(rest) > 0 {
			n := min(piece, len(rest))
			if _, err := io.WriteString(out, rest[:n]); err != nil {
				done <- err
				return
			}
			rest = rest[n:]
		}
		done <- out.Close()
	}()
	n, err := w.ReadFrom(r)
	if err := errors.Join(err, <-done, r.Close()); n != int64(len(in)) || err != nil {
		t.Fatal(n, err)
	}
}

func TestALineIsPublishedWhileThePipeStaysOpen(t *testing.T) {
	h := newHouse(t)
	h.begin(1)
	c := h.cursor(query(live))
	want(t, c, "start 1")
	r, out, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	w := h.logs.Writer(taskID, 1, stdout)
	done := make(chan error, 1)
	go func() {
		_, err := io.Copy(w, r)
		done <- err
	}()
	for i := range 3 {
		if _, err := fmt.Fprintf(out, "line %d\nbegun ", i); err != nil {
			t.Fatal(err)
		}
		expected := "line 0"
		if i > 0 {
			expected = fmt.Sprintf("begun line %d", i)
		}
		want(t, c, expected)
	}
	// What holds the pipe open can be given up.
	if err := r.SetReadDeadline(time.Unix(1, 0)); err != nil {
		t.Fatal(err)
	}
	if err := <-done; !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Fatal(err)
	}
	if err := errors.Join(w.Close(), out.Close(), r.Close()); err != nil {
		t.Fatal(err)
	}
	want(t, c, "begun ")
}

func TestAQuietWriterHoldsNoBuffers(t *testing.T) {
	h := newHouse(t)
	h.begin(1)
	w := h.logs.Writer(taskID, 1, stdout)
	for range 3 {
		if _, err := io.WriteString(w, text(40_000)); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := io.WriteString(w, "\nprompt: "); err != nil {
		t.Fatal(err)
	}
	if got := cap(w.partial); got > idleBytes+len("prompt: ") {
		t.Errorf("holds %d bytes for 8", got)
	}
	if w.frame != nil {
		t.Error("holds a frame")
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	if _, err := w.Write([]byte("late")); !errors.Is(err, io.ErrClosedPipe) {
		t.Errorf("write after close: %v", err)
	}
	if _, err := w.ReadFrom(strings.NewReader("late")); !errors.Is(err, io.ErrClosedPipe) {
		t.Errorf("read after close: %v", err)
	}
	if err := w.Close(); err != nil {
		t.Error(err)
	}
}

func TestALateWritersLinesAreDropped(t *testing.T) {
	h := newHouse(t)
	h.begin(1)
	w := h.logs.Writer(taskID, 1, stdout)
	if _, err := w.Write([]byte("in time\n")); err != nil {
		t.Fatal(err)
	}
	h.end(1, 0)
	if _, err := w.Write([]byte("late\n")); err != nil {
		t.Fatal(err)
	}
	h.begin(2)
	if _, err := w.Write([]byte("later\nno end")); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	h.end(2, 0)
	if got := short(h.read(query())); got != "start 1, in time, finish 1, start 2, finish 2" {
		t.Errorf("got %q", got)
	}
}

func TestLinesBeforeTheirRunStartedBringIt(t *testing.T) {
	h := newHouse(t)
	h.print(1, stdout, "early")
	h.begin(1)
	h.end(1, 0)
	if got := short(h.read(query())); got != "start 1, early, finish 1" {
		t.Errorf("got %q", got)
	}
}

// A block is bounded whatever it is made of, so that a batch is.
func TestBlocksAreBounded(t *testing.T) {
	for _, in := range []string{strings.Repeat("\n", 1<<20), strings.Repeat(text(65536)+"\n", 40)} {
		h := newHouse(t)
		h.begin(1)
		c := h.cursor(query(live))
		w := h.logs.Writer(taskID, 1, stdout)
		if _, err := w.Write([]byte(in)); err != nil {
			t.Fatal(err)
		}
		if err := w.Close(); err != nil {
			t.Fatal(err)
		}
		h.end(1, 0)
		h.close()
		events := 0
		for {
			b, err := c.Next(deadline(t))
			if errors.Is(err, io.EOF) {
				break
			}
			if err != nil {
				t.Fatal(err)
			}
			if len(b.Data) > 4*batchBytes {
				t.Fatalf("batch of %d bytes", len(b.Data))
			}
			events += bytes.Count(b.Data, []byte("event: chunk\n"))
		}
		if lines := strings.Count(in, "\n"); events != lines {
			t.Errorf("%d lines, want %d", events, lines)
		}
	}
}

var _ io.ReaderFrom = (*Writer)(nil)
