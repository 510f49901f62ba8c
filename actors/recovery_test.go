package actors_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"math"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/hashicorp/go-hclog"
	"google.golang.org/protobuf/testing/protocmp"

	"slotd/actors"
	"slotd/actors/catalog"
	"slotd/actors/logs"
	"slotd/actors/runner"
	"slotd/actors/store"
	"slotd/actors/store/memory"
	"slotd/messages"
	slotdv1 "slotd/messages/slotd/v1"
	soltiv1 "slotd/messages/solti/v1"
)

// always is a task that is repeated a minute after each end.
func always(slot string) *soltiv1.CreateSpec {
	spec := command(slot, queue)
	spec.Restart = soltiv1.RestartStrategy_RESTART_STRATEGY_ALWAYS
	spec.RestartIntervalMs = new(uint64(60_000))
	return spec
}

// told is what a log tells: "start 1, hello, finish 1 exit 0".
func told(t *testing.T, text string) string {
	t.Helper()
	var events []string
	for line := range strings.Lines(text) {
		data, isData := strings.CutPrefix(line, "data: ")
		if !isData {
			continue
		}
		var e struct {
			Type     string
			Attempt  int
			Line     string
			ExitCode *int
			Skipped  int
		}
		if err := json.Unmarshal([]byte(data), &e); err != nil {
			t.Fatalf("%s: %v", data, err)
		}
		switch {
		case e.Type == "chunk":
			events = append(events, e.Line)
		case e.Type == "runStarted":
			events = append(events, fmt.Sprintf("start %d", e.Attempt))
		case e.Type == "runFinished" && e.ExitCode != nil:
			events = append(events, fmt.Sprintf("finish %d exit %d", e.Attempt, *e.ExitCode))
		case e.Type == "runFinished":
			events = append(events, fmt.Sprintf("finish %d", e.Attempt))
		default:
			events = append(events, fmt.Sprintf("%s %d", e.Type, e.Skipped))
		}
	}
	return strings.Join(events, ", ")
}

// The node dies between the commit of a run's end and its record in the log.
func TestALogTellsTheEndThatACrashCutOff(t *testing.T) {
	for _, c := range []struct {
		name        string
		spec        *soltiv1.CreateSpec
		say         string
		attempts    int // the last of them is cut off
		want, later string
	}{
		{"waiting", always("lane"), "hello\n", 1, "start 1, hello, finish 1 exit 0", ", start 2, hello, finish 2 exit 0"},
		{
			"waiting again", always("lane"), "hello\n", 2,
			"start 1, hello, finish 1 exit 0, start 2, hello, finish 2 exit 0", ", start 3, hello, finish 3 exit 0",
		},
		{"terminal", command("lane", queue), "hello\n", 1, "start 1, hello, finish 1 exit 0", ""},
		{"waiting and silent", always("lane"), "", 1, "start 1, finish 1 exit 0", ", start 2, finish 2 exit 0"},
		{"terminal and silent", command("lane", queue), "", 1, "start 1, finish 1 exit 0", ""},
	} {
		for _, read := range []bool{true, false} { // before the task goes on
			t.Run(fmt.Sprintf("%s read=%v", c.name, read), func(t *testing.T) {
				onMachine(t, func(t *testing.T, m *machine) {
					m.say, m.hold = c.say, true
					l := m.begin(actors.Config{}, false)
					id := l.accepted(l.ask(&slotdv1.Submit{Spec: c.spec}))
					l.wait(id, catalog.WantRunning)
					for n := range c.attempts - 1 {
						synctest.Wait()
						l.runner.end(id, n+1)
						time.Sleep(90 * time.Second)
					}
					synctest.Wait()
					l.mortal.fallSilent()
					l.runner.end(id, c.attempts)
					synctest.Wait()
					l.kill()

					m.hold = false
					for range 2 {
						l = m.begin(actors.Config{}, false)
						if err := l.Recovered(t.Context()); err != nil {
							t.Fatal(err)
						}
						if read {
							if got := told(t, l.read(id, false)); got != c.want {
								t.Errorf("after the crash: %q, want %q", got, c.want)
							}
						}
						l.kill()
					}
					l = m.begin(actors.Config{}, false)
					time.Sleep(90 * time.Second)
					for range 2 {
						if got := told(t, l.read(id, false)); got != c.want+c.later {
							t.Errorf("later: %q, want %q", got, c.want+c.later)
						}
						l.kill()
						l = m.begin(actors.Config{}, false)
						if err := l.Recovered(t.Context()); err != nil {
							t.Fatal(err)
						}
					}
					l.kill()
				})
			})
		}
	}
}

