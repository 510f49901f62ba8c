package pebble

import (
	"math"
	"strings"

	"github.com/cockroachdb/pebble/v2/vfs"
)

// aheadBytes is how far a log is filled with zeros at a time. A whole number of the log's blocks.
const aheadBytes = 256 << 10

// zeros is what a log is filled with.
var zeros [aheadBytes]byte

// ahead fills a log with zeros before they are written over. To sync bytes of a file that has them already takes one write to
// the disk; to sync bytes that make the file longer, or that were only reserved, takes the file system's journal as
// well. Who reads a log takes zeros for its end.
type ahead struct {
	end int64 // how long the file is, as far as that is known
}

// aheadOf returns what fills a file: nil for one that is no log.
func aheadOf(path string, file vfs.File) *ahead {
	if !strings.HasSuffix(path, ".log") {
		return nil
	}
	a := new(ahead)
	if info, err := file.Stat(); err == nil {
		a.end = info.Size() // a log that is used again
	}
	return a
}

// stretch makes the file longer when all it had is written. It gives up for good when that fails: the file does without,
// and a disk that is full or broken says so to whoever writes something that matters.
func (a *ahead) stretch(file vfs.File, written int64) {
	if a == nil || written < a.end {
		return
	}
	end := (written/aheadBytes + 1) * aheadBytes
	if _, err := file.WriteAt(zeros[:end-written], written); err != nil {
		end = math.MaxInt64
	}
	a.end = end
}
