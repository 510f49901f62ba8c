package logs

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
)

// ruin is a log of several lives before and after something has happened to its files.
type ruin struct {
	*house
	random  *rand.Rand
	attempt uint32
	seqs    map[streamOf]int

	truth  []event         // as it was read before, by number
	intact map[uint64]bool // numbers of the events whose frames are as they were
	files  map[string][]byte
	bare   map[string]bool // files of which only a whole preface is left: the next segment may take their place
}

// build lets a task run for a few attempts and lives.
func build(t *testing.T, random *rand.Rand) *ruin {
	t.Helper()
	r := &ruin{random: random, seqs: map[streamOf]int{}}
	r.house = newHouse(t, func(c *Config) {
		c.SegmentBytes = []int64{200, 1500, 6000, 1 << 20}[random.IntN(4)]
	})
	for range 1 + random.IntN(3) {
		r.live(1 + random.IntN(2))
		if random.IntN(2) == 0 {
			r.end(r.attempt, 1)
		}
		r.restart()
	}
	r.resume()
	r.truth = r.read(query())
	for i, e := range r.truth {
		if eventNumber(t, e) != uint64(i+1) {
			t.Fatalf("before any damage, event %d is %+v", i+1, e)
		}
	}
	return r
}

// live has attempts, the last of which goes on.
func (r *ruin) live(attempts int) {
	for range attempts {
		if r.attempt > 0 && r.task.runs[r.attempt-1].GetFinishedAt() == 0 {
			r.end(r.attempt, 1)
		}
		r.attempt++
		r.begin(r.attempt)
		for range 1 + r.random.IntN(12) {
			r.now.Add(r.random.Int64N(100))
			k := kindStdout + kind(r.random.IntN(2))
			key := streamOf{r.attempt, k.stream()}
			var text strings.Builder
			for range 1 + r.random.IntN(6) {
				fmt.Fprintf(&text, "%d %s %d %s\n", r.attempt, [...]string{"stdout", "stderr"}[k-kindStdout], r.seqs[key],
					strings.Repeat("x", r.random.IntN(200)))
				r.seqs[key]++
			}
			r.print(r.attempt, k.stream(), strings.TrimSuffix(text.String(), "\n"))
		}
	}
}

// damage does something to random files, between two lives.
func (r *ruin) damage(t *testing.T) (done []string) {
	t.Helper()
	r.shutdown()
	paths := segmentFiles(t, r.house)
	before := map[string][]byte{}
	r.files = map[string][]byte{}
	for _, path := range paths {
		before[path] = readFile(t, path)
		r.files[path] = slices.Clone(before[path])
	}
	for range 1 + r.random.IntN(4) {
		path := paths[r.random.IntN(len(paths))]
		what := r.random.IntN(6)
		if what < 2 {
			path = paths[len(paths)-1]
		}
		data := r.files[path]
		if len(data) == 0 {
			continue
		}
		at := r.random.IntN(len(data))
		switch what {
		case 0:
			data = data[:at]
		case 1:
			for range r.random.IntN(200) {
				data = append(data, byte(r.random.Uint32()))
			}
		case 2, 3:
			data[at] ^= 1 << r.random.IntN(8)
		case 4:
			clear(data[at : at+r.random.IntN(len(data)-at)+1])
		default:
			at &^= 511
			clear(data[at:min(len(data), at+512)])
		}
		r.files[path] = data
		done = append(done, fmt.Sprintf("%s: %d at %d", path[len(path)-8:], what, at))
	}
	r.intact = map[uint64]bool{}
	r.bare = map[string]bool{}
	for _, path := range paths {
		writeFile(t, path, r.files[path])
		r.bare[path] = len(r.files[path]) == prefaceSize && bytes.HasPrefix(before[path], r.files[path])
		if len(before[path]) == 0 {
			continue
		}
		scan(before[path][prefaceSize:], true, func(at int, h header, payload []byte, _ bool) {
			at += prefaceSize
			end := at + headerSize + len(payload)
			same := end <= len(r.files[path]) && bytes.Equal(before[path][at:end], r.files[path][at:end])
			for n := h.first; n < h.next(); n++ {
				r.intact[n] = same
			}
		})
	}
	r.open()
	return done
}

var sameEvent = cmpopts.IgnoreFields(event{}, "ID", "rawFrameSSE")

// check holds what is read against what was written.
func (r *ruin) check(events []event) error {
	a := newAccount()
	delivered := map[uint64]bool{}
	for i, e := range events {
		before := a.last
		if err := a.take(e); err != nil {
			return err
		}
		if a.started[e.Attempt] > 1 || a.ended[e.Attempt] > 1 {
			return fmt.Errorf("%v is there twice", e)
		}
		if e.Event == "lagged" || a.last == before { // or announced
			continue
		}
		id, err := parseID(e.ID)
		if err != nil {
			return err
		}
		if id.epoch >= r.life || e.Event != "chunk" && !r.intact[id.number] {
			continue // of this life, or made up for in it
		}
		if delivered[id.number] || !r.intact[id.number] {
			return fmt.Errorf("event %d, %v, %s, out of nothing", i, e, e.ID)
		}
		delivered[id.number] = true
		if was := r.truth[id.number-1]; e.Event == "chunk" && !cmp.Equal(was, e, sameEvent, cmpopts.EquateComparable()) {
			return fmt.Errorf("%+v became %+v", was, e)
		}
	}
	for n, intact := range r.intact {
		if intact && !delivered[n] {
			return fmt.Errorf("event %d, %v, is whole and not delivered", n, r.truth[n-1])
		}
	}
	return nil
}

