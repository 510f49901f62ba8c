package bench

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"syscall"
	"time"

	"github.com/cockroachdb/pebble/v2"
	"google.golang.org/protobuf/proto"

	"slotd/actors/store"
	"slotd/actors/store/pebble/layout"
	"slotd/messages"
	slotdv1 "slotd/messages/slotd/v1"
)

func recovery(c Config) Section {
	made := &retained{}
	section := Section{
		Name: "recovery",
		About: "From the start of the process until it is ready, on a copy of a store that a kill has left: tasks in slots of their own, that wrote no " +
			"output, the last tenth of them but no more than 1 000 with an attempt that ran at the time and is lost now. The daemon verifies the " +
			"store, opens it and knows all of them; how many is checked. The floor is a process that opens the same store with Pebble, to read it only, " +
			"and decodes every task and spec. Files are in the page cache. The bytes are those of the store's files right after, logs and tables as they " +
			"are, without a compaction that the store had not come to by itself; their floor is the size of the newest records and their keys.",
		Prepare: func(ctx context.Context) (func() error, error) { return made.make(ctx, c) },
	}
	for _, n := range c.Retained {
		tasks := number(float64(n))
		read, size := fmt.Sprintf("bare Pebble, %s tasks", tasks), fmt.Sprintf("records of a task, %s tasks", tasks)
		ready := Metric{Name: fmt.Sprintf("slotd ready, %s tasks", tasks), Unit: "ms", Floor: read}
		if n >= 100_000 {
			ready.Bound.Below = 2000
		}
		section.Probes = append(section.Probes, Probe{
			Metrics: []Metric{{Name: read, Unit: "ms"}, {Name: size, Unit: "bytes"}},
			Measure: func(ctx context.Context) ([]float64, error) {
				took, err := bareRecovery(ctx, c, made.dir(n), n)
				return []float64{milliseconds(took), made.recordBytes}, err
			},
		}, Probe{
			Metrics: []Metric{ready, {Name: fmt.Sprintf("slotd, store bytes of a task, %s tasks", tasks), Unit: "bytes", Floor: size}},
			Measure: func(ctx context.Context) ([]float64, error) {
				took, bytes, err := slotdRecovery(ctx, c, made.dir(n), n)
				return []float64{milliseconds(took), float64(bytes) / float64(n)}, err
			},
		})
	}
	return section
}

func milliseconds(d time.Duration) float64 { return float64(d) / float64(time.Millisecond) }

// retained is the stores that all rounds copy.
type retained struct {
	root        string
	recordBytes float64 // of one ended task: the newest version of each record, and its key
}

// dir is the folder with the store of n tasks.
func (r *retained) dir(n int) string { return filepath.Join(r.root, strconv.Itoa(n)) }

// make makes them.
func (r *retained) make(ctx context.Context, c Config) (undo func() error, err error) {
	if r.root, err = os.MkdirTemp(c.Dir, "retained-*"); err != nil {
		return nil, err
	}
	undo = func() error { return os.RemoveAll(r.root) }
	life, err := writes(ctx, r.root, ends)
	if err == nil {
		var bytes int
		bytes, err = newest(life)
		r.recordBytes = float64(bytes)
	}
	if err != nil {
		return nil, errors.Join(err, undo())
	}
	for _, n := range c.Retained {
		if err := fill(ctx, c, childFill, r.dir(n), n); err != nil {
			return nil, errors.Join(fmt.Errorf("fill a store with %d tasks: %w", n, err), undo())
		}
	}
	return undo, nil
}

// newest is how many bytes the records of a filled store's task have, keys included, once a later version has replaced
// each earlier one.
func newest(life []*store.Batch) (bytes int, err error) {
	spec, at := build(0), time.Now()
	id := messages.NewMinter("").Mint(at, spec.GetSlot())
	sizes := make(map[string]int)
	for _, b := range life {
		records, err := pairs(another(b, id, spec, at))
		if err != nil {
			return 0, err
		}
		for _, p := range records {
			key := string(p.key([]byte(id)))
			sizes[key] = len(key) + len(p.value)
		}
	}
	for _, size := range sizes {
		bytes += size
	}
	return bytes, nil
}

// fill has another process make a store, and kills it.
func fill(ctx context.Context, c Config, work, dir string, n int) error {
	if err := os.Mkdir(dir, 0o700); err != nil {
		return err
	}
	cmd := c.child(ctx, work, n)
	cmd.Dir = dir
	if _, err := cmd.StdinPipe(); err != nil { // ends with the process, not before
		return err
	}
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		return err
	}
	if err := cmd.Start(); err != nil {
		return err
	}
	_, said := bufio.NewReader(stdout).ReadString('\n')
	err = errors.Join(said, cmd.Process.Kill())
	ended := cmd.Wait()
	if status, ok := cmd.ProcessState.Sys().(syscall.WaitStatus); !ok || status.Signal() != syscall.SIGKILL {
		err = errors.Join(err, ended, errors.New("it was not the kill that ended it"))
	}
	return err
}

