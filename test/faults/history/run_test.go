package history

import (
	"strings"
	"testing"

	"google.golang.org/protobuf/proto"

	"slotd/messages"
	soltiv1 "slotd/messages/solti/v1"
)

// run is a finished one of a hundred milliseconds, so many after the end of the one before.
func run(attempt uint32, reason messages.Reason, startedAt int64) *soltiv1.TaskRunInfo {
	r := &soltiv1.TaskRunInfo{
		Attempt: attempt, StartedAt: startedAt, FinishedAt: new(startedAt + 100), Reason: new(string(reason)),
		Status: soltiv1.TaskStatus_TASK_STATUS_FAILED,
	}
	switch reason {
	case messages.ReasonCompleted:
		r.Status = soltiv1.TaskStatus_TASK_STATUS_SUCCEEDED
	case messages.ReasonCanceled, messages.ReasonShutdown:
		r.Status = soltiv1.TaskStatus_TASK_STATUS_CANCELED
	default:
	}
	return r
}

func TestRunsFollowThePolicy(t *testing.T) {
	const failed, lost, done = messages.ReasonNonZeroExit, messages.ReasonNodeLost, messages.ReasonCompleted
	open := run(2, failed, 1200)
	open.FinishedAt = nil
	exhausted := func(s *soltiv1.TaskStatusInfo) {
		s.Phase, s.Reason = soltiv1.TaskStatus_TASK_STATUS_EXHAUSTED, new(string(messages.ReasonRetriesExhausted))
	}
	completed := func(s *soltiv1.TaskStatusInfo) {
		s.Phase, s.Reason = soltiv1.TaskStatus_TASK_STATUS_SUCCEEDED, new(string(done))
	}
	for name, c := range map[string]struct {
		runs []*soltiv1.TaskRunInfo
		end  func(*soltiv1.TaskStatusInfo) // nil: it goes on
		want string
	}{
		"one retry":                 {[]*soltiv1.TaskRunInfo{run(1, failed, 1000), run(2, failed, 1200)}, exhausted, ""},
		"lost runs are free":        {[]*soltiv1.TaskRunInfo{run(1, failed, 1000), run(2, lost, 1200), run(3, failed, 1400)}, exhausted, ""},
		"a stop is free":            {[]*soltiv1.TaskRunInfo{run(1, messages.ReasonShutdown, 1000), run(2, failed, 1100), run(3, done, 1300)}, completed, ""},
		"lost runs are not counted": {[]*soltiv1.TaskRunInfo{run(1, lost, 1000), run(2, failed, 1200)}, exhausted, "its policy goes on"},
		"one too many":              {[]*soltiv1.TaskRunInfo{run(1, failed, 1000), run(2, failed, 1200), run(3, failed, 1400)}, exhausted, "which was the last"},
		"on after success":          {[]*soltiv1.TaskRunInfo{run(1, done, 1000), run(2, done, 1200)}, completed, "which was the last"},
		"too soon":                  {[]*soltiv1.TaskRunInfo{run(1, failed, 1000), run(2, done, 1150)}, completed, "want 100 at least"},
		"a gap":                     {[]*soltiv1.TaskRunInfo{run(1, failed, 1000), run(3, done, 1200)}, completed, "stands where 2 belongs"},
		"under way":                 {[]*soltiv1.TaskRunInfo{run(1, failed, 1000), open}, nil, ""},
		"never closed":              {[]*soltiv1.TaskRunInfo{run(1, failed, 1000), open}, exhausted, "is not finished"},
		"another outcome":           {[]*soltiv1.TaskRunInfo{run(1, failed, 1000), run(2, done, 1200)}, exhausted, "it ended"},
		"no run at all":             {nil, completed, "no run is there"},
	} {
		t.Run(name, func(t *testing.T) {
			data := &soltiv1.TaskData{
				Metadata: &soltiv1.ObjectMeta{Id: id},
				Spec: &soltiv1.CreateSpec{
					Restart: soltiv1.RestartStrategy_RESTART_STRATEGY_ON_FAILURE, MaxRetries: new(uint32(1)),
					Backoff: &soltiv1.BackoffStrategy{Jitter: soltiv1.JitterStrategy_JITTER_STRATEGY_NONE, FirstMs: 100, MaxMs: 100, Factor: 1},
				},
				Status: &soltiv1.TaskStatusInfo{Attempt: 1},
			}
			if len(c.runs) > 0 {
				data.Status.Attempt = c.runs[len(c.runs)-1].GetAttempt()
			}
			if c.end != nil {
				data.Status.Terminal = true
				c.end(data.Status)
			}
			wantText(t, RunProblems(data, c.runs), c.want)
		})
	}
}

