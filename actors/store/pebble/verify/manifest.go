package verify

import (
	"bytes"
	"errors"
	"io"
	"io/fs"

	"github.com/cockroachdb/pebble/v2/record"
)

// version is what a manifest says when it has been read to its end.
type version struct {
	minLog   uint64 // the first log that is not in the tables
	comparer string
	tables   map[uint64]table
}

type table struct {
	level int
	size  uint64
}

// comparer is the order of keys in every store of ours.
const comparer = "leveldb.BytewiseComparator"

// readManifest returns nil when there is no version that could be relied on; the damage is noted then.
func (c *checker) readManifest(name string) (*version, error) {
	c.report.Manifest = name
	data, err := c.read(name)
	if errors.Is(err, fs.ErrNotExist) {
		c.damaged(name, "is missing")
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	v := &version{tables: map[uint64]table{}}
	edits := 0
	records := record.NewReader(bytes.NewReader(data), 0)
	for {
		at := int(records.Offset())
		edit, err := nextEdit(records)
		if errors.Is(err, io.EOF) || record.IsInvalidRecord(err) {
			if !c.manifestEnds(name, data, at) {
				return nil, nil
			}
			break
		}
		if err == nil {
			err = v.apply(edit)
		}
		if err != nil {
			c.damaged(name, "the record at %d: %v", at, err)
			return nil, nil
		}
		edits++
	}
	if edits == 0 {
		c.damaged(name, "has no record")
		return nil, nil
	}
	if v.comparer != comparer {
		c.damaged(name, "names the comparer %q in place of %q", v.comparer, comparer)
		return nil, nil
	}
	return v, nil
}

func nextEdit(records *record.Reader) (*edit, error) {
	r, err := records.Next()
	if err != nil {
		return nil, err
	}
	data, err := io.ReadAll(r)
	if err != nil {
		return nil, err
	}
	return decodeEdit(data)
}

// manifestEnds says that nothing follows the last record that could be read but a write that was cut off. Pebble syncs
// each record before the next, so one that begins behind an unreadable one proves that this one was whole once.
func (c *checker) manifestEnds(name string, data []byte, at int) bool {
	t := tailOf(data, at, legacyHeader, func(k chunk) bool { return k.legacy })
	for _, k := range t.behind {
		if k.begins {
			c.damaged(name, "is damaged at %d of %d bytes: later records are whole", t.bad, len(data))
			return false
		}
	}
	if t.last > at {
		c.report.Torn = append(c.report.Torn, Torn{File: name, Offset: int64(at), Bytes: int64(t.last - at)})
	}
	return true
}

// apply makes the next version. Pebble refuses the same contradictions.
func (v *version) apply(e *edit) error {
	if e.comparer != "" {
		v.comparer = e.comparer
	}
	if e.minLog != 0 {
		v.minLog = e.minLog
	}
	// A table that moves to another level is deleted and made in one edit.
	for _, gone := range e.deleted {
		if t, ok := v.tables[gone.number]; !ok || t.level != gone.level {
			return errorf("deletes table %06d of level %d, which is not there", gone.number, gone.level)
		}
		delete(v.tables, gone.number)
	}
	for _, made := range e.made {
		if _, ok := v.tables[made.number]; ok {
			return errorf("makes table %06d, which is there already", made.number)
		}
		v.tables[made.number] = table{level: made.level, size: made.size}
	}
	return nil
}