// bareRecovery starts a process that reads a store and returns how long that took.
func bareRecovery(ctx context.Context, c Config, dir string, n int) (time.Duration, error) {
	cmd := c.child(ctx, childRead, n)
	cmd.Dir = dir
	start := time.Now()
	err := cmd.Run()
	return time.Since(start), err
}

// ReadStore reads every task and every spec of the store in the present folder, of which there must be n, and changes
// nothing.
func ReadStore(n int) (err error) {
	db, err := pebble.Open(storeDir, &pebble.Options{ReadOnly: true, Logger: quiet{}})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, db.Close()) }()
	for _, table := range []byte{layout.TaskTable, layout.SpecTable} {
		got, err := decodeAll(db, table)
		if err != nil {
			return err
		}
		if got != n {
			return fmt.Errorf("%d records in table %c, want %d", got, table, n)
		}
	}
	return nil
}

func decodeAll(db *pebble.DB, table byte) (n int, err error) {
	iter, err := db.NewIter(&pebble.IterOptions{LowerBound: []byte{table}, UpperBound: []byte{table + 1}})
	if err != nil {
		return 0, err
	}
	defer func() { err = errors.Join(err, iter.Close()) }()
	for valid := iter.First(); valid; valid = iter.Next() {
		var rec proto.Message = new(slotdv1.TaskRecord)
		if table == layout.SpecTable {
			rec = new(slotdv1.SpecRecord)
		}
		if err := proto.Unmarshal(iter.Value(), rec); err != nil {
			return 0, err
		}
		n++
	}
	return n, iter.Error()
}

// slotdRecovery starts slotd on a copy of the store. It returns how long that took and the size of the store then.
func slotdRecovery(ctx context.Context, c Config, dir string, n int) (took time.Duration, bytes int64, err error) {
	d, err := c.daemon()
	if err != nil {
		return 0, 0, err
	}
	if err := d.inherit(filepath.Join(dir, storeDir)); err != nil {
		return 0, 0, errors.Join(err, os.RemoveAll(d.dir))
	}
	start := time.Now()
	if err := d.start(ctx, c.Slotd, "--retain-tasks", strconv.Itoa(n)); err != nil {
		return 0, 0, errors.Join(err, os.RemoveAll(d.dir))
	}
	took = time.Since(start)
	defer func() { err = errors.Join(err, d.stop()) }()
	if bytes, err = size(d.state()); err != nil {
		return 0, 0, err
	}
	return took, bytes, d.knows(ctx, n)
}

// inherit copies a store into the data directory, all the way to the disk.
func (d *daemon) inherit(from string) error {
	if err := os.Mkdir(d.data(), 0o700); err != nil {
		return err
	}
	if err := os.CopyFS(d.state(), os.DirFS(from)); err != nil {
		return err
	}
	syscall.Sync() // what is measured next does not pay for it
	return nil
}

// size is how many bytes the files of a folder have.
func size(dir string) (bytes int64, err error) {
	err = filepath.WalkDir(dir, func(_ string, entry fs.DirEntry, err error) error {
		if errors.Is(err, fs.ErrNotExist) {
			return nil
		}
		if err != nil || entry.IsDir() {
			return err
		}
		info, err := entry.Info()
		if errors.Is(err, fs.ErrNotExist) {
			return nil // the store had no more use for it
		}
		if err == nil {
			bytes += info.Size()
		}
		return err
	})
	return bytes, err
}

// knows returns an error unless the daemon keeps n tasks.
func (d *daemon) knows(ctx context.Context, n int) (err error) {
	client, err := d.dial(ctx)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, client.close()) }()
	var ready struct{}
	if err := client.call(http.MethodGet, "/readyz", nil, http.StatusOK, &ready); err != nil {
		return err
	}
	var view struct{ Tasks map[string]string }
	if err := client.call(http.MethodGet, "/api/v1/introspection", nil, http.StatusOK, &view); err != nil {
		return err
	}
	known := 0
	for _, text := range view.Tasks {
		tasks, err := strconv.Atoi(text)
		if err != nil {
			return err
		}
		known += tasks
	}
	if known != n {
		return fmt.Errorf("the daemon knows %v, want %d tasks", view.Tasks, n)
	}
	return nil
}
