package logs

import (
	"bytes"
	"encoding/binary"
	"errors"
	"hash/crc32"
	"math"
	"os"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/hashicorp/go-hclog"
)

// written makes a terminal task of one segment with eight lines and returns the file and the end of each frame in it.
func written(t *testing.T) (h *house, path string, ends []int) {
	t.Helper()
	h = newHouse(t)
	h.begin(1)
	for i := range 8 {
		h.print(1, stdout, "line"+strconv.Itoa(i))
	}
	h.end(1, 0)
	h.close()
	files := segmentFiles(t, h)
	if len(files) != 1 {
		t.Fatalf("files %q", files)
	}
	data := readFile(t, files[0])
	scan(data[prefaceSize:], true, func(at int, _ header, payload []byte, _ bool) {
		ends = append(ends, prefaceSize+at+headerSize+len(payload))
	})
	if len(ends) != 10 || ends[9] != len(data) {
		t.Fatalf("frames end at %v of %d", ends, len(data))
	}
	return h, files[0], ends
}

func readFile(t *testing.T, path string) []byte {
	t.Helper()
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return data
}

func writeFile(t *testing.T, path string, data []byte) {
	t.Helper()
	if err := os.WriteFile(path, data, 0o600); err != nil {
		t.Fatal(err)
	}
}

func TestATornTailIsIgnoredAndLeftAsItIs(t *testing.T) {
	h, path, ends := written(t)
	h.task.terminal = false
	whole := readFile(t, path)
	for size := len(whole) - 1; size >= prefaceSize; size -= 7 {
		if err := os.RemoveAll(h.config.Dir + "/" + taskID); err != nil {
			t.Fatal(err)
		}
		if err := os.Mkdir(h.config.Dir+"/"+taskID, 0o700); err != nil {
			t.Fatal(err)
		}
		writeFile(t, path, whole[:size])
		h.restart()
		frames := 0
		for frames < len(ends) && ends[frames] <= size {
			frames++
		}
		events := h.read(query())
		if frames > 0 && len(events) != frames || frames > 1 && events[frames-1].Line != "line"+strconv.Itoa(frames-2) {
			t.Fatalf("cut to %d bytes: %s", size, short(events))
		}
		// The next life goes on in a file of its own, and clients that saw more than was kept miss nothing of it.
		h.begin(2)
		h.print(2, stdout, "new")
		h.end(2, 0)
		if got := short(h.read(query(after("1-11-1")))); frames > 0 && !strings.HasSuffix(got, "start 2, new, finish 2") {
			t.Fatalf("cut to %d bytes, resumed: %s", size, got)
		}
		if got := readFile(t, path); frames > 0 && !bytes.Equal(got, whole[:size]) {
			t.Fatalf("cut to %d bytes: the file was touched", size)
		}
		h.shutdown()
	}
}

// Whichever bit flips, readers get the other events, a count of the missing ones, and no wrong one.
func TestAFlippedBitIsAGap(t *testing.T) {
	h, path, ends := written(t)
	whole := readFile(t, path)
	want := h.read(query())
	for at := range whole {
		data := slices.Clone(whole)
		data[at] ^= 1 << (at % 8)
		writeFile(t, path, data)
		frame := -1 // the preface, without which the frames still stand
		for at >= prefaceSize && (frame < 0 || ends[frame] <= at) {
			frame++
		}
		got := h.read(query())
		missing := 0
		for i, e := range got {
			if e.Event == "lagged" {
				missing += int(e.Skipped)
				continue
			}
			// The run-started is announced, and the run-finished made up, where those in the file are damaged.
			if e.Event == "run-started" && i > 0 || e.Event == "run-finished" && frame == len(ends)-1 {
				continue
			}
			if n := eventNumber(t, e); frame >= 0 && e.rawFrameSSE != want[n-1].rawFrameSSE || e.String() != want[n-1].String() {
				t.Fatalf("bit of byte %d, frame %d: %v became %v", at, frame, want[n-1], e)
			}
		}
		expected := 1
		if frame < 0 || frame == len(ends)-1 && at >= ends[frame-1]+headerSize {
			expected = 0
		}
		if missing != expected || !strings.HasSuffix(short(got), "finish 1") {
			t.Fatalf("bit of byte %d, frame %d: %s", at, frame, short(got))
		}
		if !bytes.Equal(readFile(t, path), data) {
			t.Fatal("the file was touched")
		}
	}
}

func eventNumber(t *testing.T, e event) uint64 {
	t.Helper()
	id, err := parseID(e.ID)
	if err != nil {
		t.Fatal(err)
	}
	return id.number
}

