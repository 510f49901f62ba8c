package logs

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"time"

	"github.com/hashicorp/go-hclog"

	slotdv1 "slotd/messages/slotd/v1"
	soltiv1 "slotd/messages/solti/v1"
)

// Config says where logs are kept and how much of them. The zero value of a field stands for its default.
type Config struct {
	Dir          string // one folder per task, made with its first line; required
	SegmentBytes int64  // size at which a file is full; default an eighth of TaskBytes, at most 8 MiB
	TaskBytes    int64  // of one task on the disk, oldest dropped first; default 64 MiB, at least 256 KiB
	TotalBytes   int64  // of all tasks on the disk, oldest terminal tasks' first; default 10 GiB
	RingBytes    int    // memory for the newest blocks of a task that is being read; default 2 MiB
	BacklogBytes int    // memory for what a failing disk does not take, all tasks together; RingBytes for each; default 64 MiB
	CacheBytes   int    // memory for what readers fetch from files, all tasks together; default 32 MiB
	OpenFiles    int    // segments held open for writing; default 512
}

// The smallest and the default sizes.
const (
	minTaskBytes        = 256 << 10
	defaultTaskBytes    = 64 << 20
	defaultTotalBytes   = 10 << 30
	defaultSegmentBytes = 8 << 20
	defaultRingBytes    = 2 << 20
	defaultBacklogBytes = 64 << 20
	defaultCacheBytes   = 32 << 20
	defaultOpenFiles    = 512
	defaultRetryAfter   = time.Second
)

func (c *Config) defaults() {
	set(&c.TaskBytes, defaultTaskBytes)
	set(&c.TotalBytes, defaultTotalBytes)
	set(&c.SegmentBytes, min(defaultSegmentBytes, c.TaskBytes/8))
	set(&c.RingBytes, defaultRingBytes)
	set(&c.BacklogBytes, defaultBacklogBytes)
	set(&c.CacheBytes, defaultCacheBytes)
	set(&c.OpenFiles, defaultOpenFiles)
}

func set[T int | int64](field *T, value T) {
	if *field == 0 {
		*field = value
	}
}

// Validate says what is wrong with the configuration, after defaults.
func (c Config) Validate() error {
	c.defaults()
	var errs []error
	if c.Dir == "" {
		errs = append(errs, errors.New("logs: a directory is required"))
	}
	if c.TaskBytes < minTaskBytes {
		errs = append(errs, fmt.Errorf("logs: %d bytes per task are less than %d", c.TaskBytes, minTaskBytes))
	}
	if c.TotalBytes < c.TaskBytes {
		errs = append(errs, fmt.Errorf("logs: %d bytes for all tasks are less than the %d for one", c.TotalBytes, c.TaskBytes))
	}
	if c.SegmentBytes < 0 || c.SegmentBytes > c.TaskBytes {
		errs = append(errs, fmt.Errorf("logs: segments of %d bytes do not fit into the %d of a task", c.SegmentBytes, c.TaskBytes))
	}
	if c.RingBytes < 0 || c.BacklogBytes < 0 || c.CacheBytes < 0 || c.OpenFiles < 0 {
		errs = append(errs, errors.New("logs: sizes cannot be negative"))
	}
	return errors.Join(errs...)
}

// Logs keeps the output of all tasks of a node.
type Logs struct {
	config     Config
	logger     hclog.Logger
	epoch      uint64 // of what this life writes
	retryAfter time.Duration
	now        func() time.Time
	write      func(*os.File, []byte) (int, error)
	removeAll  func(path string) error

	cache       *cache
	descriptors descriptors
	folders     folders
	cursors     atomic.Int64
	bytes       atomic.Int64 // on the disk, as far as known
	segments    atomic.Int64
	backlog     atomic.Int64 // cost of what the disk has refused, while memory has it
	lost        atomic.Int64 // lines it had no room for
	warned      sync.Map     // paths of what has been reported

	mu   sync.Mutex
	hubs map[string]*hub
	down bool
	trim trim
	mend mend
}

// Open prepares the logs under config.Dir, which is made if it is not there. What earlier lives left is read when it is
// asked for; [Logs.Sweep] accounts for all of it. Without a logger nothing is logged.
func Open(config Config, logger hclog.Logger) (*Logs, error) {
	if err := config.Validate(); err != nil {
		return nil, err
	}
	config.defaults()
	if logger == nil {
		logger = hclog.NewNullLogger()
	}
	if err := os.MkdirAll(config.Dir, folderMode); err != nil {
		return nil, fmt.Errorf("make the log directory: %w", err)
	}
	l := &Logs{
		config:      config,
		logger:      logger,
		epoch:       uint64(time.Now().UnixMilli()),
		retryAfter:  defaultRetryAfter,
		now:         time.Now,
		write:       (*os.File).Write,
		removeAll:   os.RemoveAll,
		cache:       newCache(config.CacheBytes),
		descriptors: descriptors{limit: config.OpenFiles},
		hubs:        make(map[string]*hub),
	}
	l.mend = mend{logs: l, over: make(chan struct{}), hubs: make(map[*hub]struct{})}
	strange, err := l.folders.find(config.Dir)
	if err != nil {
		return nil, err
	}
	if len(strange) > 0 {
		logger.Warn("what is not the log of a task is left alone", "directory", config.Dir,
			"number", len(strange), "first", strange[0])
	}
	return l, nil
}

