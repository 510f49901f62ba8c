package messages

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/oklog/ulid/v2"
	"pgregory.net/rapid"
)

var noon = time.Date(2026, 5, 1, 12, 0, 0, 123_456_789, time.UTC)

func TestAnIDTellsItsTimeAndShard(t *testing.T) {
	id := NewMinter("").Mint(noon, "build")
	got, err := ParseID(id)
	want := ID{Time: noon.Truncate(time.Millisecond), Shard: ShardOf("build")}
	if err != nil || got != want {
		t.Errorf("%s: got %v, %v, want %v", id, got, err, want)
	}
	if len(id) != 30 || !strings.HasPrefix(id, "tsk_") {
		t.Errorf("got %s, want tsk_ and 26 characters", id)
	}
}

// Whatever the clock does and whichever slots come, ids grow, and each tells its own slot's shard.
func TestIDsGrowWhateverTheClockDoes(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		now := noon
		m := NewMinter("")
		last := ""
		for range 200 {
			now = now.Add(time.Duration(rapid.Int64Range(-3, 3).Draw(t, "step")) * time.Millisecond)
			slot := rapid.SampledFrom([]string{"a", "b", "c", "d"}).Draw(t, "slot")
			if rapid.IntRange(0, 9).Draw(t, "restart") == 0 {
				m = NewMinter(last)
			}
			id := m.Mint(now, slot)
			parsed, err := ParseID(id)
			if err != nil {
				t.Fatal(err)
			}
			if id <= last {
				t.Fatalf("%s follows %s", id, last)
			}
			if parsed.Shard != ShardOf(slot) {
				t.Fatalf("%s: got shard %d, want %d", id, parsed.Shard, ShardOf(slot))
			}
			last = id
		}
	})
}

func TestIDsOfAMillisecondGrowByOne(t *testing.T) {
	m := NewMinter("")
	m.Mint(noon, "a")
	first := m.last
	m.Mint(noon, "b")
	m.Mint(noon.Add(-time.Hour), "c")
	want := first
	want.low += 2 << shardBits // a random start leaves room for two but once in 2⁶⁹
	if m.last != want {
		t.Errorf("got %+v after %+v, want %+v", m.last, first, want)
	}
}

func TestIDsStartAtRandomInEachMillisecond(t *testing.T) {
	seen := map[mark]bool{}
	for range 100 {
		m := NewMinter("")
		m.Mint(noon, "a")
		seen[m.last] = true
	}
	if len(seen) != 100 {
		t.Errorf("100 minters began at %d places", len(seen))
	}
}

func TestACarryReachesTheHighBits(t *testing.T) {
	m := NewMinter("")
	ms := uint64(noon.UnixMilli())
	m.last = mark{ms: ms, high: 5, low: ^uint64(shardMask)}
	m.Mint(noon, "a")
	if want := (mark{ms: ms, high: 6}); m.last != want {
		t.Errorf("got %+v, want %+v", m.last, want)
	}
}

func TestAUsedUpMillisecondGivesWayToTheNext(t *testing.T) {
	full := mark{ms: uint64(noon.UnixMilli()), high: 0xffff, low: ^uint64(shardMask)}
	m := &Minter{last: full}
	last := full.encode(shards - 1)
	id := m.Mint(noon, "a")
	got, err := ParseID(id)
	if err != nil || id <= last {
		t.Fatalf("got %s, %v after %s", id, err, last)
	}
	if want := noon.Truncate(time.Millisecond).Add(time.Millisecond); !got.Time.Equal(want) {
		t.Errorf("got %v, want %v", got.Time, want)
	}
}

func TestIDsAreAboveTheFloor(t *testing.T) {
	ahead := NewMinter("").Mint(noon.Add(24*time.Hour), "z")
	m := NewMinter(ahead)
	last := ahead
	for _, slot := range []string{"a", "b", "c"} {
		id := m.Mint(noon, slot)
		if id <= last {
			t.Errorf("%s follows %s", id, last)
		}
		last = id
	}
	later := m.Mint(noon.Add(48*time.Hour), "a")
	if got, err := ParseID(later); err != nil || !got.Time.Equal(noon.Add(48*time.Hour).Truncate(time.Millisecond)) {
		t.Errorf("got %v, %v once the clock has passed the floor", got.Time, err)
	}
}

func TestAFloorThatIsNoIDPanics(t *testing.T) {
	defer func() {
		if recover() == nil {
			t.Error("got no panic")
		}
	}()
	NewMinter("tsk_1")
}

