package sim

import (
	"slices"
	"testing"
	"time"

	"google.golang.org/protobuf/proto"

	"slotd/actors/store"
	slotdv1 "slotd/messages/slotd/v1"
	soltiv1 "slotd/messages/solti/v1"
)

const (
	lane  = "lane-0"
	older = "tsk_00000000000000000000000001"
	newer = "tsk_00000000000000000000000002"

	out = soltiv1.OutputStreamKind_OUTPUT_STREAM_KIND_STDOUT
)

// tale is a history under construction: each step has a name, by which a test can change it.
type tale []step

type step struct {
	name string
	entry
}

// pen writes a tale, a step every 200 ms.
type pen struct {
	tale
	life int
	now  time.Time
}

func (p *pen) put(name string, f fact) {
	p.now = p.now.Add(200 * time.Millisecond)
	p.tale = append(p.tale, step{name, entry{p.now, p.life, f}})
}

func (p *pen) ms() int64 { return p.now.Add(200 * time.Millisecond).UnixMilli() } // of the next step

func (t tale) at(name string) int {
	return slices.IndexFunc(t, func(s step) bool { return s.name == name })
}

func (t tale) history() history {
	h := make(history, 0, len(t))
	for _, s := range t {
		h = append(h, s.entry)
	}
	return h
}

// The edits: every one returns a new tale.

func (t tale) without(names ...string) tale {
	return slices.DeleteFunc(slices.Clone(t), func(s step) bool { return slices.Contains(names, s.name) })
}

func (t tale) after(name string, facts ...fact) tale {
	i := t.at(name)
	near := t[i].entry
	var more []step
	for _, f := range facts {
		more = append(more, step{"", entry{near.at, near.life, f}})
	}
	return slices.Insert(slices.Clone(t), i+1, more...)
}

func (t tale) move(name, behind string) tale {
	moved := t[t.at(name)]
	rest := t.without(name)
	return slices.Insert(rest, rest.at(behind)+1, moved)
}

func edit[F fact](t tale, name string, change func(*F)) tale {
	t = slices.Clone(t)
	i := t.at(name)
	f, ok := t[i].what.(F)
	if !ok {
		panic("step " + name + " is something else")
	}
	if w, ok := any(&f).(*wrote); ok { // the batches of a tale are shared
		b := *w.batch
		b.Tasks, b.Runs = copies(b.Tasks), copies(b.Runs)
		w.batch = &b
	}
	change(&f)
	t[i].what = f
	return t
}

func copies[M proto.Message](messages []M) []M {
	all := make([]M, 0, len(messages))
	for _, m := range messages {
		c, ok := proto.Clone(m).(M)
		if !ok {
			panic("a clone of another type")
		}
		all = append(all, c)
	}
	return all
}

func specOf(nonce string, admission soltiv1.AdmissionStrategy) *soltiv1.CreateSpec {
	return &soltiv1.CreateSpec{
		Slot: lane, TimeoutMs: 60_000, Admission: admission, MaxRetries: new(uint32(1)),
		Restart: soltiv1.RestartStrategy_RESTART_STRATEGY_ON_FAILURE, Labels: map[string]string{nonceLabel: nonce},
		Backoff: &soltiv1.BackoffStrategy{FirstMs: 100, MaxMs: 100, Factor: 1, Jitter: soltiv1.JitterStrategy_JITTER_STRATEGY_NONE},
	}
}

func submission(n int, nonce, key string, admission soltiv1.AdmissionStrategy) asked {
	return asked{request: n, verb: submit, slot: lane, nonce: nonce, key: key, spec: specOf(nonce, admission)}
}

func record(id string, v uint64, role slotdv1.Role, phase slotdv1.Phase, status soltiv1.TaskStatus, reason string, attempt uint32) *slotdv1.TaskRecord {
	return &slotdv1.TaskRecord{
		Id: id, Slot: lane, ResourceVersion: v, Role: role, Phase: phase, Status: status, Reason: reason, Attempt: attempt,
	}
}

