package slot

import (
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	slotdv1 "slotd/messages/slotd/v1"
	soltiv1 "slotd/messages/solti/v1"
)

var update = flag.Bool("update", false, "rewrite testdata; read the diff before committing it")

// TestStories plays testdata/*.txt: an event a line, answered by what is to be done, in order, and by where the slot
// stands then. An answer names the line that asked.
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
			got := (&story{slot: New(2), asked: map[Caller]string{}}).play(t, string(raw))
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
	slot  Slot
	asked map[Caller]string
}

func (s *story) play(t *testing.T, script string) string {
	t.Helper()
	var got strings.Builder
	for line := range strings.Lines(script) {
		if strings.HasPrefix(line, "  ") {
			continue // an earlier answer
		}
		got.WriteString(line)
		words := strings.Fields(line)
		if len(words) == 0 || words[0] == "#" {
			continue
		}
		caller := Caller(len(s.asked) + 1)
		s.asked[caller] = strings.TrimSpace(line)
		for _, eff := range s.slot.Step(s.parse(t, caller, words)) {
			fmt.Fprintf(&got, "  %s\n", s.show(eff))
		}
		fmt.Fprintf(&got, "  = %s\n", s.stand())
	}
	return got.String()
}

var policies = map[string]soltiv1.AdmissionStrategy{
	"drop":    soltiv1.AdmissionStrategy_ADMISSION_STRATEGY_DROP_IF_RUNNING,
	"queue":   soltiv1.AdmissionStrategy_ADMISSION_STRATEGY_QUEUE,
	"replace": soltiv1.AdmissionStrategy_ADMISSION_STRATEGY_REPLACE,
}

func (s *story) parse(t *testing.T, caller Caller, words []string) Event {
	t.Helper()
	arg := func(i int) string {
		if i < len(words) {
			return words[i]
		}
		return ""
	}
	grace := func(i int) *time.Duration {
		if arg(i) == "" {
			return nil
		}
		d, err := time.ParseDuration(arg(i))
		if err != nil {
			t.Fatal(err)
		}
		return &d
	}
	switch words[0] {
	case "resumed":
		return resumed(t, words[1:])
	case "submit":
		return Submitted{Caller: caller, Task: arg(1), Admission: policies[arg(2)]}
	case "kept":
		return Kept{arg(1)}
	case "refused":
		return Refused{arg(1)}
	case "finished":
		return Finished{arg(1)}
	case "died":
		return Died{arg(1)}
	case "cancel":
		return Cancel{Caller: caller, Task: arg(1), Grace: grace(2)}
	case "delete":
		return Cancel{Caller: caller, Task: arg(1), Purge: true}
	case "clear":
		return Clear{Caller: caller, Holder: arg(1) == "holder"}
	case "drain":
		return Drain{Grace: *grace(1), Keep: arg(2) == "keep"}
	case "parked":
		return Parked{arg(1)}
	}
	t.Fatalf("unknown verb %q", words[0])
	return nil
}

// resumed reads "holder=a replacement=b queue=c,d".
func resumed(t *testing.T, words []string) (ev Resumed) {
	t.Helper()
	for _, word := range words {
		switch name, value, _ := strings.Cut(word, "="); name {
		case "holder":
			ev.Holder = value
		case "replacement":
			ev.Replacement = value
		case "queue":
			ev.Queue = strings.Split(value, ",")
		default:
			t.Fatalf("unknown role %q", name)
		}
	}
	return ev
}

func (s *story) show(eff Effect) string {
	switch eff := eff.(type) {
	case Record:
		text := fmt.Sprintf("record %s %s", eff.Change, eff.Task)
		if eff.Role != slotdv1.Role_ROLE_UNSPECIFIED {
			text += " as " + strings.ToLower(strings.TrimPrefix(eff.Role.String(), "ROLE_"))
		}
		return strings.TrimSpace(text + " " + string(eff.Reason))
	case Stop:
		text := fmt.Sprintf("stop %s %s", eff.Task, eff.Cause)
		if eff.Grace != nil {
			text += fmt.Sprintf(" within %v", *eff.Grace)
		}
		if eff.Keep {
			text += ", keep it"
		}
		return text
	case Answer:
		text := fmt.Sprintf("answer %q: %s", s.asked[eff.Caller], eff.Reply)
		if eff.Reply == Busy {
			text += " with " + eff.Task
		}
		if eff.Reply == Cleared {
			text += " " + strings.Join(eff.Tasks, " ")
		}
		if eff.Decision != "" {
			text += fmt.Sprintf(" (%s)", eff.Decision)
		}
		return text
	case Count:
		return fmt.Sprintf("count %s", eff.Decision)
	default: // spawn, recall and release say only whom
		text := fmt.Sprintf("%T %v", eff, eff)
		return strings.ToLower(strings.NewReplacer("slot.", "", "{", "", "}", "").Replace(text))
	}
}

func (s *story) stand() string {
	text := strings.ToLower(s.slot.Phase().String())
	if e := s.slot.holder; e != nil {
		text += ", holder " + e.task
	}
	if e := s.slot.replacement; e != nil {
		text += ", replacement " + e.task
	}
	sep := ", queue "
	for e := range s.slot.queue.all {
		text += sep + e.task
		sep = " "
	}
	if _, resting := s.slot.Rest(); resting {
		text += ", rests"
	}
	return text
}