func TestTimesThatDoNotFitAreCut(t *testing.T) {
	early, err := ParseID(NewMinter("").Mint(time.Unix(-1, 0), "a"))
	if err != nil || early.Time.UnixMilli() != 0 {
		t.Errorf("got %v, %v, want 1970", early.Time, err)
	}
	late, err := ParseID(NewMinter("").Mint(time.Date(20000, 1, 1, 0, 0, 0, 0, time.UTC), "a"))
	if err != nil || late.Time.Year() != 10889 {
		t.Errorf("got %v, %v, want the year 10889", late.Time, err)
	}
}

func TestTheVeryLastIDIsFollowedByAPanic(t *testing.T) {
	defer func() {
		if recover() == nil {
			t.Error("got no panic")
		}
	}()
	m := &Minter{last: mark{ms: ulid.MaxTime(), high: 0xffff, low: ^uint64(shardMask)}}
	m.Mint(noon, "a")
}

func TestParseIDTakesOneFormOnly(t *testing.T) {
	const good = "tsk_01JAAAAAAAAAAAAAAAAAAAAA70"
	if _, err := ParseID(good); err != nil {
		t.Fatal(err)
	}
	tests := map[string]string{
		"":                                 "does not begin with tsk_",
		"01JAAAAAAAAAAAAAAAAAAAAA70":       "does not begin with tsk_",
		"TSK_01JAAAAAAAAAAAAAAAAAAAAA70":   "does not begin with tsk_",
		"tsk_":                             "must have 26 characters",
		"tsk_01JAAAAAAAAAAAAAAAAAAAAA7":    "must have 26 characters",
		"tsk_01JAAAAAAAAAAAAAAAAAAAAA700":  "must have 26 characters",
		"tsk_01JAAAAAAAAAAAAAAAAAAAAA70\n": "must have 26 characters",
		"tsk_01jaaaaaaaaaaaaaaaaaaaaa70":   "must consist of",
		"tsk_01JAAAAAAAAAAAAAAAAAAAAAa0":   "must consist of",
		"tsk_O1JAAAAAAAAAAAAAAAAAAAAA70":   "must consist of",
		"tsk_0IJAAAAAAAAAAAAAAAAAAAAA70":   "must consist of",
		"tsk_01JAAAAAAAAAAAAAAAAAAAAU70":   "must consist of",
		"tsk_81JAAAAAAAAAAAAAAAAAAAAA70":   "must consist of",
		"tsk_01JAAAAAAAAAAAAAAAAAAAAA80":   "names shard 256 of 256",
		"tsk_01JAAAAAAAAAAAAAAAAAAAAAZZ":   "names shard 1023 of 256",
	}
	for id, want := range tests {
		if got, err := ParseID(id); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: got %v, %v, want an error with %q", id, got, err, want)
		}
	}
}

func TestEveryBeginningOfAnIDIsAnIDPrefix(t *testing.T) {
	m := NewMinter("")
	for i := range 300 {
		id := m.Mint(noon, fmt.Sprint(i))
		for n := range len(id) + 1 {
			if !ValidIDPrefix(id[:n]) {
				t.Fatalf("%q is the beginning of %s", id[:n], id)
			}
		}
		if ValidIDPrefix(id + "0") {
			t.Fatalf("%s is an id with more behind it", id+"0")
		}
	}
	for _, s := range []string{"x", "ts_", "tsk-", "TSK", "tsk_8", "tsk_01j", "tsk_U", "tsk_01 ", "01JA", "tsk_01JAAAAAAAAAAAAAAAAAAAAA8", "tsk_01JAAAAAAAAAAAAAAAAAAAAA80"} {
		if ValidIDPrefix(s) {
			t.Errorf("no id begins with %q", s)
		}
	}
}

// Shards are part of stored ids: these numbers never change.
func TestShardsNeverChange(t *testing.T) {
	tests := map[string]uint16{"": 38, "a": 91, "build": 51, "deploy.prod-1": 146}
	for slot, want := range tests {
		if got := ShardOf(slot); got != want {
			t.Errorf("%q: got %d, want %d", slot, got, want)
		}
	}
}

func TestShardsAreEven(t *testing.T) {
	const perShard = 400
	var count [shards]int
	for i := range shards * perShard {
		count[ShardOf(fmt.Sprintf("slot-%d", i))]++
	}
	for shard, n := range count {
		if n < perShard*3/4 || n > perShard*5/4 { // five standard deviations
			t.Errorf("shard %d: got %d slots, want about %d", shard, n, perShard)
		}
	}
}
