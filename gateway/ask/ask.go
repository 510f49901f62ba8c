// Package ask carries commands from the gateway to the registry and brings the answers back.
//
// It is the one path into the node for HTTP and gRPC: a spec gets its defaults here and is validated here, before it is
// sent, and a question about a task waits here. It decides nothing else. Callers are gateway/rest and gateway/rpc; every function may be called from any
// goroutine and blocks until there is an answer, its context is done, or the time limit of the command has passed.
//
// Errors are *messages.RejectionError, or the context's own error when that ended the waiting. A command that was sent
// is never taken back: when the waiting ends early the command still takes effect.
package ask

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"time"

	"github.com/asynkron/protoactor-go/actor"
	"google.golang.org/protobuf/proto"

	"slotd/messages"
	slotdv1 "slotd/messages/slotd/v1"
	soltiv1 "slotd/messages/solti/v1"
)

// MaxBatch is how many specs one batch may hold.
const MaxBatch = 1000

// Time limits of the commands. The registry answers every command, so a limit only bounds the harm when an answer is
// lost: an actor that is stopped drops its mailbox without a word. A submission takes one commit. A stop takes the
// spec's grace (at most an hour), 5 s for pipes that are held open, and a commit.
const (
	submitLimit = 30 * time.Second
	stopLimit   = time.Hour + time.Minute
)

// retryAfter is the pause that a client is asked for when the registry gave no answer.
const retryAfter = time.Second

// Registry sends commands to the registry actor.
type Registry struct {
	root *actor.RootContext
	pid  *actor.PID

	mu    sync.Mutex
	spare []*reply
}

// New returns a Registry that asks pid, which must belong to a completed spawn in root's system.
func New(root *actor.RootContext, pid *actor.PID) *Registry {
	return &Registry{root: root, pid: pid}
}

// Submit fills in the spec's defaults in place, validates it and asks for admission. It returns the id of the task, new
// or, when the idempotency key is known, the earlier one. A nil key is no key. The spec belongs to the node afterwards.
func (r *Registry) Submit(ctx context.Context, spec *soltiv1.CreateSpec, key *string) (string, error) {
	if key != nil {
		if err := messages.ValidateIdempotencyKey(*key); err != nil {
			return "", invalid(err)
		}
	}
	if err := prepare(spec); err != nil {
		return "", err
	}
	command := &slotdv1.Submit{Spec: spec}
	if key != nil {
		command.IdempotencyKey = *key
	}
	return submitted(ctx, r.send(command), time.Now().Add(submitLimit))
}

// Result is what became of one spec of a batch: an id, or the reason why there is none.
type Result struct {
	TaskID string
	Err    error
}

// SubmitBatch submits 1 to MaxBatch specs as if each came alone and in this order, and returns their results in the same
// order once all of them are decided and durable, which they become with one commit. A spec that is not valid spoils no
// other. Specs belong to the node afterwards.
func (r *Registry) SubmitBatch(ctx context.Context, specs []*soltiv1.CreateSpec) ([]Result, error) {
	switch {
	case len(specs) == 0:
		return nil, invalid(fmt.Errorf("specs: a batch has 1 to %d specs, this one has none", MaxBatch))
	case len(specs) > MaxBatch:
		return nil, invalid(fmt.Errorf("specs: a batch has at most %d specs; send several batches", MaxBatch))
	}
	deadline := time.Now().Add(submitLimit)
	results := make([]Result, len(specs))
	replies := make([]*reply, len(specs))
	command := &slotdv1.SubmitTasks{}
	for i, spec := range specs {
		if results[i].Err = prepare(spec); results[i].Err == nil {
			replies[i] = r.take()
			asker := replies[i].next()
			command.Submits = append(command.Submits, &slotdv1.Submit{Spec: spec})
			command.Askers = append(command.Askers, &slotdv1.Asker{Id: asker.GetId(), Request: asker.GetRequestId()})
		}
	}
	var first *reply
	for i, reply := range replies {
		switch {
		case reply == nil:
		case first == nil:
			first = reply
			r.root.RequestWithCustomSender(r.pid, command, reply.pid()) // it hears when nobody is there
			fallthrough
		default:
			results[i].TaskID, results[i].Err = submitted(ctx, reply, deadline)
			if errors.Is(results[i].Err, errGone) {
				r.unasked(results[i:], replies[i:])
				return results, ctx.Err()
			}
		}
	}
	return results, ctx.Err()
}