func (p *pen) begunRun(id string, n uint32) *slotdv1.RunRecord {
	return &slotdv1.RunRecord{TaskId: id, Attempt: n, Status: soltiv1.TaskStatus_TASK_STATUS_RUNNING, StartedAt: p.ms()}
}

func (p *pen) endedRun(r *slotdv1.RunRecord, status soltiv1.TaskStatus, reason string, code *int32) *slotdv1.RunRecord {
	return &slotdv1.RunRecord{
		TaskId: r.GetTaskId(), Attempt: r.GetAttempt(), Status: status, StartedAt: r.GetStartedAt(), FinishedAt: p.ms(),
		Reason: reason, ExitCode: code,
	}
}

func batch(records ...proto.Message) wrote {
	b := new(store.Batch)
	for _, r := range records {
		switch r := r.(type) {
		case *slotdv1.TaskRecord:
			b.Tasks = append(b.Tasks, r)
		case *slotdv1.RunRecord:
			b.Runs = append(b.Runs, r)
		case *slotdv1.SpecRecord:
			b.Specs = append(b.Specs, r)
		}
	}
	return wrote{b}
}

const (
	holder  = slotdv1.Role_ROLE_HOLDER
	queued  = slotdv1.Role_ROLE_QUEUED
	none    = slotdv1.Role_ROLE_NONE
	waiting = slotdv1.Phase_PHASE_WAITING
	runs    = slotdv1.Phase_PHASE_RUNNING
	over    = slotdv1.Phase_PHASE_FINISHED

	queue     = soltiv1.AdmissionStrategy_ADMISSION_STRATEGY_QUEUE
	drop      = soltiv1.AdmissionStrategy_ADMISSION_STRATEGY_DROP_IF_RUNNING
	pending   = soltiv1.TaskStatus_TASK_STATUS_PENDING
	running   = soltiv1.TaskStatus_TASK_STATUS_RUNNING
	succeeded = soltiv1.TaskStatus_TASK_STATUS_SUCCEEDED
	failing   = soltiv1.TaskStatus_TASK_STATUS_FAILED
	canceled  = soltiv1.TaskStatus_TASK_STATUS_CANCELED
)

