// Package mark is what the processes of tasks tell of themselves past slotd, so that overlap and loss are seen from
// outside.
//
// A process that a task starts appends a [Mark] at its begin and at its end to one file that all processes share
// ([Pad]), and signs in at its slot ([Enter]), where it sees who of the slot's earlier attempts is still alive. Both are
// single steps of the kernel: a process that is killed has made its mark or has not.
package mark

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"

	"golang.org/x/sys/unix"
)

// Kind says what a mark tells.
type Kind string

// The leader of an attempt makes a Start first and, unless it is killed, an End last. What it forks off makes a Child.
// An Overlap says that the process met a living process of another attempt in its slot.
const (
	Start   Kind = "start"
	End     Kind = "end"
	Child   Kind = "child"
	Overlap Kind = "overlap"
)

// Mark is one line of the file.
type Mark struct {
	Kind    Kind   `json:"kind"`
	Life    int    `json:"life"` // of the daemon that started the attempt, from 1
	Slot    string `json:"slot"`
	Task    string `json:"task"`
	Attempt uint32 `json:"attempt"`
	PID     int    `json:"pid"`
	Born    uint64 `json:"born"` // start of the process, clock ticks since boot
	Boot    int64  `json:"boot"` // when the mark was made, nanoseconds since boot: it never goes back
	Wall    int64  `json:"wall"` // the same, Unix nanoseconds

	Code  int    `json:"code,omitempty"`  // End: what it exits with
	Told  bool   `json:"told,omitempty"`  // End: because of a SIGTERM
	Lines int    `json:"lines,omitempty"` // End: how many it has written to each stream
	Other string `json:"other,omitempty"` // Overlap: who was met
}

func (m Mark) String() string {
	line, err := json.Marshal(m)
	if err != nil {
		return err.Error()
	}
	return string(line)
}

// Now stamps the mark with the time.
func (m Mark) Now() (Mark, error) {
	var boot, wall unix.Timespec
	if err := errors.Join(unix.ClockGettime(unix.CLOCK_BOOTTIME, &boot), unix.ClockGettime(unix.CLOCK_REALTIME, &wall)); err != nil {
		return m, fmt.Errorf("read the clocks: %w", err)
	}
	m.Boot, m.Wall = boot.Nano(), wall.Nano()
	return m, nil
}

// Pad is the file of marks, open for appending.
type Pad struct{ file *os.File }

// OpenPad opens the file for a writer, and makes it when it is missing.
func OpenPad(path string) (Pad, error) {
	file, err := os.OpenFile(path, os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o600)
	return Pad{file}, err
}

// Write stamps the mark and appends it with one write.
func (p Pad) Write(m Mark) error {
	m, err := m.Now()
	if err != nil {
		return err
	}
	_, err = p.file.WriteString(m.String() + "\n")
	return err
}

// Reader reads the file of marks as it grows. The zero offset is its beginning.
type Reader struct {
	Path   string
	offset int64
}

// Next returns the marks that were made since the last call. A file that nobody has made yet has none.
func (r *Reader) Next() ([]Mark, error) {
	file, err := os.Open(r.Path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	text, err := io.ReadAll(io.NewSectionReader(file, r.offset, 1<<62))
	if err = errors.Join(err, file.Close()); err != nil {
		return nil, err
	}
	var all []Mark
	for {
		line, rest, whole := bytes.Cut(text, []byte("\n"))
		if !whole {
			return all, nil
		}
		var m Mark
		if err := json.Unmarshal(line, &m); err != nil {
			return nil, fmt.Errorf("mark at byte %d, %q: %w", r.offset, line, err)
		}
		all = append(all, m)
		r.offset += int64(len(line)) + 1
		text = rest
	}
}