// Tasks of all kinds, a node that is killed at any moment, mostly between a commit and what follows it: at the end each
// attempt has one start and one end in its log, and they are those of its run.
func TestEveryAttemptIsToldOnceAcrossCrashes(t *testing.T) {
	for seed := range uint64(6) {
		t.Run(fmt.Sprintf("seed %d", seed), func(t *testing.T) {
			onMachine(t, func(t *testing.T, m *machine) {
				random := rand.New(rand.NewPCG(seed, 1))
				var ids []string
				for range 8 {
					m.say = []string{"", "hello\n"}[random.IntN(2)]
					m.hold = random.IntN(2) == 0
					l := m.begin(actors.Config{}, false)
					if err := l.Recovered(t.Context()); err != nil {
						t.Fatal(err)
					}
					ids = append(ids, l.live(random, 40, 20)...)
					l.mortal.fallSilent()
					l.live(random, random.IntN(20), 20)
					for _, id := range ids[:random.IntN(len(ids)+1)] { // readers make their logs be loaded
						l.read(id, false)
					}
					l.kill()
				}
				l := m.begin(actors.Config{}, false)
				if err := l.Recovered(t.Context()); err != nil {
					t.Fatal(err)
				}
				synctest.Wait()
				for _, id := range ids {
					l.checkLog(t, id)
				}
				l.kill()
			})
		})
	}
}

// live is a random stretch of a node's life. It returns the tasks that were accepted.
func (l *life) live(random *rand.Rand, steps, slots int) (ids []string) {
	for range steps {
		slot := fmt.Sprint("lane-", random.IntN(slots))
		switch random.IntN(8) {
		case 0:
			l.System().Root.Send(l.Registry(), &slotdv1.PurgeSlot{Slot: slot, Holder: random.IntN(2) == 0})
		case 1, 2:
			l.runner.endAny(random)
		default:
			spec := command(slot, soltiv1.AdmissionStrategy(1+random.IntN(3)))
			spec.Restart = soltiv1.RestartStrategy(1 + random.IntN(3))
			spec.RestartIntervalMs = new(uint64(random.IntN(3) * random.IntN(60_000)))
			spec.Backoff.FirstMs = uint64(1 + random.IntN(100))
			spec.MaxRetries = new(uint32(random.IntN(4)))
			spec.Labels = map[string]string{"team": fmt.Sprint(random.IntN(3))}
			submission := &slotdv1.Submit{Spec: spec}
			if random.IntN(3) == 0 {
				submission.IdempotencyKey = fmt.Sprint("key-", random.IntN(1000))
			}
			future := l.System().Root.RequestFuture(l.Registry(), submission, time.Millisecond)
			if answer, err := future.Result(); err == nil {
				if accepted, ok := answer.(*slotdv1.Submitted); ok {
					ids = append(ids, accepted.GetTaskId())
				}
			}
		}
		time.Sleep(time.Duration(random.IntN(200)) * time.Millisecond)
	}
	return ids
}

// endAny ends one of the attempts that run, well or badly.
func (w *ward) endAny(random *rand.Rand) {
	w.mu.Lock()
	defer w.mu.Unlock()
	names := slices.Sorted(maps.Keys(w.beds))
	if len(names) > 0 {
		w.beds[names[random.IntN(len(names))]].end(runner.Exit{Code: random.IntN(2)})
	}
}

