package sim

import (
	"fmt"
	"testing"
	"time"

	"github.com/asynkron/protoactor-go/actor"
	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"

	"slotd/actors/catalog"
	"slotd/messages"
	slotdv1 "slotd/messages/slotd/v1"
	soltiv1 "slotd/messages/solti/v1"
)

// patience is how long a client waits for an answer. All accidents are shorter.
const patience = 10 * time.Minute

// client asks for this and that, through all lives of the node, until the world is over.
type client struct {
	world *world
	dice  *dice
}

func (c *client) live() {
	w, d := c.world, c.dice
	for {
		time.Sleep(d.mostly(40 * time.Millisecond))
		l, over := w.node()
		switch {
		case over:
			return
		case l == nil:
			continue
		}
		task := w.known(d)
		switch n := d.n(20); {
		case n < 8 || task == "":
			c.submit(l)
		case n < 10:
			c.submitMany(l)
		case n < 13:
			c.end(l, cancel, task)
		case n < 15:
			c.end(l, remove, task)
		case n < 16:
			c.purge(l, w.slot(d), d.one(3))
		case n < 18:
			c.look(l, task)
		default:
			c.wait(l, task)
		}
	}
}

func laneName(n int) string { return fmt.Sprint("lane-", n) }

func (c *client) submit(l *life) {
	d, id := c.dice, c.world.request()
	spec, key := c.spec(id), ""
	if d.one(3) {
		spec, key = c.keyed(spec)
	}
	c.ask(l, asked{request: id, verb: submit, slot: spec.GetSlot(), key: key, spec: spec, nonce: spec.GetLabels()[nonceLabel]},
		&slotdv1.Submit{Spec: spec, IdempotencyKey: key})
}

// submitMany submits some tasks together.
func (c *client) submitMany(l *life) {
	command := &slotdv1.SubmitTasks{}
	var answers []<-chan struct{}
	for range 1 + c.dice.n(8) {
		id := c.world.request()
		spec := c.spec(id)
		inbox, heard := c.begin(l, asked{request: id, verb: submit, slot: spec.GetSlot(), spec: spec, nonce: spec.GetLabels()[nonceLabel]})
		command.Submits = append(command.Submits, &slotdv1.Submit{Spec: spec})
		command.Askers = append(command.Askers, &slotdv1.Asker{Id: inbox.GetId()})
		answers = append(answers, heard)
	}
	l.tree.System().Root.Send(l.tree.Registry(), command)
	c.hear(l, answers...)
}

func (c *client) spec(request int) *soltiv1.CreateSpec {
	d := c.dice
	spec := &soltiv1.CreateSpec{
		Slot: c.world.slot(d), TimeoutMs: uint64(pick(d, 50, 500, 5000)) + uint64(d.n(100)),
		Labels: map[string]string{nonceLabel: fmt.Sprint("n", request)},
		Kind: &soltiv1.TaskKind{Kind: &soltiv1.TaskKind_Subprocess{Subprocess: &soltiv1.SubprocessTask{
			Mode: &soltiv1.SubprocessTask_Command{Command: &soltiv1.CommandMode{Command: "sim"}},
		}}},
		Admission: pick(d, soltiv1.AdmissionStrategy_ADMISSION_STRATEGY_DROP_IF_RUNNING,
			soltiv1.AdmissionStrategy_ADMISSION_STRATEGY_REPLACE, soltiv1.AdmissionStrategy_ADMISSION_STRATEGY_QUEUE,
			soltiv1.AdmissionStrategy_ADMISSION_STRATEGY_QUEUE),
		Restart: pick(d, soltiv1.RestartStrategy_RESTART_STRATEGY_NEVER, soltiv1.RestartStrategy_RESTART_STRATEGY_NEVER,
			soltiv1.RestartStrategy_RESTART_STRATEGY_ON_FAILURE, soltiv1.RestartStrategy_RESTART_STRATEGY_ON_FAILURE,
			soltiv1.RestartStrategy_RESTART_STRATEGY_ALWAYS),
		StopGraceMs: new(uint64(pick(d, 0, d.n(100), 2000))),
		Backoff: &soltiv1.BackoffStrategy{
			FirstMs: uint64(20 + d.n(200)), MaxMs: uint64(500 + d.n(1000)), Factor: 2,
			Jitter: soltiv1.JitterStrategy(1 + d.n(4)),
		},
	}
	if fashion := c.world.plan.fashion; fashion != 0 && !d.one(4) {
		spec.Admission = fashion
	}
	if d.one(2) {
		spec.MaxRetries = new(uint32(d.n(3)))
	}
	if d.one(2) {
		spec.RestartIntervalMs = new(uint64(d.n(500)))
	}
	messages.Defaults(spec)
	return spec
}

