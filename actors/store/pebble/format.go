package pebble

import (
	"encoding/binary"
	"errors"
	"fmt"
	"time"

	"github.com/cockroachdb/pebble/v2"
	"google.golang.org/protobuf/proto"

	"slotd/actors/store/pebble/layout"
	slotdv1 "slotd/messages/slotd/v1"
)

// identify reads who made the database and how many groups it holds, and writes both into one that is new.
func identify(db *pebble.DB, version string) (commits uint64, err error) {
	format, err := readFormat(db)
	if errors.Is(err, pebble.ErrNotFound) {
		return 0, found(db, version)
	}
	if err != nil {
		return 0, err
	}
	if v := format.GetVersion(); v > FormatVersion {
		return 0, fmt.Errorf("its format %d is newer than %d, which this program knows", v, FormatVersion)
	}
	return readCommits(db)
}

// found writes the first records of a database.
func found(db *pebble.DB, version string) error {
	value, err := proto.Marshal(&slotdv1.StoreFormat{
		Version: FormatVersion, CreatedAt: time.Now().UnixMilli(), CreatedBy: version,
	})
	if err != nil {
		return err
	}
	b := db.NewBatch()
	if err := b.Set([]byte(layout.FormatKey), value, nil); err != nil {
		return err
	}
	if err := b.Set([]byte(layout.CommitsKey), make([]byte, layout.CounterSize), nil); err != nil {
		return err
	}
	return b.Commit(pebble.Sync)
}

func readFormat(from pebble.Reader) (*slotdv1.StoreFormat, error) {
	format := new(slotdv1.StoreFormat)
	if err := get(from, []byte(layout.FormatKey), func(value []byte) error { return proto.Unmarshal(value, format) }); err != nil {
		return nil, fmt.Errorf("read its format: %w", err)
	}
	return format, nil
}

// readCommits returns the counter of the newest group.
func readCommits(from pebble.Reader) (n uint64, err error) {
	err = get(from, []byte(layout.CommitsKey), func(value []byte) error {
		if len(value) != layout.CounterSize {
			return fmt.Errorf("%d bytes in place of %d", len(value), layout.CounterSize)
		}
		n = binary.BigEndian.Uint64(value)
		return nil
	})
	if err != nil {
		return 0, fmt.Errorf("read its commit counter: %w", err)
	}
	return n, nil
}

// get lends the value of a key.
func get(from pebble.Reader, key []byte, use func(value []byte) error) error {
	value, closer, err := from.Get(key)
	if err != nil {
		return err
	}
	return errors.Join(use(value), closer.Close())
}