// checkLog compares a log with the runs of its task.
func (l *life) checkLog(t *testing.T, id string) {
	t.Helper()
	if _, kept := l.Catalog().Task(id); !kept {
		return // it was purged
	}
	runs, err := l.mortal.Runs(t.Context(), id)
	if err != nil {
		t.Fatal(err)
	}
	var want []string
	for _, run := range runs {
		want = append(want, fmt.Sprintf("start %d", run.GetAttempt()))
		switch {
		case run.GetFinishedAt() != 0 && run.ExitCode != nil:
			want = append(want, fmt.Sprintf("finish %d exit %d", run.GetAttempt(), run.GetExitCode()))
		case run.GetFinishedAt() != 0:
			want = append(want, fmt.Sprintf("finish %d", run.GetAttempt()))
		}
	}
	text := told(t, l.read(id, false))
	got := strings.ReplaceAll(text, ", hello", "")
	if got != strings.Join(want, ", ") {
		t.Errorf("%s: the log tells %q, the runs are %q", id, text, want)
	}
}

// A store with records that make no sense is left alone, and so is everything else.
func TestRecordsThatMakeNoSenseStopANodeBeforeAnythingStarts(t *testing.T) {
	onMachine(t, func(t *testing.T, m *machine) {
		m.say, m.hold = "hello\n", true
		l := m.begin(actors.Config{}, false)
		id := l.submit("lane", queue)
		l.wait(id, catalog.WantRunning)
		synctest.Wait()
		l.kill()

		wrong := &slotdv1.TaskRecord{Id: "tsk_7ZZZZZZZZZZZZZZZZZZZZZZZZZ", Slot: "lane", Phase: slotdv1.Phase_PHASE_RUNNING}
		m.disk.Commit(&store.Batch{Tasks: []*slotdv1.TaskRecord{wrong}}, func(err error) {
			if err != nil {
				t.Error(err)
			}
		})
		synctest.Wait()
		before, folders := m.content(), l.folders()

		l = m.begin(actors.Config{Retain: time.Nanosecond}, false)
		err := l.Recovered(t.Context())
		for _, part := range []string{"tsk_7ZZZ", "it has no spec", "left as it is", "make no sense"} {
			if err == nil || !strings.Contains(err.Error(), part) {
				t.Errorf("got %v, want %q in it", err, part)
			}
		}
		if l.Ready() == nil {
			t.Error("the node calls itself ready")
		}
		answer, ok := l.ask(&slotdv1.Submit{Spec: command("other", drop)}).(*slotdv1.Rejection)
		if !ok || answer.GetLabel() != messages.LabelUnavailable {
			t.Errorf("a submission is answered with %v", answer)
		}
		l.faults.Arm("registry.registry", &slotdv1.PurgeSlot{}, 0, false) // a registry that begins again knows no more
		l.System().Root.Send(l.Registry(), &slotdv1.PurgeSlot{Slot: "nobody"})
		time.Sleep(time.Hour)
		if _, ok := l.ask(&slotdv1.Submit{Spec: command("other", drop)}).(*slotdv1.Rejection); !ok || l.faults.Hits() != 1 {
			t.Errorf("a submission is accepted after %d faults", l.faults.Hits())
		}
		if len(l.runner.starts) != 0 {
			t.Errorf("started %v", l.runner.starts)
		}
		l.kill()
		if diff := cmp.Diff(before, m.content(), protocmp.Transform()); diff != "" {
			t.Errorf("the store has changed (-before +after):\n%s", diff)
		}
		if got := l.folders(); got != folders {
			t.Errorf("%d log folders of %d are left", got, folders)
		}
	})
}

// content is all that is on the disk.
func (m *machine) content() (entries []store.Entry) {
	m.t.Helper()
	if err := m.disk.Load(m.t.Context(), func(e store.Entry) error { entries = append(entries, e); return nil }); err != nil {
		m.t.Fatal(err)
	}
	return entries
}

// stuck is a store that cannot be read to its end.
type stuck struct {
	*memory.Store
	loading chan struct{}
}

