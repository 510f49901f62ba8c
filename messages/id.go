package messages

import (
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"strings"
	"time"

	"github.com/oklog/ulid/v2"
)

// IDPrefix begins every task id; 26 characters of a ULID in Crockford's upper-case base 32 follow.
const IDPrefix = "tsk_"

const (
	shards    = 256 // a node or several share them
	shardBits = 10  // in an id, more than are used
	shardMask = 1<<shardBits - 1
	idBytes   = len(IDPrefix) + ulid.EncodedSize
)

// ID is what a task id says by itself.
type ID struct {
	Time  time.Time // of its creation by the minting node's clock, whole milliseconds, UTC
	Shard uint16    // [ShardOf] its slot
}

// Minter makes task ids: 48 bits of Unix milliseconds, 70 bits that start random and grow by one within a millisecond,
// 10 bits of shard. Each id is greater than all before it, whatever the clock does. A Minter has one owner: it is not
// safe for concurrent use.
type Minter struct {
	last mark
}

// mark is an id without its shard: milliseconds and an 80-bit number whose low 10 bits are zero.
type mark struct {
	ms   uint64
	high uint16
	low  uint64
}

// NewMinter returns a minter whose ids are all greater than floor, the greatest id in use, or empty when there is none.
// It panics when floor is anything else: ids below stored ones would lose the order of creation.
func NewMinter(floor string) *Minter {
	if floor == "" {
		return &Minter{}
	}
	id, err := decodeID(floor)
	if err != nil {
		panic(fmt.Sprintf("floor of new ids: %v", err))
	}
	return &Minter{last: mark{
		ms:   id.Time(),
		high: binary.BigEndian.Uint16(id[6:]),
		low:  binary.BigEndian.Uint64(id[8:]) &^ shardMask,
	}}
}

// Mint makes the id of a task that is created now in a slot. Its time is that of now, or of the last id when the clock
// stands or has gone back. Times outside 1970 to 10889, what 48 bits can hold, are cut to that range.
func (m *Minter) Mint(now time.Time, slot string) string {
	if ms := min(uint64(max(0, now.UnixMilli())), ulid.MaxTime()); ms > m.last.ms {
		m.last = randomMark(ms)
	} else {
		m.last = m.last.next()
	}
	if m.last.ms > ulid.MaxTime() {
		panic("task ids are used up") // 2⁷⁰ of them in the last millisecond
	}
	return m.last.encode(ShardOf(slot))
}

func randomMark(ms uint64) mark {
	return mark{ms: ms, high: uint16(rand.Uint32()), low: rand.Uint64() &^ shardMask}
}

// next is the mark one greater; past the last of a millisecond, a random one of the next millisecond.
func (k mark) next() mark {
	k.low += 1 << shardBits
	if k.low == 0 {
		k.high++
		if k.high == 0 {
			return randomMark(k.ms + 1)
		}
	}
	return k
}

func (k mark) encode(shard uint16) string {
	var id ulid.ULID
	binary.BigEndian.PutUint64(id[:], k.ms<<16|uint64(k.high))
	binary.BigEndian.PutUint64(id[8:], k.low|uint64(shard))
	var text [idBytes]byte
	copy(text[:], IDPrefix)
	if err := id.MarshalTextTo(text[len(IDPrefix):]); err != nil {
		panic(fmt.Sprintf("encode a task id: %v", err)) // the buffer has the wrong size
	}
	return string(text[:])
}

// ParseID reads a task id in its one canonical form, upper case, as [Minter.Mint] makes it.
func ParseID(id string) (ID, error) {
	raw, err := decodeID(id)
	if err != nil {
		return ID{}, err
	}
	return ID{Time: raw.Timestamp().UTC(), Shard: shardIn(raw)}, nil
}

func decodeID(id string) (ulid.ULID, error) {
	text, prefixed := strings.CutPrefix(id, IDPrefix)
	if !prefixed {
		return ulid.ULID{}, fmt.Errorf("task id %s does not begin with %s", quote(id), IDPrefix)
	}
	if len(text) != ulid.EncodedSize {
		return ulid.ULID{}, fmt.Errorf("task id %s must have %d characters after %s", quote(id), ulid.EncodedSize, IDPrefix)
	}
	raw, err := ulid.ParseStrict(text)
	switch {
	case err != nil || raw.String() != text:
		return ulid.ULID{}, fmt.Errorf("task id %s must consist of %s after %s, beginning with 0 to 7", quote(id), ulid.Encoding, IDPrefix)
	case shardIn(raw) >= shards:
		return ulid.ULID{}, fmt.Errorf("task id %s names shard %d of %d", quote(id), shardIn(raw), shards)
	}
	return raw, nil
}

func shardIn(raw ulid.ULID) uint16 {
	return binary.BigEndian.Uint16(raw[14:]) & shardMask
}

// ValidIDPrefix says whether an id could begin with s, the empty string and a whole id included.
func ValidIDPrefix(s string) bool {
	if len(s) <= len(IDPrefix) {
		return strings.HasPrefix(IDPrefix, s)
	}
	if len(s) > idBytes {
		return false
	}
	_, err := decodeID(s + strings.Repeat("0", idBytes-len(s)))
	return err == nil
}

// ShardOf is the shard of a slot, 0 to 255: FNV-1a of its name, 64 bits, mixed so that every bit of the name reaches
// every bit of the shard (the finalizer of MurmurHash3). It is part of stored ids and never changes.
func ShardOf(slot string) uint16 {
	h := uint64(14695981039346656037)
	for i := range len(slot) {
		h ^= uint64(slot[i])
		h *= 1099511628211
	}
	h ^= h >> 33
	h *= 0xff51afd7ed558ccd
	h ^= h >> 33
	h *= 0xc4ceb9fe1a85ec53
	h ^= h >> 33
	return uint16(h % shards)
}