// keyed chooses a key: a new one for the spec, or one that was used before, with its spec or another.
func (c *client) keyed(spec *soltiv1.CreateSpec) (*soltiv1.CreateSpec, string) {
	w := c.world
	w.mu.Lock()
	defer w.mu.Unlock()
	key := fmt.Sprintf("%s/key-%d", spec.GetSlot(), c.dice.n(6))
	earlier := w.keys[key]
	if earlier == nil {
		w.keys[key] = spec
		return spec, key
	}
	if c.dice.one(4) {
		return spec, key
	}
	return earlier, key
}

func (c *client) end(l *life, v verb, task string) {
	a := asked{request: c.world.request(), verb: v, task: task}
	if v == remove {
		c.ask(l, a, &slotdv1.Delete{TaskId: task})
		return
	}
	msg := &slotdv1.Cancel{TaskId: task}
	if c.dice.one(3) {
		msg.GraceMs = new(uint64(c.dice.n(50)))
	}
	c.ask(l, a, msg)
}

func (c *client) purge(l *life, slot string, holder bool) {
	a := asked{request: c.world.request(), verb: purge, slot: slot, holder: holder}
	c.ask(l, a, &slotdv1.PurgeSlot{Slot: slot, Holder: holder})
}

func (c *client) look(l *life, task string) {
	if data, ok := l.tree.Catalog().Task(task); ok {
		l.note(saw{sightOf(data)})
	}
}

// wait waits for the end of a task, or for its start, as long as the node lives and not for ever.
func (c *client) wait(l *life, task string) {
	ctx, cancel := l.context(c.dice.upTo(2 * time.Second))
	defer cancel()
	if data, ok := l.tree.Catalog().Wait(ctx, task, pick(c.dice, catalog.WantTerminal, catalog.WantRunning)); ok {
		l.note(saw{sightOf(data)})
	}
}

// ask sends a command and waits for its answer.
func (c *client) ask(l *life, a asked, msg proto.Message) {
	inbox, heard := c.begin(l, a)
	l.tree.System().Root.RequestWithCustomSender(l.tree.Registry(), msg, inbox)
	c.hear(l, heard)
}

// begin writes down what is asked and returns who takes the answer. That is written down in the turn of whoever receives
// it.
func (c *client) begin(l *life, a asked) (*actor.PID, <-chan struct{}) {
	l.note(a)
	heard := make(chan struct{})
	return l.tree.System().Root.Spawn(actor.PropsFromFunc(func(ctx actor.Context) {
		answer := answered{request: a.request}
		switch msg := ctx.Message().(type) {
		case *slotdv1.Submitted:
			answer.task = msg.GetTaskId()
		case *slotdv1.TaskEnded:
			answer.task = msg.GetTaskId()
		case *slotdv1.SlotPurged:
			answer.tasks = msg.GetTaskIds()
		case *slotdv1.Rejection:
			answer.label, answer.text = msg.GetLabel(), msg.GetMessage()
		default:
			return
		}
		l.act(func(note func(fact)) {
			note(answer)
			if a.verb == submit && answer.task != "" {
				c.world.tasks = append(c.world.tasks, answer.task)
			}
		})
		close(heard)
		ctx.Stop(ctx.Self())
	})), heard
}

// hear waits for answers, unless the client has lost patience before, or the node its life.
func (c *client) hear(l *life, answers ...<-chan struct{}) {
	wait := patience
	if c.dice.one(10) { // somebody hangs up
		wait = c.dice.upTo(50 * time.Millisecond)
	}
	late := time.After(wait)
	for _, heard := range answers {
		select {
		case <-heard:
		case <-l.gone:
			return
		case <-late:
			return
		}
	}
}

// decode reads events, each after its length.
func decode(t *testing.T, data []byte) []*soltiv1.OutputEventProto {
	t.Helper()
	var events []*soltiv1.OutputEventProto
	for len(data) > 0 {
		one, n := protowire.ConsumeBytes(data)
		if n < 0 {
			t.Fatalf("an event of a log cannot be read: %v", protowire.ParseError(n))
		}
		event := new(soltiv1.OutputEventProto)
		if err := proto.Unmarshal(one, event); err != nil {
			t.Fatal(err)
		}
		events, data = append(events, event), data[n:]
	}
	return events
}