func (s stuck) Load(ctx context.Context, _ func(store.Entry) error) error {
	close(s.loading)
	<-ctx.Done()
	return ctx.Err()
}

func TestAStopDuringRecoveryIsNoError(t *testing.T) {
	disk := stuck{memory.New(memory.Config{}), make(chan struct{})}
	kept, err := logs.Open(logs.Config{Dir: t.TempDir()}, nil)
	if err != nil {
		t.Fatal(err)
	}
	var said bytes.Buffer
	tree, err := actors.Start(actors.Config{Store: disk, Logs: kept, Logger: hclog.New(&hclog.LoggerOptions{Output: &said})})
	if err != nil {
		t.Fatal(err)
	}
	<-disk.loading
	tree.Stop()
	if err := errors.Join(kept.Shutdown(), disk.Close()); err != nil {
		t.Error(err)
	}
	if said.Len() != 0 {
		t.Errorf("the node says: %s", said.String())
	}
	if err := tree.Recovered(t.Context()); !errors.Is(err, context.Canceled) {
		t.Errorf("got %v", err)
	}
}

// What a node knew when it was at rest, the next one knows before anything happens in it.
func TestANewLifeKnowsWhatTheOldOneKnew(t *testing.T) {
	for seed := range uint64(5) {
		t.Run(fmt.Sprintf("seed %d", seed), func(t *testing.T) {
			onMachine(t, func(t *testing.T, m *machine) {
				random := rand.New(rand.NewPCG(seed, 1))
				m.say, m.hold = "hello\n", true
				l := m.begin(actors.Config{}, false)
				ids := l.live(random, 400, 12)
				synctest.Wait()
				before := l.knows(ids)
				if before.Counts.Queued == 0 || before.Counts.Terminal == 0 || before.Counts.Keys == 0 || len(before.Slots) == 0 {
					t.Errorf("this life was too simple: %+v", before.Counts)
				}
				l.kill()
				time.Sleep(time.Hour)

				l = m.begin(actors.Config{}, true)
				if err := l.Recovered(t.Context()); err != nil {
					t.Fatal(err)
				}
				if diff := cmp.Diff(before, l.knows(ids), protocmp.Transform(),
					protocmp.IgnoreFields(&slotdv1.SlotView{}, "counters")); diff != "" {
					t.Errorf("known before, known after (-before +after):\n%s", diff)
				}
				l.kill()
			})
		})
	}
}

// knowledge is all that can be asked of a catalog.
type knowledge struct {
	Tasks      []*soltiv1.TaskData
	Total      int
	Slots      []*slotdv1.SlotView
	Longest    []*slotdv1.QueueDepth
	Counts     catalog.Counts
	LastID     string
	Ended      []*slotdv1.TaskRecord
	Expiring   []*slotdv1.KeyRecord
	Unfinished map[string][]*slotdv1.TaskRecord
	Runs       map[string][]*soltiv1.TaskRunInfo
}

func (l *life) knows(ids []string) knowledge {
	l.t.Helper()
	c := l.Catalog()
	k := knowledge{
		Slots: c.Slots(), Longest: c.Longest(1000), Counts: c.Counts(), LastID: c.LastID(),
		Ended: c.OldestTerminal(1 << 20), Expiring: c.ExpiredKeys(math.MaxInt64, 1<<20),
		Unfinished: map[string][]*slotdv1.TaskRecord{}, Runs: map[string][]*soltiv1.TaskRunInfo{},
	}
	k.Tasks, k.Total = c.Tasks(messages.Query{Limit: 1 << 20})
	for _, view := range k.Slots {
		k.Unfinished[view.GetSlot()] = c.Unfinished(view.GetSlot())
	}
	for _, id := range ids {
		if _, kept := c.Task(id); kept {
			runs, err := c.Runs(l.t.Context(), id)
			if err != nil {
				l.t.Fatal(err)
			}
			k.Runs[id] = runs
		}
	}
	return k
}
