package task

import (
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"google.golang.org/protobuf/proto"

	"slotd/messages"
	soltiv1 "slotd/messages/solti/v1"
)

var t0 = time.Date(2000, 1, 1, 0, 0, 0, 0, time.UTC)

// spec has a timeout of a minute, a grace of 5 s and a backoff of 1 s, 2 s, 4 s without jitter.
func spec(edit func(*soltiv1.CreateSpec)) *soltiv1.CreateSpec {
	s := &soltiv1.CreateSpec{
		Slot: "s", TimeoutMs: 60_000, StopGraceMs: proto.Uint64(5000), Restart: soltiv1.RestartStrategy_RESTART_STRATEGY_NEVER,
		Backoff: &soltiv1.BackoffStrategy{Jitter: soltiv1.JitterStrategy_JITTER_STRATEGY_NONE, FirstMs: 1000, MaxMs: 30_000, Factor: 2},
	}
	if edit != nil {
		edit(s)
	}
	return s
}

func onFailure(s *soltiv1.CreateSpec) {
	s.Restart = soltiv1.RestartStrategy_RESTART_STRATEGY_ON_FAILURE
}

func always(s *soltiv1.CreateSpec) { s.Restart = soltiv1.RestartStrategy_RESTART_STRATEGY_ALWAYS }

func retries(n uint32) func(*soltiv1.CreateSpec) {
	return func(s *soltiv1.CreateSpec) { onFailure(s); s.MaxRetries = &n }
}

// follow plays events, in the words of the stories, and returns what the last one leads to.
func follow(t *testing.T, edit func(*soltiv1.CreateSpec), events ...string) string {
	t.Helper()
	s := newStory(spec(edit))
	var last string
	for _, event := range events {
		last = s.play(t, event)
	}
	var got []string
	for line := range strings.Lines(last) {
		got = append(got, strings.TrimSpace(line))
	}
	return strings.Join(got[1:], "; ")
}