// Record adds the events a run tells of: a run that is not finished its run-started, a finished one its run-finished,
// and what is missing before it. Events that are known, also from an earlier life, are not added again.
func (l *Logs) Record(run *slotdv1.RunRecord) {
	if h := l.acquire(run.GetTaskId()); h != nil {
		h.record(run)
		l.release(h)
	}
}

// Writer returns where one stream of an attempt writes to. Lines that come after the attempt's run-finished are dropped.
func (l *Logs) Writer(taskID string, attempt uint32, stream soltiv1.OutputStreamKind) *Writer {
	k := kindStdout
	if stream == soltiv1.OutputStreamKind_OUTPUT_STREAM_KIND_STDERR {
		k = kindStderr
	}
	return &Writer{logs: l, hub: l.acquire(taskID), attempt: attempt, kind: k}
}

// Close says that no event of the task will follow. Its followers get what they have not had and then io.EOF.
func (l *Logs) Close(taskID string) {
	l.mu.Lock()
	h := l.hubs[taskID]
	if h == nil {
		l.mu.Unlock()
		return
	}
	h.refs++
	h.active = false
	l.mu.Unlock()
	h.close()
	l.release(h)
}

// Remove forgets tasks and deletes their files: that of one task before it returns, those of several in the background.
// Their followers get io.EOF.
func (l *Logs) Remove(taskIDs ...string) {
	var stored []string
	for _, id := range taskIDs {
		l.mu.Lock()
		h := l.hubs[id]
		l.mu.Unlock()
		if h != nil {
			h.publishing.Lock()
			h.remove()
			h.publishing.Unlock()
		}
		if l.folders.has(id) {
			stored = append(stored, id)
		} else {
			l.forget(id, h)
		}
	}
	switch {
	case len(stored) == 1:
		l.removeFolder(stored[0])
	case len(stored) > 1:
		l.trim.also(func() {
			for _, id := range stored {
				l.removeFolder(id)
			}
		})
	}
}

// forget takes the hub of a task that is gone out of memory.
func (l *Logs) forget(id string, h *hub) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if h != nil && l.hubs[id] == h {
		delete(l.hubs, id)
	}
}

// Stats is what introspection shows.
type Stats struct {
	Hubs        int   // tasks whose log is in memory
	Subscribers int   // open cursors
	Bytes       int64 // on the disk
	Segments    int64 // files on the disk

	Failing int   // tasks whose lines the disk does not take at the moment
	Problem error // why; nil if there are none
	Backlog int64 // about the bytes memory keeps of them
	Lost    int64 // lines for which there was no room in memory, in this life
}

// Stats counts. What earlier lives left is counted once Sweep has found it.
func (l *Logs) Stats() Stats {
	failing, problem := l.mend.state()
	l.mu.Lock()
	defer l.mu.Unlock()
	return Stats{
		Failing:     failing,
		Problem:     problem,
		Backlog:     l.backlog.Load(),
		Lost:        l.lost.Load(),
		Hubs:        len(l.hubs),
		Subscribers: int(l.cursors.Load()),
		Bytes:       l.bytes.Load(),
		Segments:    l.segments.Load(),
	}
}

// Shutdown ends every cursor with io.EOF, drops lines that still come, and returns once all files are closed and nothing
// runs any more. What the disk refuses to the last is lost, and reported. It may be repeated.
func (l *Logs) Shutdown() error {
	l.mu.Lock()
	l.down = true
	hubs := l.hubs
	l.hubs = make(map[string]*hub)
	l.mu.Unlock()
	l.trim.end()
	l.mend.end()
	_, problem := l.mend.state()
	before := l.lost.Load()
	for _, h := range hubs {
		h.shutDown()
	}
	if lost := l.lost.Load(); lost > before || lost > 0 && problem != nil {
		l.logger.Warn("lines are lost because the logs could not be written", "lines", lost, "error", problem)
	}
	return nil
}

// acquire returns the hub of a task, which stays in memory until it is released; nil after Shutdown.
func (l *Logs) acquire(taskID string) *hub {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.down {
		return nil
	}
	h := l.hubs[taskID]
	if h == nil {
		h = &hub{logs: l, id: taskID, dir: filepath.Join(l.config.Dir, taskID)}
		l.hubs[taskID] = h
	}
	h.refs++
	return h
}

// hold keeps a hub until it is released once more.
func (l *Logs) hold(h *hub) {
	l.mu.Lock()
	defer l.mu.Unlock()
	h.refs++
}

// release gives a hub back. One that nobody uses, and to which nothing will be added, leaves memory.
func (l *Logs) release(h *hub) {
	l.mu.Lock()
	defer l.mu.Unlock()
	h.refs--
	if h.refs == 0 && !h.active && l.hubs[h.id] == h {
		delete(l.hubs, h.id)
	}
}

// activate keeps the hub in memory until Close.
func (l *Logs) activate(h *hub) {
	l.mu.Lock()
	defer l.mu.Unlock()
	h.active = true
}
