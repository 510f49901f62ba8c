package verify

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"

	"github.com/cockroachdb/pebble/v2"
	"github.com/cockroachdb/pebble/v2/batchrepr"
	"github.com/cockroachdb/pebble/v2/record"
	"github.com/cockroachdb/pebble/v2/wal"

	"slotd/actors/store/pebble/layout"
)

// readLogs reads what Pebble will replay, from the first log that is not in the tables, and returns the commit counter
// of the newest group in tables and logs.
func (c *checker) readLogs(first, commits uint64, found files) (uint64, error) {
	if len(found.logs) == 0 {
		return commits, nil
	}
	logs, err := wal.Scan(wal.Dir{FS: c.disk, Dirname: c.dir})
	if err != nil {
		return 0, err
	}
	replayed := found.logs
	for len(replayed) > 0 && replayed[0].number < first {
		replayed = replayed[1:]
	}
	for i, log := range replayed {
		if log.segment != 0 {
			c.damaged(log.name, "is a log that was failed over, which slotd never does")
			continue
		}
		logical, ok := logs.Get(wal.NumWAL(log.number))
		if !ok || logical.NumSegments() != 1 {
			c.damaged(log.name, "has %d parts", logical.NumSegments())
			continue
		}
		reader := &logReader{checker: c, log: log, commits: commits, join: i == 0, last: i == len(replayed)-1}
		if err := c.guardedLog(reader, logical); err != nil {
			return 0, err
		}
		c.report.Logs++
		commits = reader.commits
	}
	return commits, nil
}

func (c *checker) guardedLog(r *logReader, logical wal.LogicalLog) error {
	var failed error
	err := c.guarded(func() error {
		failed = r.read(logical)
		return nil
	})
	if err != nil {
		c.damaged(r.log.name, "%v", err)
	}
	return failed
}

// logReader reads one log.
type logReader struct {
	*checker

	log     logFile
	commits uint64 // the counter of the group before
	join    bool   // that is the counter of the tables, which may be ahead
	last    bool
}

func (r *logReader) read(logical wal.LogicalLog) (err error) {
	reader := logical.OpenForRead()
	defer func() { err = errors.Join(err, reader.Close()) }()
	for {
		rec, at, err := reader.NextRecord()
		if err != nil {
			return r.end(at.Physical, err)
		}
		group, err := io.ReadAll(rec)
		if err != nil {
			return fmt.Errorf("read %s: %w", r.log.name, err)
		}
		r.report.Groups++
		if err := r.group(group); err != nil {
			r.damaged(r.log.name, "the group at %d: %v", at.Physical, err)
			return nil
		}
	}
}

// group looks whether a group follows the one before.
func (r *logReader) group(repr []byte) error {
	g, err := decodeGroup(repr)
	if err != nil {
		return err
	}
	if g.format != nil {
		r.format = g.format
	}
	if g.counter == 0 && g.meta {
		return nil // the store's own beginning
	}
	return r.follows(g.counter)
}

// group is what verification wants to know of one.
type group struct {
	counter uint64
	meta    bool   // all keys are the store's own
	format  []byte // the format record, if it is in there
}

func decodeGroup(repr []byte) (group, error) {
	g := group{meta: true}
	header, ok := batchrepr.ReadHeader(repr)
	if !ok {
		return g, errors.New("is no batch")
	}
	entries := uint32(0)
	for batch := batchrepr.Read(repr); ; {
		kind, key, value, ok, err := batch.Next()
		if err != nil {
			return g, err
		}
		if !ok {
			break
		}
		if kind != pebble.InternalKeyKindLogData {
			entries++
		}
		g.meta = g.meta && len(key) > 0 && key[0] == layout.MetaTable
		switch {
		case kind != pebble.InternalKeyKindSet:
		case string(key) == layout.FormatKey:
			g.format = append([]byte(nil), value...)
		case string(key) == layout.CommitsKey:
			if g.counter, err = counterIn(value); err != nil {
				return g, err
			}
		}
	}
	if entries != header.Count {
		return g, fmt.Errorf("has %d entries in place of %d", entries, header.Count)
	}
	return g, nil
}

func (r *logReader) follows(counter uint64) error {
	before := r.commits
	joined := r.join && counter > 0 && counter <= before+1
	r.join = false
	switch {
	case counter == 0:
		return errors.New("has no commit counter")
	case joined, counter == before+1:
		r.commits = counter
		return nil
	case counter > before+1:
		r.commits = counter
		return fmt.Errorf("commits %d to %d are missing before it", before+1, counter-1)
	default:
		return fmt.Errorf("is commit %d, after %d", counter, before)
	}
}

// end decides what it means that a log cannot be read any further.
func (r *logReader) end(at int64, why error) error {
	stopped := errors.Is(why, io.EOF) || errors.Is(why, record.ErrUnexpectedEOF)
	if !stopped && (unreadable(why) || !isRecord(why)) {
		return fmt.Errorf("read %s: %w", r.log.name, why)
	}
	start := at - at%blockSize
	data, err := r.readFrom(r.log.name, start)
	if err != nil {
		return err
	}
	r.report.LogBytes += start + int64(len(data))
	number := uint32(r.log.number)
	t := tailOf(data, int(at-start), syncHeader, func(k chunk) bool { return !k.legacy && k.log == number })
	bad := start + int64(t.bad)
	closed := trailer(data, t.bad, number)
	for _, k := range t.behind {
		if k.synced > uint64(bad) || closed || !r.last || r.proves(k, data) {
			r.damaged(r.log.name, "is damaged at %d: a later write says that it was whole", bad)
			return nil
		}
	}
	if !stopped || !r.last && !errors.Is(why, io.EOF) {
		r.damaged(r.log.name, "is damaged at %d: %v", bad, why)
		return nil
	}
	if closed || t.last <= int(at-start) || t.foreign && t.bad == int(at-start) && !ours(data, t.bad, number) {
		return nil
	}
	r.report.Torn = append(r.report.Torn, Torn{File: r.log.name, Offset: at, Bytes: start + int64(t.last) - at})
	return nil
}

// proves says that a group behind the last one that can be read is so far ahead that the one in between was synced once.
// Pebble's own offsets say less: it counts only a part of what it has synced, and its first log has none.
func (r *logReader) proves(k chunk, data []byte) bool {
	if !k.whole {
		return false
	}
	g, err := decodeGroup(data[k.body:k.end])
	return err == nil && g.counter > r.commits+layout.InFlight
}

// isRecord says that an error is about what a log holds.
func isRecord(err error) bool {
	return errors.Is(err, record.ErrInvalidChunk) || errors.Is(err, record.ErrZeroedChunk) || pebble.IsCorruptionError(err)
}

func counterIn(value []byte) (uint64, error) {
	if len(value) != layout.CounterSize {
		return 0, fmt.Errorf("its commit counter has %d bytes", len(value))
	}
	return binary.BigEndian.Uint64(value), nil
}