// TestStep has every event in every phase, late words included. Lines before the last are the given.
func TestStep(t *testing.T) {
	var (
		ready    = []string{"resumed"}
		running  = []string{"resumed", "granted 1", "started 1"}
		waiting  = []string{"resumed", "granted 1", "started 1", "exited 1 code 9"}
		stopping = []string{"resumed", "granted 1", "started 1", "stop Canceled"}
		overtime = []string{"resumed", "granted 1", "started 1", "after 60s", "elapsed 1 deadline"}
		finished = []string{"resumed", "granted 1", "started 1", "exited 1 code 0"}
	)
	for _, tc := range []struct {
		name  string
		given []string
		when  string
		want  string
	}{
		{"ready: resumed asks for a permit", nil, "resumed", "acquire 1; = ready, attempt 0"},
		{"ready: granted records, then starts", ready, "granted 1", "record running, run 1 opened; start 1; = running, attempt 1"},
		{"ready: a permit for another attempt goes back", ready, "granted 2", "forget 2; = ready, attempt 0"},
		{"ready: late start", ready, "started 1", "= ready, attempt 0"},
		{"ready: late exit", ready, "exited 1 code 0", "= ready, attempt 0"},
		{"ready: exit of no attempt", ready, "exited 0 code 0", "= ready, attempt 0"},
		{"ready: late timer", ready, "elapsed 0 backoff", "= ready, attempt 0"},
		{"ready: stop ends it and gives the permit back", ready, "stop Canceled", "forget 1; finish CANCELED Canceled; = finished, attempt 0"},

		{"running: resumed attaches", running, "resumed", "attach 1; = running, attempt 1"},
		{"running: granted again changes nothing", running, "granted 1", "= running, attempt 1"},
		{"running: a permit too many goes back", running, "granted 2", "forget 2; = running, attempt 1"},
		{"running: started arms the deadline", running[:2], "started 1", "arm 1 deadline +1m0s; = running, attempt 1"},
		{"running: started of another attempt", running, "started 2", "= running, attempt 1"},
		{"running: exited of another attempt", running, "exited 2 code 0", "= running, attempt 1"},
		{"running: timer of another attempt", running, "elapsed 2 deadline", "= running, attempt 1"},
		{"running: timer of another kind", running, "elapsed 1 grace", "= running, attempt 1"},
		{"running: backoff of the last attempt", running, "elapsed 1 backoff", "= running, attempt 1"},
		{"running: deadline stops it", running, "elapsed 1 deadline", "record stopping TimedOut; term 1; arm 1 grace +5s; = stopping, attempt 1"},
		{"running: stop with a shorter grace", running, "stop Canceled 1s", "record stopping Canceled, end Canceled; term 1; arm 1 grace +1s; = stopping, attempt 1"},
		{"running: stop with a longer grace has the spec's", running, "stop Canceled 1h", "record stopping Canceled, end Canceled; term 1; arm 1 grace +5s; = stopping, attempt 1"},
		{"running: stop with grace 0 kills at once", running, "stop Canceled 0s", "record stopping Canceled, end Canceled; kill 1; = stopping, attempt 1"},
		{"running: exited before started", running[:2], "exited 1 code 0", "finish SUCCEEDED Completed code 0, run 1 closed SUCCEEDED Completed code 0; = finished, attempt 1"},

		{"waiting: resumed arms what is left of the backoff", waiting, "resumed", "arm 1 backoff +1s; forget 1; = waiting, attempt 1"},
		{"waiting: a permit too many goes back", waiting, "granted 2", "forget 2; = waiting, attempt 1"},
		{"waiting: granted again changes nothing", waiting, "granted 1", "= waiting, attempt 1"},
		{"waiting: late start", waiting, "started 1", "= waiting, attempt 1"},
		{"waiting: exited twice", waiting, "exited 1 code 9", "= waiting, attempt 1"},
		{"waiting: backoff over", waiting, "elapsed 1 backoff", "acquire 2; = ready, attempt 1"},
		{"waiting: late deadline", waiting, "elapsed 1 deadline", "= waiting, attempt 1"},
		{"waiting: backoff of another attempt", waiting, "elapsed 2 backoff", "= waiting, attempt 1"},
		{"waiting: stop ends it at once", waiting, "stop Replaced", "finish CANCELED Replaced; = finished, attempt 1"},

		{"stopping: resumed says it again", stopping, "resumed", "attach 1; term 1; arm 1 grace +5s; = stopping, attempt 1"},
		{"stopping: granted again changes nothing", stopping, "granted 1", "= stopping, attempt 1"},
		{"stopping: late start", stopping, "started 1", "= stopping, attempt 1"},
		{"stopping: late deadline", stopping, "elapsed 1 deadline", "= stopping, attempt 1"},
		{"stopping: grace of a longer stop, too early", stopping, "elapsed 1 grace", "= stopping, attempt 1"},
		{"stopping: grace over", append(slices.Clone(stopping), "after 5s"), "elapsed 1 grace", "kill 1; = stopping, attempt 1"},
		{"stopping: grace of another attempt", append(slices.Clone(stopping), "after 5s"), "elapsed 2 grace", "= stopping, attempt 1"},
		{"stopping: exited of another attempt", stopping, "exited 2 code 0", "= stopping, attempt 1"},
		{"stopping: a shorter grace hastens", stopping, "stop Canceled 1s", "arm 1 grace +1s; = stopping, attempt 1"},
		{"stopping: a longer grace changes nothing", stopping, "stop Canceled 10s", "= stopping, attempt 1"},
		{"stopping: grace 0 kills at once", stopping, "stop Canceled 0s", "kill 1; = stopping, attempt 1"},
		{"stopping: the first of cancel, delete and replace counts", stopping, "stop Replaced", "= stopping, attempt 1"},
		{"stopping for a timeout: a cancel ends the task", overtime, "stop Canceled", "record stopping TimedOut, end Canceled; = stopping, attempt 1"},

		{"finished: granted too late goes back", finished, "granted 2", "forget 2; = finished, attempt 1"},
		{"finished: granted again changes nothing", finished, "granted 1", "= finished, attempt 1"},
		{"finished: late start", finished, "started 1", "= finished, attempt 1"},
		{"finished: exited twice", finished, "exited 1 code 0", "= finished, attempt 1"},
		{"finished: late timer", finished, "elapsed 1 deadline", "= finished, attempt 1"},
		{"finished: stop", finished, "stop Canceled", "= finished, attempt 1"},
		{"finished: resumed says the outcome again", finished, "resumed", "finish SUCCEEDED Completed code 0; = finished, attempt 1"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			var edit func(*soltiv1.CreateSpec)
			if len(tc.given) == 4 && strings.HasSuffix(tc.given[3], "code 9") {
				edit = onFailure
			}
			if diff := cmp.Diff(tc.want, follow(t, edit, append(slices.Clone(tc.given), tc.when)...)); diff != "" {
				t.Errorf("%q after %q (-want +got):\n%s", tc.when, tc.given, diff)
			}
		})
	}
}

