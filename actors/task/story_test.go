package task

import (
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"slotd/messages"
	slotdv1 "slotd/messages/slotd/v1"
	soltiv1 "slotd/messages/solti/v1"
)

var update = flag.Bool("update", false, "rewrite testdata; read the diff before committing it")

// TestStories plays testdata/*.txt: an event a line, answered by what is to be done, in order, and by where the task
// stands then. Durations count from the present moment; "after 5s" lets time pass, "rebuilt" makes the task again from
// its last record.
func TestStories(t *testing.T) {
	files, err := filepath.Glob("testdata/*.txt")
	if err != nil || len(files) == 0 {
		t.Fatalf("stories: %v, %v", files, err)
	}
	for _, file := range files {
		t.Run(strings.TrimSuffix(filepath.Base(file), ".txt"), func(t *testing.T) {
			raw, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			got := newStory(spec(nil)).play(t, string(raw))
			if *update {
				if err := os.WriteFile(file, []byte(got), 0o644); err != nil {
					t.Fatal(err)
				}
			} else if got != string(raw) {
				t.Errorf("story changed:\n%s", got)
			}
		})
	}
}

type story struct {
	spec *soltiv1.CreateSpec
	task Task
	kept State
	now  time.Time
}

func newStory(spec *soltiv1.CreateSpec) *story {
	return &story{spec: spec, task: New(spec, State{}, 0), now: t0}
}

func (s *story) play(t *testing.T, script string) string {
	t.Helper()
	var got strings.Builder
	for line := range strings.Lines(script) {
		if strings.HasPrefix(line, "  ") {
			continue // an earlier answer
		}
		got.WriteString(strings.TrimSuffix(line, "\n") + "\n")
		words := strings.Fields(line)
		if len(words) == 0 || words[0] == "#" {
			continue
		}
		ev := s.parse(t, words)
		if ev == nil {
			continue
		}
		for _, eff := range s.task.Step(s.now, ev) {
			if r, ok := eff.(Record); ok {
				s.kept = r.State
			}
			fmt.Fprintf(&got, "  %s\n", s.show(eff))
		}
		fmt.Fprintf(&got, "  = %s, attempt %d\n", strings.ToLower(s.task.State().Phase.String()), s.task.State().Attempt)
	}
	return got.String()
}

var strategies = map[string]soltiv1.RestartStrategy{
	"never":      soltiv1.RestartStrategy_RESTART_STRATEGY_NEVER,
	"on-failure": soltiv1.RestartStrategy_RESTART_STRATEGY_ON_FAILURE,
	"always":     soltiv1.RestartStrategy_RESTART_STRATEGY_ALWAYS,
}

// parse also does what is no event: spec, after and rebuilt.
func (s *story) parse(t *testing.T, words []string) Event {
	t.Helper()
	arg := func(i int) string {
		if i < len(words) {
			return words[i]
		}
		return ""
	}
	attempt := func() uint32 { return uint32(number(t, arg(1))) }
	switch words[0] {
	case "spec": // spec <restart> [max-retries]
		s.spec.Restart = strategies[arg(1)]
		if arg(2) != "" {
			s.spec.MaxRetries = new(uint32(number(t, arg(2))))
		}
		return nil
	case "after":
		s.now = s.now.Add(duration(t, arg(1)))
		return nil
	case "rebuilt":
		s.task = New(s.spec, s.kept, 0)
		return Resumed{}
	case "resumed":
		return Resumed{}
	case "granted":
		return Granted{attempt()}
	case "started":
		at := s.now
		if arg(2) != "" { // ago
			at = at.Add(-duration(t, arg(2)))
		}
		return Started{attempt(), at}
	case "exited":
		return Exited{attempt(), exit(t, words[2:])}
	case "elapsed":
		return Elapsed{attempt(), timers[arg(2)]}
	case "stop":
		stop := Stop{Cause: messages.Reason(arg(1))}
		if arg(2) != "" {
			grace := duration(t, arg(2))
			stop.Grace = &grace
		}
		stop.Keep = arg(3) == "keep"
		return stop
	}
	t.Fatalf("unknown verb %q", words[0])
	return nil
}

var timers = map[string]Timer{"deadline": Deadline, "grace": Grace, "backoff": Backoff}

// exit reads "code 9", "signal 11", "oom signal 9", "spawn 127", "unavailable" or "lost".
func exit(t testing.TB, words []string) *slotdv1.AttemptExited {
	t.Helper()
	var e slotdv1.AttemptExited
	if words[0] == "oom" {
		e.OutOfMemory, words = true, words[1:]
	}
	switch words[0] {
	case "code":
		e.Kind, e.ExitCode = slotdv1.ExitKind_EXIT_KIND_EXITED, number(t, words[1])
	case "signal":
		e.Kind, e.Signal = slotdv1.ExitKind_EXIT_KIND_SIGNALED, number(t, words[1])
	case "spawn":
		e.Kind, e.ExitCode, e.Error = slotdv1.ExitKind_EXIT_KIND_SPAWN_FAILED, number(t, words[1]), "no such thing"
	case "unavailable":
		e.Kind, e.Error = slotdv1.ExitKind_EXIT_KIND_UNAVAILABLE, "try later"
	case "lost":
		e.Kind = slotdv1.ExitKind_EXIT_KIND_LOST
	default:
		t.Fatalf("unknown exit %q", words)
	}
	return &e
}

func number(t testing.TB, s string) int32 {
	t.Helper()
	n, err := strconv.ParseInt(s, 10, 32)
	if err != nil {
		t.Fatal(err)
	}
	return int32(n)
}

func duration(t *testing.T, s string) time.Duration {
	t.Helper()
	d, err := time.ParseDuration(s)
	if err != nil {
		t.Fatal(err)
	}
	return d
}

func (s *story) show(eff Effect) string {
	switch eff := eff.(type) {
	case Record:
		return fmt.Sprintf("record %s%s", s.state(eff.State), run(eff.Run))
	case Finish:
		return fmt.Sprintf("finish %s%s", shown(eff.State.Shown), run(eff.Run))
	case Arm:
		return fmt.Sprintf("arm %d %v +%v", eff.Attempt, eff.Timer, eff.At.Sub(s.now))
	default: // the others say only which attempt
		text := fmt.Sprintf("%T %v", eff, eff)
		return strings.ToLower(strings.NewReplacer("task.", "", "{", "", "}", "").Replace(text))
	}
}

func (s *story) state(st State) string {
	text := strings.ToLower(st.Phase.String())
	switch st.Phase {
	case Stopping:
		text += " " + string(st.Cause)
		if st.End != "" {
			text += ", end " + string(st.End)
		}
	case Waiting:
		text += " " + shown(st.Shown)
		if st.Failures > 0 {
			text += fmt.Sprintf(" failures %d", st.Failures)
		}
	default: // the phase says it all
	}
	return text
}

func run(r *Run) string {
	switch {
	case r == nil:
		return ""
	case r.Finished.IsZero():
		return fmt.Sprintf(", run %d opened", r.Attempt)
	default:
		return fmt.Sprintf(", run %d closed %s", r.Attempt, shown(r.Shown))
	}
}

func shown(s Shown) string {
	text := strings.TrimPrefix(s.Status.String(), "TASK_STATUS_") + " " + string(s.Reason)
	if s.ExitCode != nil {
		text += fmt.Sprintf(" code %d", *s.ExitCode)
	}
	if s.Signal != nil {
		text += fmt.Sprintf(" signal %d", *s.Signal)
	}
	if s.Error != "" {
		text += fmt.Sprintf(" %q", s.Error)
	}
	return text
}
