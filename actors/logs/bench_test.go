package logs

import (
	"bufio"
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"sync"
	"syscall"
	"testing"
	"time"
)

// Each benchmark runs its floor, the least anybody could do, and the real thing in turns, so that both meet the same
// machine. Reported are lines or events a second, the ratio of real to floor, and the processor time of each line of the
// real thing, which a busy machine does not change.

const lineBytes = 100

var benchLine = append(bytes.Repeat([]byte("x"), lineBytes), '\n')

// produce writes n lines into a pipe as fast as it can, as a process would, 64 KiB at a time.
func produce(b *testing.B, n int) *os.File {
	b.Helper()
	r, w, err := os.Pipe()
	if err != nil {
		b.Fatal(err)
	}
	const atOnce = 648
	chunk := bytes.Repeat(benchLine, atOnce)
	go func() {
		for left := n; left > 0; left -= atOnce {
			if _, err := w.Write(chunk[:min(left, atOnce)*len(benchLine)]); err != nil {
				b.Error(err)
				return
			}
		}
		if err := w.Close(); err != nil {
			b.Error(err)
		}
	}()
	return r
}

// turns measures floor and real one after the other.
func turns(b *testing.B, unit string, count int, floor, ours func()) {
	b.Helper()
	var floors, reals, busy time.Duration
	for b.Loop() {
		start := time.Now()
		floor()
		middle, before := time.Now(), processorTime(b)
		ours()
		reals, floors = reals+time.Since(middle), floors+middle.Sub(start)
		busy += processorTime(b) - before
	}
	total := float64(count) * float64(b.N)
	b.ReportMetric(total/floors.Seconds(), "floor-"+unit+"/s")
	b.ReportMetric(total/reals.Seconds(), unit+"/s")
	b.ReportMetric(floors.Seconds()/reals.Seconds(), "of-floor")
	b.ReportMetric(float64(busy.Nanoseconds())/total, "cpu-ns/"+unit)
	b.ReportMetric(0, "ns/op")
}

func processorTime(b *testing.B) time.Duration {
	b.Helper()
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		b.Fatal(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// BenchmarkPublish: from a pipe to files, nobody reads. The floor is a bare reader that splits the pipe into lines, stamps
// each and appends binary frames to a file.
func BenchmarkPublish(b *testing.B) {
	const lines = 2_000_000
	turns(b, "lines", lines, func() { barePublish(b, lines) }, func() { publish(b, 0, lines) })
}

func barePublish(b *testing.B, want int) {
	b.Helper()
	r := produce(b, want)
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
	if err := errors.Join(out.Flush(), f.Close(), r.Close()); err != nil || lines != want {
		b.Fatal(lines, err)
	}
}

// BenchmarkFollow: from a pipe to files and over loopback TCP to every follower. The floor sends each of them the same
// events, encoded before, 64 for each write.
func BenchmarkFollow(b *testing.B) {
	for _, followers := range []int{1, 10, 100} {
		b.Run(fmt.Sprintf("followers=%d", followers), func(b *testing.B) {
			lines := 2_000_000 / followers
			turns(b, "events", lines*followers, func() { bareFollow(b, followers, lines) }, func() { publish(b, followers, lines) })
		})
	}
}

func bareFollow(b *testing.B, followers, lines int) {
	b.Helper()
	payload := appendLine(nil, benchLine[:lineBytes], false)
	one := (&block{header: header{first: 1_000_000, attempt: 1, count: 1, kind: kindStdout}, epoch: 1, payload: payload}).encoded(0)
	batch := bytes.Repeat(one, 64)
	var group sync.WaitGroup
	for range followers {
		conn := sink(b, &group)
		group.Go(func() {
			for left := lines; left > 0; left -= 64 {
				if _, err := conn.Write(batch[:min(left, 64)*len(one)]); err != nil {
					b.Error(err)
					return
				}
			}
			if err := conn.Close(); err != nil {
				b.Error(err)
			}
		})
	}
	group.Wait()
}

// sink returns a connection to somebody who reads and forgets.
func sink(b *testing.B, group *sync.WaitGroup) net.Conn {
	b.Helper()
	l, err := (&net.ListenConfig{}).Listen(b.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		b.Fatal(err)
	}
	conn, err := (&net.Dialer{}).DialContext(b.Context(), "tcp", l.Addr().String())
	if err != nil {
		b.Fatal(err)
	}
	other, err := l.Accept()
	if err != nil {
		b.Fatal(err)
	}
	group.Go(func() {
		buf := make([]byte, 64<<10)
		for {
			if _, err := other.Read(buf); err != nil {
				break
			}
		}
		if err := errors.Join(other.Close(), l.Close()); err != nil {
			b.Error(err)
		}
	})
	return conn
}

// publish runs one attempt of so many lines to its end, with followers.
func publish(b *testing.B, followers, lines int) {
	b.Helper()
	h := newHouse(b, func(c *Config) { c.TaskBytes = 1 << 30 })
	h.begin(1)
	var group sync.WaitGroup
	for range followers {
		c, conn := h.cursor(query(live)), sink(b, &group)
		group.Go(func() {
			events := 0
			for {
				batch, err := c.Next(b.Context())
				if errors.Is(err, io.EOF) {
					break
				}
				if err == nil {
					_, err = conn.Write(batch.Data)
				}
				if err != nil {
					b.Error(err)
					return
				}
				events += batch.Events
			}
			if err := conn.Close(); events != lines+2 || err != nil {
				b.Errorf("%d events, want %d: %v", events, lines+2, err)
			}
			c.Close()
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
	if err := os.RemoveAll(h.config.Dir); err != nil {
		b.Fatal(err)
	}
}