// TestEveryEnd has the rows of the table of ends, and what the restart policies make of them.
func TestEveryEnd(t *testing.T) {
	run := []string{"resumed", "granted 1", "started 1"}
	for _, tc := range []struct {
		name   string
		spec   func(*soltiv1.CreateSpec)
		events []string
		want   string
	}{
		{"exit 0", nil, []string{"exited 1 code 0"}, "finish SUCCEEDED Completed code 0, run 1 closed SUCCEEDED Completed code 0"},
		{"exit 0 under on-failure", onFailure, []string{"exited 1 code 0"}, "finish SUCCEEDED Completed code 0, run 1 closed SUCCEEDED Completed code 0"},
		{"exit 0 under always waits for 100 ms after the start", always, []string{"after 10ms", "exited 1 code 0"}, "record waiting SUCCEEDED Completed code 0, run 1 closed SUCCEEDED Completed code 0; arm 1 backoff +90ms; forget 1"},
		{"exit 0 under always, long after the start", always, []string{"after 10s", "exited 1 code 0"}, "record waiting SUCCEEDED Completed code 0, run 1 closed SUCCEEDED Completed code 0; arm 1 backoff +0s; forget 1"},
		{"exit 0 under always with an interval", func(s *soltiv1.CreateSpec) { always(s); s.RestartIntervalMs = proto.Uint64(3000) }, []string{"after 10s", "exited 1 code 0"}, "record waiting SUCCEEDED Completed code 0, run 1 closed SUCCEEDED Completed code 0; arm 1 backoff +3s; forget 1"},
		{"any code where none is a failure", func(s *soltiv1.CreateSpec) {
			s.Kind = &soltiv1.TaskKind{Kind: &soltiv1.TaskKind_Subprocess{Subprocess: &soltiv1.SubprocessTask{FailOnNonZero: new(false)}}}
		}, []string{"exited 1 code 3"}, "finish SUCCEEDED Completed code 3, run 1 closed SUCCEEDED Completed code 3"},
		{"exit 9 under never", nil, []string{"exited 1 code 9"}, `finish FAILED NonZeroExit code 9 "exited with code 9", run 1 closed FAILED NonZeroExit code 9 "exited with code 9"`},
		{"exit 9 under on-failure", onFailure, []string{"exited 1 code 9"}, `record waiting FAILED NonZeroExit code 9 "exited with code 9" failures 1, run 1 closed FAILED NonZeroExit code 9 "exited with code 9"; arm 1 backoff +1s; forget 1`},
		{"exit 9 under always", always, []string{"exited 1 code 9"}, `record waiting FAILED NonZeroExit code 9 "exited with code 9" failures 1, run 1 closed FAILED NonZeroExit code 9 "exited with code 9"; arm 1 backoff +1s; forget 1`},
		{"a signal of its own", nil, []string{"exited 1 signal 11"}, `finish FAILED Signaled signal 11 "killed by signal SIGSEGV (11)", run 1 closed FAILED Signaled signal 11 "killed by signal SIGSEGV (11)"`},
		{"out of memory by signal", nil, []string{"exited 1 oom signal 9"}, `finish FAILED OutOfMemory signal 9 "out of memory: killed by signal SIGKILL (9)", run 1 closed FAILED OutOfMemory signal 9 "out of memory: killed by signal SIGKILL (9)"`},
		{"out of memory by code", nil, []string{"exited 1 oom code 1"}, `finish FAILED OutOfMemory code 1 "out of memory: exited with code 1", run 1 closed FAILED OutOfMemory code 1 "out of memory: exited with code 1"`},
		{"out of memory in a task that succeeds all the same", nil, []string{"exited 1 oom code 0"}, "finish SUCCEEDED Completed code 0, run 1 closed SUCCEEDED Completed code 0"},
		{"timeout under never", nil, []string{"elapsed 1 deadline", "exited 1 signal 15"}, `finish TIMEOUT TimedOut "timed out after 1m0s", run 1 closed TIMEOUT TimedOut "timed out after 1m0s"`},
		{"timeout wins over an exit code that comes later", nil, []string{"elapsed 1 deadline", "exited 1 code 0"}, `finish TIMEOUT TimedOut "timed out after 1m0s", run 1 closed TIMEOUT TimedOut "timed out after 1m0s"`},
		{"timeout under on-failure", onFailure, []string{"elapsed 1 deadline", "exited 1 signal 15"}, `record waiting TIMEOUT TimedOut "timed out after 1m0s" failures 1, run 1 closed TIMEOUT TimedOut "timed out after 1m0s"; arm 1 backoff +1s; forget 1`},
		{"no retries at all", retries(0), []string{"exited 1 code 9"}, `finish EXHAUSTED RetriesExhausted code 9 "exited with code 9", run 1 closed FAILED NonZeroExit code 9 "exited with code 9"`},
		{"retries used up", retries(1), []string{"exited 1 code 9", "elapsed 1 backoff", "granted 2", "exited 2 signal 11"}, `finish EXHAUSTED RetriesExhausted signal 11 "killed by signal SIGSEGV (11)", run 2 closed FAILED Signaled signal 11 "killed by signal SIGSEGV (11)"`},
		{"retries used up by a timeout", retries(0), []string{"elapsed 1 deadline", "exited 1 signal 9"}, `finish EXHAUSTED RetriesExhausted "timed out after 1m0s", run 1 closed TIMEOUT TimedOut "timed out after 1m0s"`},
		{"the second failure waits longer", onFailure, []string{"exited 1 code 9", "elapsed 1 backoff", "granted 2", "exited 2 code 9"}, `record waiting FAILED NonZeroExit code 9 "exited with code 9" failures 2, run 2 closed FAILED NonZeroExit code 9 "exited with code 9"; arm 2 backoff +2s; forget 2`},
		{"a success resets failures and backoff", func(s *soltiv1.CreateSpec) { always(s); s.MaxRetries = proto.Uint32(1) }, []string{"exited 1 code 9", "elapsed 1 backoff", "granted 2", "exited 2 code 0", "elapsed 2 backoff", "granted 3", "exited 3 code 9"}, `record waiting FAILED NonZeroExit code 9 "exited with code 9" failures 1, run 3 closed FAILED NonZeroExit code 9 "exited with code 9"; arm 3 backoff +1s; forget 3`},
		{"spawn failed is never retried", always, []string{"exited 1 spawn 127"}, `finish FAILED SpawnFailed code 127 "no such thing", run 1 closed FAILED SpawnFailed code 127 "no such thing"`},
		{"unavailable under never", nil, []string{"exited 1 unavailable"}, `finish FAILED RunnerUnavailable "try later", run 1 closed FAILED RunnerUnavailable "try later"`},
		{"unavailable is retried by policy", onFailure, []string{"exited 1 unavailable"}, `record waiting FAILED RunnerUnavailable "try later" failures 1, run 1 closed FAILED RunnerUnavailable "try later"; arm 1 backoff +1s; forget 1`},
		{"lost under never", nil, []string{"exited 1 lost"}, `finish FAILED NodeLost "the daemon ended while the attempt ran", run 1 closed FAILED NodeLost "the daemon ended while the attempt ran"`},
		{"lost costs no retry, but one step of backoff", retries(0), []string{"exited 1 lost"}, `record waiting FAILED NodeLost "the daemon ended while the attempt ran", run 1 closed FAILED NodeLost "the daemon ended while the attempt ran"; arm 1 backoff +1s; forget 1`},
		{"lost after a failure keeps the count", retries(1), []string{"exited 1 code 9", "elapsed 1 backoff", "granted 2", "exited 2 lost"}, `record waiting FAILED NodeLost "the daemon ended while the attempt ran" failures 1, run 2 closed FAILED NodeLost "the daemon ended while the attempt ran"; arm 2 backoff +1s; forget 2`},
		{"cancel", onFailure, []string{"stop Canceled", "exited 1 signal 15"}, "finish CANCELED Canceled, run 1 closed CANCELED Canceled"},
		{"cancel wins over an exit code that comes later", onFailure, []string{"stop Canceled", "exited 1 code 9"}, "finish CANCELED Canceled, run 1 closed CANCELED Canceled"},
		{"replace", always, []string{"stop Replaced", "exited 1 signal 15"}, "finish CANCELED Replaced, run 1 closed CANCELED Replaced"},
		{"shutdown", always, []string{"stop Shutdown", "exited 1 signal 15"}, "finish CANCELED Shutdown, run 1 closed CANCELED Shutdown"},
		{"timeout, then cancel: the run timed out, the task is canceled", onFailure, []string{"elapsed 1 deadline", "stop Canceled", "exited 1 signal 15"}, `finish CANCELED Canceled, run 1 closed TIMEOUT TimedOut "timed out after 1m0s"`},
		{"cancel, then timeout", onFailure, []string{"stop Canceled", "elapsed 1 deadline", "exited 1 signal 15"}, "finish CANCELED Canceled, run 1 closed CANCELED Canceled"},
		{"replace, then cancel", onFailure, []string{"stop Replaced", "stop Canceled", "exited 1 signal 15"}, "finish CANCELED Replaced, run 1 closed CANCELED Replaced"},
		{"cancel, then replace", onFailure, []string{"stop Canceled", "stop Replaced", "exited 1 signal 15"}, "finish CANCELED Canceled, run 1 closed CANCELED Canceled"},
		{"shutdown, then cancel: the task is canceled", onFailure, []string{"stop Shutdown", "stop Canceled", "exited 1 signal 15"}, "finish CANCELED Canceled, run 1 closed CANCELED Shutdown"},
		{"cancel, then shutdown", onFailure, []string{"stop Canceled", "stop Shutdown", "exited 1 signal 15"}, "finish CANCELED Canceled, run 1 closed CANCELED Canceled"},
		{"timeout, then shutdown, then replace", onFailure, []string{"elapsed 1 deadline", "stop Shutdown", "stop Replaced", "exited 1 signal 15"}, `finish CANCELED Replaced, run 1 closed TIMEOUT TimedOut "timed out after 1m0s"`},
	} {
		t.Run(tc.name, func(t *testing.T) {
			got := follow(t, tc.spec, slices.Concat(run, tc.events)...)
			got, _, _ = strings.Cut(got, "; = ")
			if diff := cmp.Diff(tc.want, got); diff != "" {
				t.Errorf("%q (-want +got):\n%s", tc.events, diff)
			}
		})
	}
}