func TestALogHasEveryRunAndEveryLine(t *testing.T) {
	runs := []*soltiv1.TaskRunInfo{run(1, messages.ReasonNonZeroExit, 1000), run(2, messages.ReasonCompleted, 1200)}
	begin := func(r *soltiv1.TaskRunInfo) *soltiv1.OutputEventProto {
		return &soltiv1.OutputEventProto{Kind: &soltiv1.OutputEventProto_RunStarted{RunStarted: &soltiv1.RunStartedProto{Attempt: r.GetAttempt(), StartedAt: r.GetStartedAt()}}}
	}
	end := func(r *soltiv1.TaskRunInfo) *soltiv1.OutputEventProto {
		return &soltiv1.OutputEventProto{Kind: &soltiv1.OutputEventProto_RunFinished{RunFinished: &soltiv1.RunFinishedProto{Attempt: r.GetAttempt(), FinishedAt: r.GetFinishedAt()}}}
	}
	line := func(attempt uint32, seq uint64) *soltiv1.OutputEventProto {
		return &soltiv1.OutputEventProto{Kind: &soltiv1.OutputEventProto_Chunk{Chunk: &soltiv1.OutputChunkProto{
			Attempt: attempt, Stream: stdout, Seq: seq, Line: []byte(Line(id, attempt, seq)),
		}}}
	}
	late := proto.CloneOf(runs[0])
	late.FinishedAt = new(runs[1].GetStartedAt())
	for name, c := range map[string]struct {
		events []*soltiv1.OutputEventProto
		want   string
	}{
		"whole":           {[]*soltiv1.OutputEventProto{begin(runs[0]), line(1, 0), line(1, 1), end(runs[0]), begin(runs[1]), line(2, 0), end(runs[1])}, ""},
		"a line is lost":  {[]*soltiv1.OutputEventProto{begin(runs[0]), line(1, 1), end(runs[0]), begin(runs[1]), end(runs[1])}, "belongs"},
		"a line is twice": {[]*soltiv1.OutputEventProto{begin(runs[0]), line(1, 0), line(1, 0), end(runs[0]), begin(runs[1]), end(runs[1])}, "belongs"},
		"a line outside":  {[]*soltiv1.OutputEventProto{begin(runs[0]), end(runs[0]), line(1, 0), begin(runs[1]), end(runs[1])}, "while attempt 0 runs"},
		"no end":          {[]*soltiv1.OutputEventProto{begin(runs[0]), end(runs[0]), begin(runs[1])}, "open"},
		"no beginning":    {[]*soltiv1.OutputEventProto{begin(runs[0]), end(runs[0]), end(runs[1])}, "ends while"},
		"a run too few":   {[]*soltiv1.OutputEventProto{begin(runs[0]), end(runs[0])}, "run 1 of 2"},
		"another end":     {[]*soltiv1.OutputEventProto{begin(runs[0]), end(late), begin(runs[1]), end(runs[1])}, "ended at 1200"},
		"lagged": {[]*soltiv1.OutputEventProto{
			{Kind: &soltiv1.OutputEventProto_Lagged{Lagged: &soltiv1.LaggedProto{Skipped: 3}}},
			begin(runs[0]), end(runs[0]), begin(runs[1]), end(runs[1]),
		}, "3 lines are gone"},
	} {
		t.Run(name, func(t *testing.T) {
			_, problems := LogProblems(id, runs, c.events)
			wantText(t, problems, c.want)
		})
	}
}

func wantText(t *testing.T, problems []string, want string) {
	t.Helper()
	for _, p := range problems {
		if want != "" && strings.Contains(p, want) {
			return
		}
	}
	if want != "" || len(problems) > 0 {
		t.Errorf("want the problem %q, found %q", want, problems)
	}
}

// Two readers may be answered in another order than they have asked in.
func TestAnAnswerMayBeOlderThanTheLast(t *testing.T) {
	h, data := admitted(t)
	data = later(data, 2, func(s *soltiv1.TaskStatusInfo) { s.Phase, s.Attempt = soltiv1.TaskStatus_TASK_STATUS_RUNNING, 1 })
	open := &soltiv1.TaskRunInfo{Attempt: 1, StartedAt: 1000}
	closed := run(1, messages.ReasonNodeLost, 1000)
	look := h.Look()
	h.Ran(look, data, []*soltiv1.TaskRunInfo{closed})
	before := len(h.Problems())
	h.Ran(look, data, []*soltiv1.TaskRunInfo{open})
	if got := len(h.Problems()); got != before {
		t.Errorf("an older answer: %v", h.Problems()[before:])
	}
	h.Ran(h.Look(), data, []*soltiv1.TaskRunInfo{open})
	wantProblem(t, h, "was finished")
}
