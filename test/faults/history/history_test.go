package history

import (
	"strings"
	"testing"

	"google.golang.org/protobuf/proto"

	"slotd/messages"
	soltiv1 "slotd/messages/solti/v1"
	"slotd/test/faults/mark"
)

const id = "tsk_1"

// admitted is a history with one task that was answered.
func admitted(t *testing.T, change ...func(*soltiv1.CreateSpec)) (*History, *soltiv1.TaskData) {
	t.Helper()
	h := New()
	h.Begin("a test")
	spec := &soltiv1.CreateSpec{Slot: "s", TimeoutMs: 1000, Labels: map[string]string{Label: "1"}, Restart: soltiv1.RestartStrategy_RESTART_STRATEGY_ON_FAILURE}
	for _, c := range change {
		c(spec)
	}
	h.Submitting(spec, "").Answered(id)
	full := proto.CloneOf(spec)
	messages.Defaults(full)
	return h, &soltiv1.TaskData{
		Metadata: &soltiv1.ObjectMeta{Id: id, ResourceVersion: 1}, Spec: full,
		Status: &soltiv1.TaskStatusInfo{Phase: soltiv1.TaskStatus_TASK_STATUS_PENDING},
	}
}

// later is the same task some versions on.
func later(data *soltiv1.TaskData, version uint64, change func(*soltiv1.TaskStatusInfo)) *soltiv1.TaskData {
	data = proto.CloneOf(data)
	data.Metadata.ResourceVersion = version
	change(data.Status)
	return data
}

func succeeded(s *soltiv1.TaskStatusInfo) {
	s.Phase, s.Terminal, s.Attempt = soltiv1.TaskStatus_TASK_STATUS_SUCCEEDED, true, 1
	s.Reason = new(string(messages.ReasonCompleted))
}

func wantProblem(t *testing.T, h *History, want string) {
	t.Helper()
	var found []string
	for _, p := range h.Problems() {
		if want != "" && strings.Contains(p.What, want) {
			return
		}
		found = append(found, p.What)
	}
	if want != "" || len(found) > 0 {
		t.Errorf("want the problem %q, found %q", want, found)
	}
}