// TestJitterComesFromTheSeed: the same seed gives the same delay, another one another.
func TestJitterComesFromTheSeed(t *testing.T) {
	delay := func(seed uint64) time.Duration {
		s := spec(onFailure)
		s.Backoff.Jitter = soltiv1.JitterStrategy_JITTER_STRATEGY_FULL
		task := New(s, State{Phase: Running, Attempt: 1, Started: t0}, seed)
		task.Step(t0, Exited{1, exit(t, []string{"code", "9"})})
		return task.State().Until.Sub(t0)
	}
	seen := map[time.Duration]bool{}
	for seed := range uint64(20) {
		d := delay(seed)
		if d < 0 || d > time.Second {
			t.Errorf("seed %d: %v is not within a second", seed, d)
		}
		if d != delay(seed) {
			t.Errorf("seed %d: %v and %v", seed, d, delay(seed))
		}
		seen[d] = true
	}
	if len(seen) < 15 {
		t.Errorf("20 seeds give only %d delays", len(seen))
	}
}

func TestEveryPhaseButTheDiagramPanics(t *testing.T) {
	for from := Ready; from <= Finished; from++ {
		for to := Ready; to <= Finished; to++ {
			task := New(spec(nil), State{Phase: from}, 0)
			legal := slices.Contains(edges[from], to)
			if panicked(func() { task.become(to) }) == legal {
				t.Errorf("%v -> %v: legal %v", from, to, legal)
			}
		}
	}
}

