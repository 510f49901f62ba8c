// Package faults kills the real binary under random load, starts it again, and checks the recorded history; and it puts
// the binary where its machine fails it: full disks, damaged files, no processes, no descriptors, no time.
//
// A world is one data directory over many lives of its daemon. Clients submit, cancel, delete, read and follow without
// pause ([load]); a plan says how each life ends: by SIGKILL at a random instant, or at a named fail-point just before
// or after a durable step or a fork ([plan]). The process of every task is a puppet that makes marks past slotd, so that
// overlap and loss are seen from outside. Package history holds all of it against what slotd promises.
//
// What happens is random and follows from a seed, but for the timing of the machine. A failure prints the seed and the
// story of the task concerned; -seed repeats the plans and the load. SLOTD_FAULTS_SOAK=30m goes on with fresh seeds.
//
// Not here: steps of the clock. It is the machine's, and belongs to whoever else runs on it; package sim moves its own.
//
// Reading order: plan_test.go, life_test.go, world_test.go, load_test.go, kill_test.go, then any file; each holds one
// kind of fault.
package faults

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"
)

var (
	seedFlag  = flag.Uint64("seed", 0, "repeat the run with this seed (or SLOTD_FAULTS_SEED); 0 = a fresh one")
	keepFlag  = flag.Bool("keep", false, "leave the directories of worlds that failed")
	storeFlag = flag.String("store", "pebble", "store of the daemons; only the durable one survives what these tests do")
	killFlag  = flag.Int("kills", 208, "how often TestNothingIsLostOrDoubled kills, all worlds together")
)

// The seed of this run, and how long a soak lasts (0: no soak).
var (
	seed uint64
	soak time.Duration
)

// bin is where the binaries are built, raceLog the prefix of the files in which their processes report races.
var bin, raceLog string

func TestMain(m *testing.M) {
	flag.Parse()
	code, err := run(m)
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		code = max(code, 1)
	}
	os.Exit(code)
}

func run(m *testing.M) (code int, err error) {
	seed = *seedFlag
	if text := os.Getenv("SLOTD_FAULTS_SEED"); seed == 0 && text != "" {
		if seed, err = strconv.ParseUint(text, 10, 64); err != nil {
			return 2, fmt.Errorf("SLOTD_FAULTS_SEED: %w", err)
		}
	}
	if seed == 0 {
		seed = rand.Uint64N(1_000_000_000)
	}
	if text := os.Getenv("SLOTD_FAULTS_SOAK"); text != "" {
		if soak, err = time.ParseDuration(text); err != nil {
			return 2, fmt.Errorf("SLOTD_FAULTS_SOAK: %w", err)
		}
	}
	if bin, err = os.MkdirTemp("", "slotd-faults-bin-"); err != nil {
		return 1, err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(bin)) }()
	raceLog = filepath.Join(bin, "race")
	code = m.Run()
	if code != 0 {
		fmt.Fprintf(os.Stderr, "seed %d; SLOTD_FAULTS_SEED=%d repeats it\n", seed, seed)
	}
	return code, errors.Join(goleak.Find(), races())
}

// The binaries, each built when it is first needed: the daemon with fail-points, without and with the race detector,
// and what every task runs.
var (
	plainSlotd = sync.OnceValues(func() (string, error) { return build("slotd", "slotd/cmd/slotd", "-tags=failpoints") })
	racedSlotd = sync.OnceValues(func() (string, error) {
		if !raced {
			return plainSlotd()
		}
		return build("slotd-race", "slotd/cmd/slotd", "-tags=failpoints", "-race")
	})
	puppet = sync.OnceValues(func() (string, error) { return build("puppet", "slotd/test/faults/puppet") })
)

func build(name, source string, flags ...string) (string, error) {
	path := filepath.Join(bin, name)
	cmd := exec.CommandContext(context.Background(), "go", append(append([]string{"build", "-o", path}, flags...), source)...)
	if out, err := cmd.CombinedOutput(); err != nil {
		return "", fmt.Errorf("build %s: %w\n%s", source, err, out)
	}
	return path, nil
}

// must returns what was built.
func must(t testing.TB, binary func() (string, error)) string {
	t.Helper()
	path, err := binary()
	if err != nil {
		t.Fatal(err)
	}
	return path
}

// races returns what the race detector has reported.
func races() error {
	reports, err := filepath.Glob(raceLog + ".*")
	if err != nil {
		return err
	}
	var texts []error
	for _, path := range reports {
		text, err := os.ReadFile(path)
		texts = append(texts, err, errors.New(strings.TrimSpace(string(text))))
	}
	return errors.Join(texts...)
}