// What is in a file that cannot be understood stays there, and is a gap where there is reason to think that events were.
func TestASegmentThatCannotBeUnderstoodIsSkipped(t *testing.T) {
	for _, tt := range []struct {
		name, want, warning string
		spoil               func([]byte) []byte
	}{
		{"empty", "start 1, finish 1", "", func([]byte) []byte { return nil }},
		{"short", "start 1, finish 1", "the beginning of the segment is damaged", func(b []byte) []byte { return b[:prefaceSize-1] }},
		{"zeroed", "lagged 1, start 1, finish 1", "the beginning of the segment is damaged", func(b []byte) []byte { return make([]byte, len(b)) }},
		{"another", "lagged 1, start 1, finish 1", "the beginning of the segment is damaged", func([]byte) []byte {
			return bytes.Repeat([]byte("somebody's file"), 50)
		}},
		{"later version", "lagged 1, start 1, finish 1", "the segment was written by a later version", func(b []byte) []byte {
			b[8] = 2
			return append(binary.LittleEndian.AppendUint32(b[:44:44], crc32.Checksum(b[:44], castagnoli)), b[48:]...)
		}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			h, path, _ := written(t)
			spoilt := tt.spoil(readFile(t, path))
			writeFile(t, path, spoilt)
			h.restart()
			var log strings.Builder
			h.logs.logger = hclog.New(&hclog.LoggerOptions{Output: &log})
			for range 2 {
				if got := short(h.read(query())); got != tt.want {
					t.Errorf("got %q", got)
				}
			}
			if got := readFile(t, path); !bytes.Equal(got, spoilt) {
				t.Error("the file was touched")
			}
			if got := strings.Count(log.String(), "damaged, its readers"); got > 1 || (got == 1) != (tt.warning != "") ||
				!strings.Contains(log.String(), tt.warning) {
				t.Errorf("reported %q, want %q once", log.String(), tt.warning)
			}
		})
	}
}

func TestIDsSurviveARestart(t *testing.T) {
	h := newHouse(t)
	h.begin(1)
	h.print(1, stdout, "a", "b")
	c := h.cursor(query(follow))
	first := want(t, c, "start 1, a, b")
	h.restart()
	run := h.task.runs[0]
	h.logs.Record(run)
	if got := short(h.read(query())); got != "start 1, a, b" {
		t.Fatalf("a run that is known was recorded again: %q", got)
	}
	h.end(1, 1)
	h.logs.Record(h.task.runs[0])
	h.begin(2)
	h.print(2, stdout, "c")
	all := h.read(query())
	if got := short(all); got != "start 1, a, b, finish 1, start 2, c" {
		t.Fatalf("got %q", got)
	}
	if diff := cmp.Diff(ids(first), ids(all[:3])); diff != "" {
		t.Errorf("ids have changed:\n%s", diff)
	}
	for i, e := range first {
		if got := short(h.read(query(after(e.ID)))); got != short(all[i+1:]) {
			t.Errorf("after %v: %q", e, got)
		}
	}
	h.restart()
	h.end(2, 0)
	h.close()
	again := h.read(query())
	if diff := cmp.Diff(ids(all), ids(again[:6])); diff != "" {
		t.Errorf("ids have changed:\n%s", diff)
	}
	if files := segmentFiles(t, h); len(files) != 3 {
		t.Errorf("each life writes files of its own: %q", files)
	}
}

// The daemon died between the commit of an end and its record in the log.
func TestAnEndThatWasNotRecordedIsMadeUpFor(t *testing.T) {
	h := newHouse(t)
	h.begin(1)
	h.print(1, stdout, "a")
	h.restart()
	h.begin(2)
	h.print(2, stdout, "b")
	if got := short(h.read(query())); got != "start 1, a, finish 1, start 2, b" {
		t.Errorf("next attempt: %q", got)
	}
	h.restart()
	code, run := int32(3), h.task.runs[1]
	run.FinishedAt, run.ExitCode = 2500, &code
	h.task.terminal = true
	events := h.read(query())
	if got := short(events); got != "start 1, a, finish 1, start 2, b, finish 2" {
		t.Fatalf("terminal: %q", got)
	}
	if last := events[5]; last.ExitCode == nil || *last.ExitCode != 3 || last.FinishedAt != 2500 {
		t.Errorf("the end is %+v", last)
	}
	if again := h.read(query()); !cmp.Equal(ids(events), ids(again)) {
		t.Errorf("ids %v, then %v", ids(events), ids(again))
	}
}

