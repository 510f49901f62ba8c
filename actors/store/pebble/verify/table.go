package verify

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"runtime"
	"slices"

	"github.com/cockroachdb/pebble/v2"
	"github.com/cockroachdb/pebble/v2/sstable"
	"golang.org/x/sync/errgroup"

	"slotd/actors/store/pebble/layout"
)

// tableView is what one table holds.
type tableView struct {
	name    string
	size    int64
	entries uint64
	commits uint64 // the greatest counter
	format  meta
	err     error // damage
	failed  error // the disk's
}

// meta is a version of one of the store's own records.
type meta struct {
	seq   pebble.SeqNum
	value []byte
}

// readTables reads every table of a version, one on each processor, and returns the greatest commit counter in them.
func (c *checker) readTables(v *version, found files) (commits uint64, err error) {
	numbers := slices.Sorted(maps.Keys(v.tables))
	views := make([]tableView, len(numbers))
	var group errgroup.Group
	group.SetLimit(runtime.GOMAXPROCS(0))
	for i, number := range numbers {
		views[i].name = fmt.Sprintf("%06d.sst", number)
		if _, ok := found.tables[number]; !ok {
			views[i].err = errors.New("is missing")
			continue
		}
		group.Go(func() error {
			views[i].err = c.guarded(func() error { return c.readTable(&views[i], v.tables[number].size) })
			return nil
		})
	}
	if err := group.Wait(); err != nil {
		return 0, err
	}
	var format meta
	for _, t := range views {
		if t.failed != nil {
			return 0, t.failed
		}
		if t.err != nil {
			c.damaged(t.name, "%v", t.err)
		}
		c.report.Tables++
		c.report.TableBytes += t.size
		c.report.Entries += t.entries
		commits = max(commits, t.commits)
		if t.format.value != nil && t.format.seq >= format.seq {
			format = t.format
		}
	}
	c.format = format.value
	return commits, nil
}

func (c *checker) readTable(t *tableView, size uint64) (err error) {
	f, err := c.disk.Open(c.disk.PathJoin(c.dir, t.name))
	if err != nil {
		t.failed = err
		if errors.Is(err, fs.ErrNotExist) {
			t.failed = nil
			return errors.New("is missing")
		}
		return nil
	}
	file, err := sstable.NewSimpleReadable(f)
	if err != nil {
		t.failed = errors.Join(fmt.Errorf("read %s: %w", t.name, err), f.Close())
		return nil
	}
	if t.size = file.Size(); uint64(t.size) != size {
		return errors.Join(fmt.Errorf("has %d bytes in place of %d", t.size, size), file.Close())
	}
	reader, err := sstable.NewReader(context.Background(), file, sstable.ReaderOptions{})
	if err != nil {
		return errors.Join(t.told(err), file.Close())
	}
	defer func() { err = errors.Join(err, reader.Close()) }()
	if err := reader.ValidateBlockChecksums(); err != nil {
		return t.told(err)
	}
	return t.told(t.iterate(reader))
}

// told sets an error of the disk apart from damage.
func (t *tableView) told(err error) error {
	if err != nil && unreadable(err) {
		t.failed = fmt.Errorf("read %s: %w", t.name, err)
		return nil
	}
	return err
}

// iterate reads every entry: that a block's checksum is right does not say that a footer names the right blocks.
func (t *tableView) iterate(reader *sstable.Reader) (err error) {
	entries, err := reader.NewIter(sstable.NoTransforms, nil, nil, sstable.AssertNoBlobHandles)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, entries.Close()) }()
	var before []byte
	for kv := entries.First(); kv != nil; kv = entries.Next() {
		if bytes.Compare(kv.K.UserKey, before) < 0 {
			return fmt.Errorf("entry %d is out of order", t.entries)
		}
		before = append(before[:0], kv.K.UserKey...)
		t.entries++
		if len(before) == 0 || before[0] != layout.MetaTable || kv.K.Kind() != pebble.InternalKeyKindSet &&
			kv.K.Kind() != pebble.InternalKeyKindSetWithDelete {
			continue
		}
		value, _, err := kv.V.Value(nil)
		if err != nil {
			return err
		}
		if err := t.note(before, kv.K.SeqNum(), value); err != nil {
			return err
		}
	}
	return entries.Error()
}

// note keeps the store's own records.
func (t *tableView) note(key []byte, seq pebble.SeqNum, value []byte) error {
	switch string(key) {
	case layout.CommitsKey:
		counter, err := counterIn(value)
		t.commits = max(t.commits, counter)
		return err
	case layout.FormatKey:
		if t.format.value == nil || seq > t.format.seq {
			t.format = meta{seq: seq, value: bytes.Clone(value)}
		}
	}
	return nil
}
