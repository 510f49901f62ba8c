package bench

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"os"
	"time"
)

func lines(c Config) Section {
	return Section{
		Name: "lines",
		About: fmt.Sprintf("One process writes %s lines of %d bytes as fast as it can, and nobody follows: from its start until all "+
			"lines are in files and it is reaped. The floor splits the pipe into lines, stamps each and appends binary frames to a file.",
			number(float64(c.Lines)), lineBytes),
		Probes: []Probe{{
			Metrics: []Metric{{Name: "bare reader to a file", Unit: "lines/s"}},
			Measure: func(ctx context.Context) ([]float64, error) {
				took, err := bareReader(ctx, c)
				return []float64{PerSecond(c.Lines, took)}, err
			},
		}, {
			Metrics: []Metric{{
				Name: "slotd, no follower", Unit: "lines/s", Floor: "bare reader to a file", Bound: Bound{OfFloor: 0.7},
			}},
			Measure: func(ctx context.Context) ([]float64, error) {
				took, err := slotdLines(ctx, c)
				return []float64{PerSecond(c.Lines, took)}, err
			},
		}},
	}
}

// bareReader starts the writer and keeps what it says in a file.
func bareReader(ctx context.Context, c Config) (took time.Duration, err error) {
	file, err := os.CreateTemp(c.Dir, "lines-*")
	if err != nil {
		return 0, err
	}
	defer func() { err = errors.Join(err, os.Remove(file.Name())) }()

	start := time.Now()
	cmd := c.child(ctx, childWrite, c.Lines)
	pipe, err := cmd.StdoutPipe()
	if err != nil {
		return 0, errors.Join(err, file.Close())
	}
	if err := cmd.Start(); err != nil {
		return 0, errors.Join(err, file.Close())
	}
	n, err := frame(pipe, file)
	err = errors.Join(err, cmd.Wait(), file.Close())
	took = time.Since(start)
	if err == nil && n != c.Lines {
		err = fmt.Errorf("%d lines arrived, want %d", n, c.Lines)
	}
	return took, err
}

// frame copies lines from a pipe as binary frames: length (4 bytes), Unix nanoseconds (8), number (8), the line. It
// returns how many there were. A last line without a newline is not one.
func frame(r io.Reader, w io.Writer) (n int, err error) {
	in, out := make([]byte, 4*blockBytes), make([]byte, 0, 4*blockBytes)
	kept := 0 // bytes at the head of in that belong to a line whose end has not come yet
	for {
		got, readErr := r.Read(in[kept:])
		rest := in[:kept+got]
		for {
			end := bytes.IndexByte(rest, '\n')
			if end < 0 {
				break
			}
			out = binary.LittleEndian.AppendUint32(out, uint32(end))
			out = binary.LittleEndian.AppendUint64(out, uint64(time.Now().UnixNano()))
			out = binary.LittleEndian.AppendUint64(out, uint64(n))
			out = append(out, rest[:end]...)
			rest = rest[end+1:]
			n++
			if len(out) > 3*blockBytes {
				if _, err := w.Write(out); err != nil {
					return n, err
				}
				out = out[:0]
			}
		}
		kept = copy(in, rest)
		if errors.Is(readErr, io.EOF) {
			_, err := w.Write(out)
			return n, err
		}
		if readErr != nil {
			return n, readErr
		}
		if kept == len(in) {
			return n, fmt.Errorf("a line of more than %d bytes", kept)
		}
	}
}
