package verify

import (
	"encoding/binary"
	"hash/crc32"
)

// Logs and manifests are sequences of chunks in blocks (github.com/cockroachdb/pebble/v2/record tells the format). This
// file looks at what is behind the place where Pebble stops reading, which Pebble itself does only from the next block
// on, and only for chunks that say what was synced.

const (
	blockSize = 32 << 10

	legacyHeader     = 7                    // CRC (4), size (2), type (1)
	recyclableHeader = legacyHeader + 4     // and the low half of the log's number
	syncHeader       = recyclableHeader + 8 // and the offset up to which the log was synced
)

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// chunk is one whose checksum is right.
type chunk struct {
	body   int  // where what it holds begins
	end    int  // where the next one may begin
	begins bool // it is the first or the only one of its record
	whole  bool // it is the only one
	legacy bool // it has no number: a manifest's
	log    uint32
	synced uint64
}

// chunkAt reads the chunk at an offset of data, whose beginning is that of a block.
func chunkAt(data []byte, at int) (chunk, bool) {
	block := data[:min(len(data), at-at%blockSize+blockSize)]
	if len(block)-at < legacyHeader {
		return chunk{}, false
	}
	kind := int(block[at+6]) - 1
	header := [...]int{legacyHeader, recyclableHeader, syncHeader}
	if kind < 0 || kind/4 >= len(header) || len(block)-at < header[kind/4] {
		return chunk{}, false
	}
	size := header[kind/4]
	c := chunk{
		body:   at + size,
		end:    at + size + int(binary.LittleEndian.Uint16(block[at+4:])),
		begins: kind%4 < 2,
		whole:  kind%4 == 0,
		legacy: kind/4 == 0,
	}
	if c.end > len(block) {
		return chunk{}, false
	}
	sum := crc32.Checksum(block[at+6:c.end], castagnoli)
	if (sum>>15|sum<<17)+0xa282ead8 != binary.LittleEndian.Uint32(block[at:]) {
		return chunk{}, false
	}
	if size >= recyclableHeader {
		c.log = binary.LittleEndian.Uint32(block[at+7:])
	}
	if size == syncHeader {
		c.synced = binary.LittleEndian.Uint64(block[at+11:])
	}
	return c, true
}

// tail is what is behind the last whole record of a file.
type tail struct {
	bad     int     // where the first bytes are that make no chunk of this file; the end when there are none
	last    int     // behind the last byte that is not zero
	behind  []chunk // chunks of this file behind the bad place
	foreign bool    // chunks of another log are behind it: the file was used before
}

// tailOf looks at data from an offset on, where a record begins that could not be read. The chunks that count are those
// for which own holds; header is the size of their headers.
func tailOf(data []byte, from, header int, own func(chunk) bool) tail {
	t := tail{bad: from, last: len(data)}
	for t.last > from && data[t.last-1] == 0 {
		t.last--
	}
	for t.bad < len(data) {
		c, ok := chunkAt(data, t.bad)
		next := t.bad - t.bad%blockSize + blockSize
		if ok && own(c) && (t.bad == from || !c.begins) {
			t.bad = c.end
		} else if !ok && next-t.bad < header && next < len(data) {
			t.bad = next // no room for a header
		} else {
			break
		}
	}
	for at := t.bad; at < t.last; at++ {
		c, ok := chunkAt(data, at)
		switch {
		case !ok || c.end == at+legacyHeader: // nothing but a header: zeros may look like one
		case own(c):
			t.behind = append(t.behind, c)
			at = c.end - 1
		case !c.legacy:
			t.foreign = true
		}
	}
	return t
}

// trailer says that the end of a log is marked, as it is when the log is closed.
func trailer(data []byte, at int, log uint32) bool {
	return len(data)-at >= recyclableHeader &&
		binary.LittleEndian.Uint32(data[at:]) == 0 && binary.LittleEndian.Uint16(data[at+4:]) == 0 &&
		data[at+6] == 5 && binary.LittleEndian.Uint32(data[at+7:]) == log+1
}

// ours says that a chunk of this log was begun at an offset, whatever became of it.
func ours(data []byte, at int, log uint32) bool {
	return len(data)-at >= recyclableHeader && data[at+6] >= 5 && data[at+6] <= 12 && binary.LittleEndian.Uint32(data[at+7:]) == log
}
