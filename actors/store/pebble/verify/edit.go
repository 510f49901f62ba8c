package verify

import (
	"encoding/binary"
	"errors"
	"fmt"
)

// edit is one record of a manifest: how a version follows from the one before. Its encoding is that of Pebble's
// internal/manifest/version_edit.go: tags, each with its fields.
type edit struct {
	comparer string
	minLog   uint64 // 0 = as before
	deleted  []place
	made     []newTable
}

type place struct {
	level  int
	number uint64
}

type newTable struct {
	place

	size uint64
}

// The tags that slotd's stores have.
const (
	tagComparator     = 1
	tagLogNumber      = 2
	tagNextFileNumber = 3
	tagLastSequence   = 4
	tagCompactPointer = 5
	tagDeletedFile    = 6
	tagNewFile        = 7
	tagPrevLogNumber  = 9
	tagNewFile2       = 100
	tagNewFile4       = 103
	tagNewFile5       = 104 // with range keys

	customTerminate = 1
	customUnsafe    = 1 << 6 // from here on tags must not be passed over
)

// The tags of what slotd never makes: virtual tables come from ingestion, blob files from a policy that is off.
var foreignTags = map[uint64]string{
	105: "a table that backs virtual tables", 106: "a table that backs virtual tables",
	107: "a blob file", 108: "a blob file",
	200: "a column family", 201: "a column family", 202: "a column family", 203: "a column family",
}

const levels = 7

var errShort = errors.New("ends in the middle of a field")

func errorf(format string, args ...any) error { return fmt.Errorf(format, args...) }

// cursor reads fields off the front; the first that is cut off makes err.
type cursor struct {
	rest []byte
	err  error
}

func (c *cursor) number() uint64 {
	n, size := binary.Uvarint(c.rest)
	if size <= 0 {
		c.fail(errShort)
		return 0
	}
	c.rest = c.rest[size:]
	return n
}

func (c *cursor) bytes() []byte {
	size := c.number()
	if size > uint64(len(c.rest)) {
		c.fail(errShort)
		return nil
	}
	b := c.rest[:size]
	c.rest = c.rest[size:]
	return b
}

func (c *cursor) byte() byte {
	if len(c.rest) == 0 {
		c.fail(errShort)
		return 0
	}
	b := c.rest[0]
	c.rest = c.rest[1:]
	return b
}

func (c *cursor) place() place {
	p := place{level: int(min(c.number(), levels)), number: c.number()}
	if p.level == levels {
		c.fail(errors.New("names a level that does not exist"))
	}
	return p
}

func (c *cursor) fail(err error) {
	if c.err == nil {
		c.err = err
	}
	c.rest = nil
}

func decodeEdit(data []byte) (*edit, error) {
	e, c := &edit{}, &cursor{rest: data}
	for len(c.rest) > 0 {
		switch tag := c.number(); tag {
		case tagComparator:
			e.comparer = string(c.bytes())
		case tagLogNumber:
			e.minLog = c.number()
		case tagNextFileNumber, tagLastSequence, tagPrevLogNumber:
			c.number()
		case tagCompactPointer:
			c.number()
			c.bytes()
		case tagDeletedFile:
			e.deleted = append(e.deleted, c.place())
		case tagNewFile, tagNewFile2, tagNewFile4, tagNewFile5:
			e.made = append(e.made, c.table(tag))
		default:
			if what, ok := foreignTags[tag]; ok {
				c.fail(errorf("names %s, which slotd never makes", what))
			} else {
				c.fail(errorf("has the unknown tag %d", tag))
			}
		}
	}
	return e, c.err
}

func (c *cursor) table(tag uint64) newTable {
	t := newTable{place: c.place(), size: c.number()}
	bounds := 1
	if tag == tagNewFile5 {
		const pointKeys = 1
		bounds = 1 + int(c.byte()&pointKeys)
	}
	for range 2 * bounds {
		c.bytes() // smallest and largest key
	}
	if tag != tagNewFile {
		c.number() // smallest and largest sequence number
		c.number()
	}
	for tag >= tagNewFile4 && c.err == nil {
		custom := c.number()
		if custom == customTerminate {
			break
		}
		if custom >= customUnsafe {
			c.fail(errorf("says of table %06d what slotd never does (%d)", t.number, custom))
		}
		c.bytes()
	}
	return t
}