// goodTale is a history in which all is well: a task fails, is tried again, loses its node, comes back and succeeds,
// while another waits behind it and is canceled in the end.
func goodTale() tale {
	p := &pen{life: 1, now: time.UnixMilli(1_000_000)}
	p.put("begin", began{})
	p.put("ready", ready{})
	p.put("ask", submission(1, "n1", "key", queue))
	run := p.begunRun(older, 1)
	p.put("admit", batch(record(older, 1, holder, runs, running, "", 1), run, &slotdv1.SpecRecord{TaskId: older, Spec: specOf("n1", queue)}))
	p.put("accept", answered{request: 1, task: older})
	p.put("start", spawned{lane, attempt{older, 1}, true})
	p.put("print", printed{attempt{older, 1}, out, 0})
	p.put("die", died{lane, attempt{older, 1}, 1, 0, true})
	p.put("fail", batch(record(older, 2, holder, waiting, failing, "NonZeroExit", 1), p.endedRun(run, failing, "NonZeroExit", new(int32(1)))))
	run = p.begunRun(older, 2)
	p.put("again", batch(record(older, 3, holder, runs, running, "", 2), run))
	p.put("start again", spawned{lane, attempt{older, 2}, true})
	p.put("see", saw{sight{older, lane, 3, false, running, "", 2}})
	p.put("ask second", submission(2, "n2", "", queue))
	p.put("admit second", batch(record(newer, 1, queued, slotdv1.Phase_PHASE_READY, pending, "", 0), &slotdv1.SpecRecord{TaskId: newer, Spec: specOf("n2", queue)}))
	p.put("accept second", answered{request: 2, task: newer})
	p.put("crash", crashed{"any time"})
	p.put("die with node", died{lane, attempt{older, 2}, 0, 9, false})

	p.life = 2
	p.put("begin again", began{})
	p.put("ready again", ready{[]sight{{older, lane, 3, false, running, "", 2}, {newer, lane, 1, false, pending, "", 0}}})
	p.put("lost", batch(record(older, 4, holder, waiting, failing, "NodeLost", 2), p.endedRun(run, failing, "NodeLost", nil)))
	run = p.begunRun(older, 3)
	p.put("third", batch(record(older, 5, holder, runs, running, "", 3), run))
	p.put("start third", spawned{lane, attempt{older, 3}, true})
	p.put("ask busy", submission(3, "n3", "", drop))
	p.put("busy", answered{request: 3, label: "SlotBusy", text: "task " + older + " holds it"})
	p.put("ask key", submission(4, "n1", "key", queue))
	p.put("same", answered{request: 4, task: older})
	p.put("die third", died{lane, attempt{older, 3}, 0, 0, true})
	ended := p.endedRun(run, succeeded, "Completed", new(int32))
	run = p.begunRun(newer, 1)
	p.put("done", batch(record(older, 6, none, over, succeeded, "Completed", 3), ended, record(newer, 2, holder, runs, running, "", 1), run))
	p.put("see done", saw{sight{older, lane, 6, true, succeeded, "Completed", 3}})
	p.put("start second", spawned{lane, attempt{newer, 1}, true})
	p.put("ask cancel", asked{request: 5, verb: cancel, task: newer})
	p.put("die second", died{lane, attempt{newer, 1}, 0, 15, false})
	p.put("cancel", batch(record(newer, 3, none, over, canceled, "Canceled", 1), p.endedRun(run, canceled, "Canceled", nil)))
	p.put("canceled", answered{request: 5, task: newer})
	p.put("log", told{older, []*soltiv1.OutputEventProto{
		logStart(1), logLine(1, 0, "0"), logEnd(1), logStart(2), logEnd(2), logStart(3), logEnd(3),
	}})
	p.put("settle", settled{folders: []string{older}, tasks: []sight{
		{older, lane, 6, true, succeeded, "Completed", 3}, {newer, lane, 3, true, canceled, "Canceled", 1},
	}})
	p.put("drain", drained{})
	p.put("stop", stopped{})
	return p.tale
}

func logStart(n uint32) *soltiv1.OutputEventProto {
	return &soltiv1.OutputEventProto{Kind: &soltiv1.OutputEventProto_RunStarted{RunStarted: &soltiv1.RunStartedProto{Attempt: n}}}
}

func logEnd(n uint32) *soltiv1.OutputEventProto {
	return &soltiv1.OutputEventProto{Kind: &soltiv1.OutputEventProto_RunFinished{RunFinished: &soltiv1.RunFinishedProto{Attempt: n}}}
}

func logLine(n uint32, seq uint64, line string) *soltiv1.OutputEventProto {
	return &soltiv1.OutputEventProto{Kind: &soltiv1.OutputEventProto_Chunk{Chunk: &soltiv1.OutputChunkProto{
		Attempt: n, Stream: out, Seq: seq, Line: []byte(line),
	}}}
}

func TestCheckFindsNothingWhereAllIsWell(t *testing.T) {
	for _, v := range check(goodTale().history()) {
		t.Error(v)
	}
}