// Lives whose files the disk lost altogether gave out ids too.
func TestIDsOfALostLifeAreUnderstood(t *testing.T) {
	h := newHouse(t)
	h.begin(1)
	h.print(1, stdout, "lost", "lost too")
	lost := h.read(query())[2].ID
	h.shutdown()
	if err := os.RemoveAll(h.config.Dir + "/" + taskID); err != nil {
		t.Fatal(err)
	}
	h.open()
	h.end(1, 1)
	h.begin(2)
	h.print(2, stdout, "new")
	if got := short(h.read(query(after(lost)))); got != "finish 1, start 2, new" {
		t.Errorf("got %q", got)
	}
}

func TestFilesArePrivate(t *testing.T) {
	h, path, _ := written(t)
	for _, p := range []string{path, h.config.Dir + "/" + taskID} {
		info, err := os.Stat(p)
		if err != nil {
			t.Fatal(err)
		}
		if info.Mode().Perm()&0o077 != 0 {
			t.Errorf("%s has mode %v", p, info.Mode())
		}
	}
}

func FuzzSegment(f *testing.F) {
	frame := appendLine(appendLine(make([]byte, headerSize), []byte("a"), false), []byte("bc"), true)
	seal(frame, &header{first: 2, attempt: 1, count: 2, kind: kindStdout})
	start := make([]byte, headerSize)
	seal(start, &header{first: 1, attempt: 1, count: 1, kind: kindStarted})
	end := appendFinish(make([]byte, headerSize), finish{})
	seal(end, &header{first: 4, attempt: 1, count: 1, kind: kindFinished})
	f.Add(slices.Concat(start, frame, end))
	f.Add(slices.Concat(start, frame[:30], end))
	f.Add(slices.Concat(frame, []byte("garbage"), magicBytes, end[:headerSize]))
	f.Add([]byte{})
	dir := f.TempDir()
	f.Fuzz(func(t *testing.T, data []byte) {
		// In one piece and in two, a scan finds the same, and never reads what was not written.
		var whole, split []header
		done := scan(data, true, func(_ int, h header, payload []byte, good bool) {
			if !good {
				return
			}
			whole = append(whole, h)
			b := &block{header: h, payload: payload}
			parseSSE(t, b.encoded(0))
			decodeProto(t, b.encoded(1))
		})
		if done != len(data) {
			t.Fatalf("done with %d of %d bytes", done, len(data))
		}
		keep := func(_ int, h header, _ []byte, good bool) {
			if good {
				split = append(split, h)
			}
		}
		half := len(data) / 2
		done = scan(data[:half], false, keep)
		if done > half {
			t.Fatalf("done with %d of %d bytes", done, half)
		}
		scan(data[done:], true, keep)
		if !slices.Equal(whole, split) {
			t.Fatalf("frames %v, in two pieces %v", whole, split)
		}
		path := dir + "/" + segmentName(1)
		p := preface{first: 1, epoch: 1}
		if err := os.WriteFile(path, append(p.append(nil), data...), 0o600); err != nil {
			t.Fatal(err)
		}
		s, err := scanFile(path, math.MaxUint64)
		if err != nil {
			t.Fatal(err)
		}
		next := uint64(1)
		for i := range s.marks {
			blocks, err := readStretch(path, 1, s.marks[i].offset, make([]byte, s.piece(i).end-s.marks[i].offset), nil)
			if err != nil || len(blocks) == 0 {
				t.Fatalf("stretch %d has %d blocks: %v", i, len(blocks), err)
			}
			for _, b := range blocks {
				if b.first < next {
					t.Fatalf("event %d after %d", b.first, next-1)
				}
				next = b.next()
			}
		}
		if next != s.next && (s.fault == nil || next > s.next) {
			t.Fatalf("ends with %d, the index says %d, %v", next, s.next, s.fault)
		}
	})
}

func FuzzPreface(f *testing.F) {
	p := preface{first: 7, epoch: 3, attempt: 2, over: true, silent: true}
	f.Add(p.append(nil))
	f.Add([]byte(segmentMagic))
	f.Fuzz(func(t *testing.T, data []byte) {
		p, err := parsePreface(data)
		if err != nil {
			if !errors.Is(err, errPreface) {
				t.Fatal(err)
			}
			return
		}
		again, err := parsePreface(p.append(nil))
		if err != nil || again != p {
			t.Fatalf("%+v became %+v, %v", p, again, err)
		}
	})
}