func TestRulesOnWhatIsShown(t *testing.T) {
	for name, c := range map[string]struct {
		tell func(*History, *soltiv1.TaskData)
		want string // empty: no problem
	}{
		"there":         {func(h *History, d *soltiv1.TaskData) { h.Listed(h.Look(), []*soltiv1.TaskData{d}) }, ""},
		"lost":          {func(h *History, _ *soltiv1.TaskData) { h.Listed(h.Look(), nil) }, "not there any more"},
		"asked before":  {func(h *History, _ *soltiv1.TaskData) { h.Listed(0, nil) }, ""},
		"twice":         {func(h *History, d *soltiv1.TaskData) { h.Listed(h.Look(), []*soltiv1.TaskData{d, d}) }, "twice"},
		"being deleted": {func(h *History, _ *soltiv1.TaskData) { h.Deleting(id); h.Listed(h.Look(), nil) }, ""},
		"deleted": {func(h *History, d *soltiv1.TaskData) {
			h.Deleting(id)
			h.Deleted(id)
			h.Saw(h.Look(), d)
		}, "was deleted"},
		"nobody's": {func(h *History, d *soltiv1.TaskData) {
			d.Spec.Labels[Label] = "2"
			h.Saw(h.Look(), d)
		}, "nobody has submitted"},
		"two tasks of one submission": {func(h *History, d *soltiv1.TaskData) {
			other := proto.CloneOf(d)
			other.Metadata.Id = "tsk_2"
			h.Listed(h.Look(), []*soltiv1.TaskData{d, other})
		}, "is the task"},
		"another spec": {func(h *History, d *soltiv1.TaskData) { d.Spec.TimeoutMs++; h.Saw(h.Look(), d) }, "its spec is"},
		"back": {func(h *History, d *soltiv1.TaskData) {
			h.Saw(h.Look(), later(d, 2, succeeded))
			h.Saw(h.Look(), d)
		}, "was known before"},
		"back, asked before": {func(h *History, d *soltiv1.TaskData) {
			look := h.Look()
			h.Saw(look, later(d, 2, succeeded))
			h.Saw(look, d)
		}, ""},
		"two outcomes": {func(h *History, d *soltiv1.TaskData) {
			h.Saw(h.Look(), later(d, 2, succeeded))
			h.Saw(h.Look(), later(d, 3, succeeded))
		}, "was terminal"},
		"two faces": {func(h *History, d *soltiv1.TaskData) {
			h.Saw(h.Look(), d)
			h.Saw(h.Look(), later(d, 1, succeeded))
		}, "two faces"},
		"another place in the queue": {func(h *History, d *soltiv1.TaskData) {
			h.Saw(h.Look(), d)
			h.Saw(h.Look(), later(d, 1, func(s *soltiv1.TaskStatusInfo) { s.QueuePosition = new(uint32(3)) }))
		}, ""},
		"another due time": {func(h *History, d *soltiv1.TaskData) {
			for version, due := range []int64{5, 6} {
				h.Saw(h.Look(), later(d, uint64(2+version), func(s *soltiv1.TaskStatusInfo) { s.Attempt, s.NextAttemptAt = 1, &due }))
			}
		}, "is now due"},
		"refused": {func(h *History, d *soltiv1.TaskData) {
			spec := proto.CloneOf(d.GetSpec())
			spec.Labels[Label] = "2"
			h.Submitting(spec, "").Refused("SlotBusy")
			d.Metadata.Id, d.Spec = "tsk_2", spec
			h.Saw(h.Look(), d)
		}, "was refused, and is a task"},
		"two ids of one key": {func(h *History, d *soltiv1.TaskData) {
			spec := proto.CloneOf(d.GetSpec())
			spec.Labels[Label] = "2"
			s := h.Submitting(spec, "key")
			s.Answered("tsk_2")
			s.Again()
			s.Answered("tsk_3")
		}, "is the task tsk_2 and the task tsk_3"},
	} {
		t.Run(name, func(t *testing.T) {
			h, data := admitted(t)
			c.tell(h, data)
			wantProblem(t, h, c.want)
		})
	}
}

func TestRulesOnMarks(t *testing.T) {
	start := mark.Mark{Kind: mark.Start, Life: 1, Slot: "s", Task: id, Attempt: 1, PID: 10, Wall: 5_000_000_000}
	end, other, again := start, start, start
	end.Kind = mark.End
	other.Task, again.Attempt = "tsk_0", 2
	child, met, old := start, start, start
	child.Kind, met.Kind = mark.Child, mark.Overlap
	old.Life, old.Task = 0, "tsk_3"
	for name, c := range map[string]struct {
		marks []mark.Mark
		want  string
	}{
		"one after the other":        {[]mark.Mark{start, child, end, again}, ""},
		"a lost end":                 {[]mark.Mark{start, again}, ""},
		"twice":                      {[]mark.Mark{start, end, start}, "begun twice"},
		"an end after another start": {[]mark.Mark{start, again, end}, "was alive after"},
		"a child after another":      {[]mark.Mark{start, again, child}, "was alive after"},
		"met":                        {[]mark.Mark{start, met}, "met the living"},
		"of an earlier life":         {[]mark.Mark{start, old}, "began after life 1"},
		"before it was due":          {[]mark.Mark{start, end, again}, "was due at"},
		"behind its turn":            {[]mark.Mark{start, end, other}, "queued behind"},
	} {
		t.Run(name, func(t *testing.T) {
			h, data := admitted(t, func(s *soltiv1.CreateSpec) { s.Admission = soltiv1.AdmissionStrategy_ADMISSION_STRATEGY_QUEUE })
			switch name {
			case "before it was due":
				h.Saw(h.Look(), later(data, 2, func(s *soltiv1.TaskStatusInfo) { s.Attempt, s.NextAttemptAt = 1, new(int64(5_100)) }))
			case "behind its turn":
				spec := proto.CloneOf(data.GetSpec())
				spec.Labels[Label] = "2"
				h.Submitting(spec, "").Answered("tsk_0")
			}
			h.Marked(c.marks)
			h.Settle()
			wantProblem(t, h, c.want)
		})
	}
}
