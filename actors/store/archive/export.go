package archive

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"time"

	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"

	"slotd/actors/store"
)

// Options of an export.
type Options struct {
	At      time.Time // when it is written
	Version string    // of the slotd that writes it
	// Salvage ends the archive in good order where the store cannot be read any further, so that it can be imported. The
	// error is returned all the same.
	Salvage bool
}

// Export writes everything in a store. After an error the archive has no end, and cannot be imported.
func Export(ctx context.Context, from Source, to io.Writer, o Options) (Counts, error) {
	w := &writer{to: bufio.NewWriterSize(to, 64<<10), from: from}
	err := w.line(header{
		Format: formatName, Version: formatVersion, CreatedAt: o.At.UTC().Format(time.RFC3339), CreatedBy: o.Version,
	})
	if err != nil {
		return w.counts, err
	}
	err = from.Load(ctx, func(e store.Entry) error { return w.entry(ctx, e) })
	if err != nil && (!o.Salvage || ctx.Err() != nil || w.failed) {
		return w.counts, err
	}
	return w.counts, errors.Join(err, w.line(line{End: &w.counts}), w.to.Flush())
}

type writer struct {
	to     *bufio.Writer
	from   Source
	counts Counts
	failed bool // the stream takes no more
}

func (w *writer) entry(ctx context.Context, e store.Entry) (err error) {
	if e.Task == nil {
		l := line{}
		if l.Key, err = encode(e.Key); err != nil {
			return err
		}
		w.counts.Keys++
		return w.line(l)
	}
	l := line{}
	if l.Task, err = encode(e.Task); err != nil {
		return fmt.Errorf("task %s: %w", e.Task.GetId(), err)
	}
	if l.Spec, err = encodeSpec(e); err != nil {
		return fmt.Errorf("spec of task %s: %w", e.Task.GetId(), err)
	}
	runs, err := w.from.Runs(ctx, e.Task.GetId())
	if err != nil {
		return err
	}
	for _, run := range runs {
		data, err := encode(run)
		if err != nil {
			return fmt.Errorf("run %d of task %s: %w", run.GetAttempt(), e.Task.GetId(), err)
		}
		l.Runs = append(l.Runs, data)
	}
	w.counts.Tasks++
	w.counts.Runs += uint64(len(runs))
	return w.line(l)
}

// encodeSpec returns nothing when the task has no spec.
func encodeSpec(e store.Entry) (json.RawMessage, error) {
	spec, err := e.DecodedSpec()
	if spec == nil || err != nil {
		return nil, err
	}
	return encode(spec)
}

func (w *writer) line(v any) error {
	data, err := json.Marshal(v)
	if err != nil {
		return err
	}
	_, err = w.to.Write(append(data, '\n'))
	w.failed = err != nil
	return err
}

// encode writes a record with the names of the proto file. Its bytes are the same every time.
func encode(m proto.Message) (json.RawMessage, error) {
	data, err := protojson.MarshalOptions{UseProtoNames: true}.Marshal(m)
	if err != nil {
		return nil, err
	}
	var b bytes.Buffer
	err = json.Compact(&b, data) // protojson varies its blanks on purpose
	return b.Bytes(), err
}