// Every rule is broken here at least once, in a history that is well but for that.
func TestCheckRejectsWhatMustNeverBe(t *testing.T) {
	good := goodTale()
	third := "tsk_00000000000000000000000003"
	forged := []struct {
		name, rule string
		tale       tale
	}{
		{"two processes in a slot", "one live attempt per slot", good.move("start second", "start third")},
		{"an orphan meets its successor", "one live attempt per slot", good.move("die with node", "start third")},
		{"a second holder", "one holder at a time", good.after("start", batch(&slotdv1.RunRecord{TaskId: newer, Attempt: 1}))},
		{"a task lost by a crash", "the accepted is there", edit(good, "ready again", func(f *ready) { f.tasks = f.tasks[1:] })},
		{"a record lost by a crash", "the accepted is there", edit(good, "ready again", func(f *ready) {
			f.tasks = []sight{{older, lane, 2, false, failing, "", 1}, f.tasks[1]}
		})},
		{"an answer before the disk", "the accepted is there", good.move("accept", "ask")},
		{"an answer without a task", "the accepted is there", good.without("admit second")},
		{"a deletion nobody asked for", "the accepted is there", good.after("see", wrote{&store.Batch{Deletes: []string{older}}})},
		{"a refused task that comes back", "the refused is not", edit(good, "accept second", func(f *answered) { f.label, f.task = "Unavailable", "" })},
		{"a task from nowhere", "the refused is not", good.without("ask second", "accept second")},
		{"no answer", "every request is answered", good.without("canceled")},
		{"a cancel answered too soon", "every request is answered", good.move("canceled", "ask cancel")},
		{"a delete that deletes nothing", "every request is answered", edit(good, "ask cancel", func(f *asked) { f.verb = remove })},
		{"an end that is undone", "terminal is final", good.after("see done", batch(record(older, 7, holder, runs, running, "", 3)))},
		{"a record that goes back", "terminal is final", good.after("third", batch(record(older, 4, holder, waiting, failing, "", 2)))},
		{"an end seen otherwise", "terminal is final", edit(good, "see done", func(f *saw) { f.reason = "Canceled" })},
		{"a run that ends before its process", "terminal means dead", good.move("die", "again")},
		{"a process after the end", "terminal means dead", good.after("see done", spawned{lane, attempt{older, 3}, true}, died{lane, attempt{older, 3}, 0, 0, true})},
		{"seen before it is durable", "durable before visible", good.move("see", "fail")},
		{"started before it is durable", "durable before visible", edit(good, "start", func(f *spawned) { f.recorded = false })},
		{"an attempt left out", "attempts count from one", edit(good, "again", func(f *wrote) { f.batch.Runs[0].Attempt = 4 })},
		{"an attempt started twice", "attempts count from one", good.after("die", spawned{lane, attempt{older, 1}, true}, died{lane, attempt{older, 1}, 0, 0, true})},
		{"a run with two ends", "attempts count from one", good.after("fail", batch(&slotdv1.RunRecord{TaskId: older, Attempt: 1, FinishedAt: 9, Reason: "Signaled"}))},
		{"a run left open", "attempts count from one", edit(good, "cancel", func(f *wrote) { f.batch.Runs = nil })},
		{"a code that was another", "a run says what happened", edit(good, "die", func(f *died) { f.code = 7 })},
		{"lost with a node that lives", "a run says what happened", edit(good, "cancel", func(f *wrote) { f.batch.Runs[0].Reason = "NodeLost" })},
		{"a spawn that did not fail", "a run says what happened", edit(good, "fail", func(f *wrote) { f.batch.Runs[0].Reason = "SpawnFailed" })},
		{"timed out before its time", "a run says what happened", edit(good, "fail", func(f *wrote) { f.batch.Runs[0].Reason = "TimedOut" })},
		{"a retry too many", "policy decides", edit(good, "lost", func(f *wrote) { f.batch.Runs[0].Reason = "Signaled" })},
		{"a node's loss that costs a retry", "policy decides", edit(good.without("third", "start third", "die third"), "lost", func(f *wrote) {
			f.batch.Tasks[0].Phase, f.batch.Tasks[0].Reason = over, "RetriesExhausted"
		})},
		{"an end other than its run's", "policy decides", edit(good, "done", func(f *wrote) { f.batch.Tasks[0].Reason = "Signaled" })},
		{"a retry before its time", "not before its time", edit(good, "lost", func(f *wrote) { f.batch.Runs[0].StartedAt -= 150 })},
		{"the younger first", "first come, first served", edit(good, "admit", func(f *wrote) {
			f.batch.Runs = append(f.batch.Runs, &slotdv1.RunRecord{TaskId: "tsk_9", Attempt: 1})
			f.batch.Specs = append(f.batch.Specs, &slotdv1.SpecRecord{TaskId: "tsk_9", Spec: specOf("n9", queue)})
			f.batch.Tasks = append(f.batch.Tasks, record("tsk_9", 1, queued, runs, running, "", 1))
		})},
		{"a cancel nobody asked for", "an end has its cause", good.without("ask cancel", "canceled")},
		{"replaced by nobody", "an end has its cause", edit(good, "cancel", func(f *wrote) { f.batch.Tasks[0].Reason = "Replaced" })},
		{"superseded after it had started", "an end has its cause", edit(good, "cancel", func(f *wrote) { f.batch.Tasks[0].Reason = "Superseded" })},
		{"shut down by nobody", "an end has its cause", edit(good, "cancel", func(f *wrote) { f.batch.Tasks[0].Reason = "Shutdown" })},
		{"busy with a task of the past", "busy names a holder", good.move("ask busy", "see done").move("busy", "start second")},
		{"busy with nobody", "busy names a holder", edit(good, "busy", func(f *answered) { f.text = "task " + third })},
		{"unavailable without a cause", "unavailable has its cause", edit(good, "busy", func(f *answered) { f.label = "Unavailable" })},
		{"two tasks of one key", "a key stands for one task", edit(good, "same", func(f *answered) { f.task = newer })},
		{"a key forgotten", "a key stands for one task", edit(good, "same", func(f *answered) { f.label, f.task = "SlotBusy", "" })},
		{"two tasks of one request", "a key stands for one task", good.after("see", batch(record(third, 1, queued, over, canceled, "Canceled", 0), &slotdv1.SpecRecord{TaskId: third, Spec: specOf("n1", queue)}))},
		{"a lost line", "logs are complete", edit(good, "log", func(f *told) { f.events = slices.Delete(slices.Clone(f.events), 1, 2) })},
		{"a line twice", "logs are complete", edit(good, "log", func(f *told) { f.events = slices.Insert(slices.Clone(f.events), 1, logLine(1, 0, "0")) })},
		{"a line outside its run", "logs are complete", edit(good, "log", func(f *told) { f.events = slices.Insert(slices.Clone(f.events), 3, logLine(1, 1, "1")) })},
		{"a run without an end", "logs are complete", edit(good, "log", func(f *told) { f.events = f.events[:6] })},
		{"a run twice", "logs are complete", edit(good, "log", func(f *told) { f.events = slices.Insert(slices.Clone(f.events), 0, logStart(1), logEnd(1)) })},
		{"a process left by a stop", "a stop leaves nothing", edit(good, "stop", func(f *stopped) { f.running = 1 })},
		{"a process left in the end", "all ends in the end", edit(good, "settle", func(f *settled) { f.running = 1 })},
		{"an attempt left in the end", "all ends in the end", edit(good, "settle", func(f *settled) { f.attempts = 1 })},
		{"a slot left in memory", "all ends in the end", edit(good, "settle", func(f *settled) { f.slots = 1 })},
		{"a log without a task", "all ends in the end", edit(good, "settle", func(f *settled) { f.folders = []string{third} })},
		{"a task out of sight", "all ends in the end", edit(good, "settle", func(f *settled) { f.tasks = f.tasks[1:] })},
		{"no end at all", "all ends in the end", good.without("settle")},
		{"an error in the log", "no complaint without a fault", good.after("see", complained{"slot actor failed"})},
	}
	broken := map[string]bool{}
	for _, f := range forged {
		t.Run(f.name, func(t *testing.T) {
			found := check(f.tale.history())
			if !slices.ContainsFunc(found, func(v violation) bool { return v.rule == f.rule }) {
				t.Errorf("not rejected by %q, only by %v", f.rule, found)
			}
		})
		broken[f.rule] = true
	}
	for _, rule := range rules {
		if !broken[rule.name] {
			t.Errorf("no history breaks %q", rule.name)
		}
	}
}