// Whatever happens to the files of earlier lives: what is whole is delivered in order and once, what is not is a gap of
// the right size, nothing is touched, every event is a place to resume at, and the task goes on.
func TestDamageIsAGap(t *testing.T) {
	const cases = 200
	t.Run("bare preface", func(t *testing.T) { survives(t, 1735359490563704967) })
	seeds := seed(t)
	for range cases {
		n := seeds.Uint64()
		t.Run(fmt.Sprint(n), func(t *testing.T) { survives(t, n) })
	}
}

// survives is one case of TestDamageIsAGap.
func survives(t *testing.T, n uint64) {
	t.Helper()
	r := build(t, rand.New(rand.NewPCG(n, 0)))
	done := r.damage(t)
	fail := func(events []event, why any) {
		t.Helper()
		text := fmt.Sprintf("seed %d, %q: %v\nbefore %s\nafter  %s", n, done, why, short(r.truth), short(events))
		t.Fatal(strings.ReplaceAll(text, "x", ""))
	}
	r.resume()
	events := r.read(query())
	if n := len(events) - 1; events[n].Event == "run-started" && n > 0 && eventNumber(t, events[n]) == eventNumber(t, events[n-1]) {
		events = events[:n] // announced because it goes on; to a client that resumes, with the next line
	}
	if err := r.check(events); err != nil {
		fail(events, err)
	}
	for range 3 {
		i := r.random.IntN(len(events))
		again := r.readOn(events[i].ID)
		if diff := cmp.Diff(framesOf(events[i+1:]), framesOf(again)); diff != "" {
			fail(events, "after "+events[i].ID+":\n"+diff)
		}
	}
	// Ids from before the damage are good too, and nothing whole comes twice or not at all.
	was := r.truth[r.random.IntN(len(r.truth))]
	want := slices.DeleteFunc(slices.Clone(events), func(e event) bool {
		return e.Event != "chunk" || eventNumber(t, e) <= eventNumber(t, was) && r.old(e)
	})
	rest := r.readOn(was.ID)
	for _, e := range rest {
		if e.Event == "run-started" && e.Attempt == was.Attempt {
			fail(rest, "the attempt begins again after "+was.ID)
		}
	}
	got := slices.DeleteFunc(rest, func(e event) bool { return e.Event != "chunk" })
	if diff := cmp.Diff(rawFrames(want), rawFrames(got)); diff != "" {
		fail(events, "after "+was.ID+" of before:\n"+diff)
	}

	r.live(1)
	r.end(r.attempt, 0)
	r.close()
	all := r.read(query())
	if err := r.check(all); err != nil {
		fail(all, err)
	}
	if diff := cmp.Diff(framesOf(events), framesOf(all[:len(events)])); diff != "" {
		fail(all, "the past has changed:\n"+diff)
	}
	for i := range r.seqs {
		if i.attempt == r.attempt && !strings.Contains(short(all), fmt.Sprintf("%d %s %d ", i.attempt,
			strings.ToLower(strings.TrimPrefix(i.stream.String(), "OUTPUT_STREAM_KIND_")), r.seqs[i]-1)) {
			fail(all, "the last attempt is not whole")
		}
	}
	r.restart()
	if diff := cmp.Diff(framesOf(all), framesOf(r.read(query()))); diff != "" {
		fail(all, "after a restart:\n"+diff)
	}
	for path, data := range r.files {
		if _, err := os.Lstat(path + ".1" + asideSuffix); err == nil {
			path += ".1" + asideSuffix // the next life needed the name
		}
		now := readFile(t, path)
		if r.bare[path] && len(now) > len(data) {
			continue
		}
		if len(data) > 0 && !bytes.Equal(now, data) {
			fail(all, path+" was touched")
		}
	}
}

// framesOf leaves out the ids of gaps, which are named after either side of them.
func framesOf(events []event) []string {
	s := rawFrames(events)
	for i, e := range events {
		if e.Event == "lagged" {
			s[i] = e.String()
		}
	}
	return s
}

func (r *ruin) old(e event) bool {
	id, err := parseID(e.ID)
	return err == nil && id.epoch < r.life
}

// readOn returns what follows after an event.
func (r *ruin) readOn(id string) []event {
	r.t.Helper()
	c, err := r.logs.Open(r.t.Context(), taskID, query(after(id)), r.task)
	if errors.Is(err, io.EOF) {
		return nil
	}
	if err != nil {
		r.t.Fatal(err)
	}
	defer c.Close()
	return drain(r.t, c)
}