func TestUnknownEventPanics(t *testing.T) {
	task := New(spec(nil), State{}, 0)
	if !panicked(func() { task.Step(t0, nil) }) {
		t.Error("a nil event was taken")
	}
}

func panicked(f func()) (yes bool) {
	defer func() { yes = recover() != nil }()
	f()
	return false
}

// TestRecordKeepsTheState: what a restart needs survives the way through the store.
func TestRecordKeepsTheState(t *testing.T) {
	code, signal := int32(9), int32(11)
	for phase := Ready; phase <= Finished; phase++ {
		want := State{
			Phase: phase, Attempt: 3, Failures: 2, Started: t0.Local(), Until: t0.Add(time.Hour).Local(),
			Cause: messages.ReasonTimedOut, End: messages.ReasonCanceled,
			Shown: Shown{Status: soltiv1.TaskStatus_TASK_STATUS_FAILED, Reason: messages.ReasonSignaled, Error: "e", ExitCode: &code, Signal: &signal},
		}
		if diff := cmp.Diff(want, StateOf(want.next(nil, t0, &Deps{Node: "n"}))); diff != "" {
			t.Errorf("%v (-want +got):\n%s", phase, diff)
		}
	}
	if diff := cmp.Diff(State{}, StateOf(State{}.next(nil, t0, &Deps{Node: "n"}))); diff != "" {
		t.Errorf("nothing (-want +got):\n%s", diff)
	}
}

func BenchmarkLife(b *testing.B) {
	s := spec(onFailure)
	nine, zero := exit(b, []string{"code", "9"}), exit(b, []string{"code", "0"})
	for b.Loop() {
		task := New(s, State{}, 1)
		task.Step(t0, Resumed{})
		task.Step(t0, Granted{1})
		task.Step(t0, Exited{1, nine})
		task.Step(t0, Elapsed{1, Backoff})
		task.Step(t0, Granted{2})
		task.Step(t0, Exited{2, zero})
	}
}
