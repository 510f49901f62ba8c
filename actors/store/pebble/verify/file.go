package verify

import (
	"cmp"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"slices"
	"strconv"
	"strings"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/cockroachdb/pebble/v2/vfs/atomicfs"
	"github.com/cockroachdb/pebble/v2/wal"
)

// files is what is in a store's directory, by number.
type files struct {
	tables    map[uint64]string
	logs      []logFile // in the order of their numbers
	manifest  string    // the one that counts; empty when no marker names one
	options   string    // the newest
	engine    uint64    // Pebble's format major version; 0 without its marker
	badMarker string    // a marker whose name cannot be read
}

type logFile struct {
	number  uint64
	segment uint64 // 0 but for logs that were failed over, which slotd does not do
	name    string
}

func list(disk vfs.FS, dir string) (files, error) {
	f := files{tables: map[uint64]string{}}
	names, err := disk.List(dir)
	if errors.Is(err, fs.ErrNotExist) {
		return f, nil
	}
	if err != nil {
		return f, fmt.Errorf("read the store's directory: %w", err)
	}
	var newest uint64
	for _, name := range names {
		if number, ok := numbered(name, "", ".sst"); ok {
			f.tables[number] = name
		} else if number, segment, ok := wal.ParseLogFilename(name); ok {
			f.logs = append(f.logs, logFile{number: uint64(number), segment: uint64(segment), name: name})
		} else if number, ok := numbered(name, "OPTIONS-", ""); ok && number >= newest {
			newest, f.options = number, name
		}
	}
	slices.SortFunc(f.logs, func(a, b logFile) int {
		return cmp.Or(cmp.Compare(a.number, b.number), cmp.Compare(a.segment, b.segment))
	})
	return f.mark(disk, dir)
}

// mark reads the markers: empty files that carry a value in their names.
func (f files) mark(disk vfs.FS, dir string) (files, error) {
	manifest, err := atomicfs.ReadMarker(disk, dir, "manifest")
	if err != nil && !unreadable(err) {
		f.badMarker = "marker.…"
		return f, nil
	}
	if err != nil {
		return f, err
	}
	f.manifest = manifest
	version, err := atomicfs.ReadMarker(disk, dir, "format-version")
	if err != nil || version == "" {
		return f, err
	}
	if f.engine, err = strconv.ParseUint(version, 10, 64); err != nil {
		f.badMarker = "marker.format-version…" + version
	}
	return f, nil
}

func numbered(name, before, after string) (uint64, bool) {
	digits, ok := strings.CutPrefix(name, before)
	if !ok {
		return 0, false
	}
	if digits, ok = strings.CutSuffix(digits, after); !ok {
		return 0, false
	}
	number, err := strconv.ParseUint(digits, 10, 64)
	return number, err == nil
}

// read returns a whole file.
func (c *checker) read(name string) ([]byte, error) { return c.readFrom(name, 0) }

// readFrom returns a file from an offset on.
func (c *checker) readFrom(name string, offset int64) (data []byte, err error) {
	f, err := c.disk.Open(c.disk.PathJoin(c.dir, name))
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	info, err := f.Stat()
	if err != nil {
		return nil, err
	}
	data = make([]byte, max(0, info.Size()-offset))
	n, err := f.ReadAt(data, offset)
	if err != nil && !errors.Is(err, io.EOF) {
		return nil, fmt.Errorf("read %s: %w", name, err)
	}
	return data[:n], nil
}