// unasked gives all the same answer as the first of them: their command has reached nobody.
func (r *Registry) unasked(results []Result, replies []*reply) {
	for i, reply := range replies[1:] {
		if reply != nil {
			results[i+1].Err = results[0].Err
			r.put(reply)
		}
	}
}

// Cancel stops a task, and returns once it is terminal. A grace replaces the spec's when it is shorter; 0 kills at once,
// nil leaves the spec's, a part of a millisecond counts as one.
func (r *Registry) Cancel(ctx context.Context, id string, grace *time.Duration) error {
	command := &slotdv1.Cancel{TaskId: id}
	if grace != nil {
		command.GraceMs = new(uint64(max(0, (*grace+time.Millisecond-1)/time.Millisecond)))
	}
	return ended(r.stop(ctx, command))
}

// Delete stops a task and purges all of it, and returns once it is gone. With a version, nothing happens unless it is
// the task's present resource version.
func (r *Registry) Delete(ctx context.Context, id string, version *uint64) error {
	return ended(r.stop(ctx, &slotdv1.Delete{TaskId: id, ResourceVersion: version}))
}

// PurgeSlot cancels what waits in a slot, with holder also its holder, and returns the ids.
func (r *Registry) PurgeSlot(ctx context.Context, slot string, holder bool) ([]string, error) {
	answer, err := r.stop(ctx, &slotdv1.PurgeSlot{Slot: slot, Holder: holder})
	if err != nil {
		return nil, err
	}
	purged, ok := answer.(*slotdv1.SlotPurged)
	if !ok {
		return nil, unexpected(answer)
	}
	return purged.GetTaskIds(), nil
}

// stop sends a command that may take as long as a grace.
func (r *Registry) stop(ctx context.Context, command proto.Message) (any, error) {
	return r.send(command).wait(ctx, time.Now().Add(stopLimit))
}

// TaskID refuses a blank id. One that is not well formed is unknown like any other.
func TaskID(id string) error {
	if strings.TrimSpace(id) == "" {
		return reject(messages.LabelInvalidRequest, "task_id cannot be empty; name the task", 0)
	}
	return nil
}

func prepare(spec *soltiv1.CreateSpec) error {
	if spec != nil {
		messages.Defaults(spec)
	}
	if err := messages.Validate(spec); err != nil {
		return invalid(err)
	}
	return nil
}

func submitted(ctx context.Context, r *reply, deadline time.Time) (string, error) {
	answer, err := r.wait(ctx, deadline)
	if err != nil {
		return "", err
	}
	done, ok := answer.(*slotdv1.Submitted)
	if !ok {
		return "", unexpected(answer)
	}
	return done.GetTaskId(), nil
}

func ended(answer any, err error) error {
	if err != nil {
		return err
	}
	if _, ok := answer.(*slotdv1.TaskEnded); !ok {
		return unexpected(answer)
	}
	return nil
}

func invalid(err error) error {
	return reject(messages.LabelInvalidRequest, err.Error(), 0)
}

func unexpected(answer any) error {
	return reject(messages.LabelInternal, fmt.Sprintf("the registry answered with %T, which is no answer to this command; this is a bug, please report it", answer), 0)
}

func reject(label, message string, after time.Duration) error {
	return &messages.RejectionError{Rejection: messages.Reject(label, message, after)}
}

// errGone says that nobody is there to follow a command.
var errGone = reject(messages.LabelUnavailable, "the node is stopping and takes no more commands; try again when it is back", retryAfter)

// errLate ends the waiting for an answer that takes longer than the command's own time limit.
var errLate = reject(messages.LabelUnavailable,
	"the node did not answer in time, so the outcome is not known; look at the task, or repeat the submission with the same idempotency key", retryAfter)
