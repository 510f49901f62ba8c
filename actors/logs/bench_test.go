package logs

import (
	"bufio"
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"os"
	"sync"
	"testing"
	"time"
)

const (
	benchLines = 2_000_000
	lineBytes  = 100
)

// produce writes n lines into a pipe as fast as it can, as a process would, 64 KiB at a time.
func produce(b *testing.B, n int) *os.File {
	b.Helper()
	r, w, err := os.Pipe()
	if err != nil {
		b.Fatal(err)
	}
	line := append(bytes.Repeat([]byte("x"), lineBytes), '\n')
	chunk := bytes.Repeat(line, 648)
	go func() {
		for left := n; left > 0; {
			k := min(left, 648)
			if _, err := w.Write(chunk[:k*len(line)]); err != nil {
				b.Error(err)
				return
			}
			left -= k
		}
		if err := w.Close(); err != nil {
			b.Error(err)
		}
	}()
	return r
}

// BenchmarkFloor is a bare reader: it splits the pipe into lines, stamps each and appends binary frames to a file.
func BenchmarkFloor(b *testing.B) {
	for b.Loop() {
		r := produce(b, benchLines)
		f, err := os.Create(b.TempDir() + "/floor")
		if err != nil {
			b.Fatal(err)
		}
		in, out := bufio.NewReaderSize(r, 1<<16), bufio.NewWriterSize(f, 1<<16)
		head := make([]byte, 12, 12+lineBytes)
		lines := 0
		for {
			line, err := in.ReadSlice('\n')
			if errors.Is(err, io.EOF) {
				break
			}
			if err != nil {
				b.Fatal(err)
			}
			binary.LittleEndian.PutUint64(head, uint64(time.Now().UnixMilli()))
			binary.LittleEndian.PutUint32(head[8:], uint32(len(line)-1))
			if _, err := out.Write(append(head, line[:len(line)-1]...)); err != nil {
				b.Fatal(err)
			}
			lines++
		}
		if err := errors.Join(out.Flush(), f.Close(), r.Close()); err != nil || lines != benchLines {
			b.Fatal(lines, err)
		}
	}
	b.ReportMetric(float64(benchLines)*float64(b.N)/b.Elapsed().Seconds(), "lines/s")
}

// BenchmarkPublish reads the same pipe into a hub, with so many followers that take part in it.
func BenchmarkPublish(b *testing.B) {
	for _, followers := range []int{0, 1, 10, 100} {
		b.Run(fmt.Sprintf("followers=%d", followers), func(b *testing.B) {
			lines := benchLines
			if followers > 10 {
				lines /= 10
			}
			for b.Loop() {
				publish(b, followers, lines)
			}
			b.ReportMetric(float64(lines)*float64(b.N)/b.Elapsed().Seconds(), "lines/s")
			if followers > 0 {
				b.ReportMetric(float64(lines)*float64(followers)*float64(b.N)/b.Elapsed().Seconds(), "events/s")
			}
		})
	}
}

func publish(b *testing.B, followers, lines int) {
	h := newHouse(b, func(c *Config) { c.TaskBytes, c.SegmentBytes = 1<<30, 8<<20 })
	h.begin(1)
	var group sync.WaitGroup
	for range followers {
		c := h.cursor(query(live))
		group.Go(func() {
			defer c.Close()
			events := 0
			for {
				batch, err := c.Next(b.Context())
				if errors.Is(err, io.EOF) {
					break
				}
				if err != nil {
					b.Error(err)
					return
				}
				events += batch.Events
			}
			if events != lines+2 {
				b.Errorf("%d events, want %d", events, lines+2)
			}
		})
	}
	r := produce(b, lines)
	w := h.logs.Writer(taskID, 1, stdout)
	if _, err := w.ReadFrom(r); err != nil {
		b.Fatal(err)
	}
	if err := errors.Join(w.Close(), r.Close()); err != nil {
		b.Fatal(err)
	}
	h.end(1, 0)
	h.close()
	group.Wait()
	h.shutdown()
}
