package archive

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"

	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"

	"slotd/actors/store"
	slotdv1 "slotd/messages/slotd/v1"
)

// ErrNotEmpty says that a store already holds something: an import does not mix two histories.
var ErrNotEmpty = errors.New("the store is not empty")

// maxLine is far more than a task with the largest spec and all its runs takes.
const maxLine = 64 << 20

// Batches of an import: so many lines each, and so many under way.
const (
	batchLines = 256
	batchBytes = 1 << 20
	underWay   = 4
)

// LineError says which line of an archive cannot be imported.
type LineError struct {
	Line int // from 1
	Err  error
}

func (e *LineError) Error() string { return fmt.Sprintf("line %d: %v", e.Line, e.Err) }

// Unwrap returns what is wrong with the line.
func (e *LineError) Unwrap() error { return e.Err }

// Import reads an archive into an empty store and returns once everything is durable. After an error some of it may be
// in the store.
func Import(ctx context.Context, from io.Reader, to store.Store) (Counts, error) {
	err := to.Load(ctx, func(store.Entry) error { return ErrNotEmpty })
	if err != nil {
		return Counts{}, err
	}
	r := &reader{from: bufio.NewReaderSize(from, 64<<10), to: &committer{store: to, answers: make(chan error, underWay)}}
	err = r.all(ctx)
	return r.counts, errors.Join(err, r.to.finish())
}

// reader reads an archive line by line.
type reader struct {
	from   *bufio.Reader
	to     *committer
	number int
	counts Counts
	audit  store.Audit
}

func (r *reader) all(ctx context.Context) error {
	err := r.begin()
	for ended := false; err == nil && !ended; {
		if err = ctx.Err(); err != nil {
			return err
		}
		ended, err = r.one()
	}
	if err == nil {
		err = r.rest()
	}
	if _, told := errors.AsType[*commitError](err); err != nil && !told {
		return &LineError{Line: r.number, Err: err}
	}
	return err
}

func (r *reader) begin() error {
	data, err := r.next()
	if err != nil {
		return err
	}
	// A newer version may have other fields: it is told first.
	var h header
	if err := json.Unmarshal(data, &h); err != nil || h.Format != formatName {
		return errors.New("this is not an archive of a slotd store")
	}
	if h.Version > formatVersion {
		return fmt.Errorf("the archive has version %d, this slotd reads up to %d; import it with the slotd that wrote it (%s) or a newer one",
			h.Version, formatVersion, h.CreatedBy)
	}
	return strict(data, &h)
}

// one reads a line after the first. True: it was the last.
func (r *reader) one() (ended bool, err error) {
	data, err := r.next()
	if err != nil {
		return false, err
	}
	var l line
	if err := strict(data, &l); err != nil {
		return false, err
	}
	switch {
	case l.End != nil && l.Task == nil && l.Key == nil && l.Spec == nil && l.Runs == nil:
		if *l.End != r.counts {
			return false, fmt.Errorf("the end tells of %+v, the lines before it are %+v", *l.End, r.counts)
		}
		return true, nil
	case l.Task != nil && l.Key == nil && l.End == nil:
		return false, r.task(l, len(data))
	case l.Key != nil && l.Task == nil && l.End == nil && l.Spec == nil && l.Runs == nil:
		return false, r.key(l, len(data))
	default:
		return false, errors.New("is neither a task nor a key nor the end")
	}
}

func (r *reader) task(l line, size int) error {
	e, b := store.Entry{Task: &slotdv1.TaskRecord{}}, &r.to.batch
	if err := decode("task", l.Task, e.Task); err != nil {
		return err
	}
	id := e.Task.GetId()
	if l.Spec != nil {
		e.Spec = &slotdv1.SpecRecord{}
		if err := decode("spec", l.Spec, e.Spec); err != nil {
			return err
		}
		if e.Spec.GetTaskId() != id {
			return fmt.Errorf("task %q has the spec of %q", id, e.Spec.GetTaskId())
		}
		b.Specs = append(b.Specs, e.Spec)
	}
	if err := r.sound(e); err != nil {
		return err
	}
	before := uint32(0)
	for _, data := range l.Runs {
		run := &slotdv1.RunRecord{}
		if err := decode("run", data, run); err != nil {
			return err
		}
		if run.GetTaskId() != id {
			return fmt.Errorf("task %q has a run of %q", id, run.GetTaskId())
		}
		if run.GetAttempt() <= before {
			return fmt.Errorf("task %q has run %d after run %d", id, run.GetAttempt(), before)
		}
		before = run.GetAttempt()
		b.Runs = append(b.Runs, run)
	}
	b.Tasks = append(b.Tasks, e.Task)
	r.counts.Tasks++
	r.counts.Runs += uint64(len(l.Runs))
	return r.to.add(size)
}

func (r *reader) key(l line, size int) error {
	key := &slotdv1.KeyRecord{}
	if err := decode("key", l.Key, key); err != nil {
		return err
	}
	if err := r.sound(store.Entry{Key: key}); err != nil {
		return err
	}
	r.to.batch.Keys = append(r.to.batch.Keys, key)
	r.counts.Keys++
	return r.to.add(size)
}

// sound refuses what a daemon would not start with.
func (r *reader) sound(e store.Entry) error {
	r.audit.Entry(e)
	return r.audit.Err()
}

// next returns a line. The end of the stream is an error: the end of an archive is a line.
func (r *reader) next() ([]byte, error) {
	r.number++
	var whole []byte
	for {
		part, err := r.from.ReadSlice('\n')
		if whole = append(whole, part...); len(whole) > maxLine {
			return nil, fmt.Errorf("has more than %d bytes", maxLine)
		}
		switch {
		case errors.Is(err, bufio.ErrBufferFull):
		case errors.Is(err, io.EOF):
			return nil, fmt.Errorf("the archive was cut off: %w", io.ErrUnexpectedEOF)
		default:
			return whole, err
		}
	}
}

// rest sees to it that nothing comes after the end.
func (r *reader) rest() error {
	r.number++
	if _, err := r.from.ReadByte(); err == nil {
		return errors.New("comes after the end")
	} else if !errors.Is(err, io.EOF) {
		return err
	}
	return nil
}

// strict decodes one object that has no other fields.
func strict(data []byte, into any) error {
	d := json.NewDecoder(bytes.NewReader(data))
	d.DisallowUnknownFields()
	if err := d.Decode(into); err != nil {
		return err
	}
	if _, err := d.Token(); !errors.Is(err, io.EOF) {
		return errors.New("more than one object")
	}
	return nil
}

func decode(what string, data json.RawMessage, into proto.Message) error {
	if err := protojson.Unmarshal(data, into); err != nil {
		return fmt.Errorf("%s: %w", what, err)
	}
	return nil
}
