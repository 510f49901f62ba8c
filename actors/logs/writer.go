package logs

import (
	"bytes"
	"errors"
	"io"
	"os"
	"sync"
	"syscall"

	"golang.org/x/sys/unix"

	"slotd/messages"
)

// Writer takes one stream of one attempt: it cuts lines and hands them to the hub, block by block. It never fails and
// never waits for a reader. One goroutine at a time may use it.
//
// A line ends with "\n" or "\r\n", which are not part of it; the last one may lack its end. What goes beyond
// [messages.MaxLineBytes] is cut off, and the line marked as truncated.
type Writer struct {
	logs    *Logs
	hub     *hub // nil after Shutdown: lines are dropped
	closed  bool
	attempt uint32
	kind    kind
	seq     uint64

	wide    bool   // the pipe has been made larger, or cannot be
	partial []byte // the beginning of a line whose end has not come
	skip    bool   // the line under way is longer than partial can be
	frame   *frame // what this call has read; nil between calls
	now     int64  // Unix milliseconds of the last read
}

// frame is a frame under construction, with room for its header in front.
type frame struct {
	data  []byte
	count uint32
	ts    int64
}

const (
	chunkBytes    = 1 << 17 // of one read
	pipeBytes     = 1 << 16 // what a pipe holds, unless told otherwise
	widePipeBytes = 1 << 20
	partialBytes  = messages.MaxLineBytes + len("\r")
	idleBytes     = 1 << 10 // what a quiet writer may keep of its partial line's memory beyond its length
)

var (
	frames = sync.Pool{New: func() any { return &frame{data: make([]byte, headerSize, headerSize+2*frameBytes)} }}
	chunks = sync.Pool{New: func() any { return new([chunkBytes]byte) }}
)

// Write takes all of p. The error is always nil, except [io.ErrClosedPipe] after Close.
func (w *Writer) Write(p []byte) (int, error) {
	if w.closed {
		return 0, io.ErrClosedPipe
	}
	w.take(p)
	w.flush()
	w.rest()
	return len(p), nil
}

// ReadFrom takes everything from r until io.EOF; an error is one of reading. When r is a pipe, no memory is held while
// it is empty.
func (w *Writer) ReadFrom(r io.Reader) (int64, error) {
	if w.closed {
		return 0, io.ErrClosedPipe
	}
	defer w.rest()
	if conn, ok := r.(syscall.Conn); ok {
		if raw, err := conn.SyscallConn(); err == nil && nonblocking(raw) {
			return w.readRaw(raw)
		}
	}
	buf, _ := chunks.Get().(*[chunkBytes]byte)
	defer chunks.Put(buf)
	var total int64
	for {
		n, err := r.Read(buf[:])
		total += int64(n)
		w.take(buf[:n])
		w.flush()
		switch {
		case errors.Is(err, io.EOF):
			return total, nil
		case err != nil:
			return total, err
		}
	}
}

// nonblocking says whether reading the descriptor never waits.
func nonblocking(raw syscall.RawConn) bool {
	flags := 0
	if err := raw.Control(func(fd uintptr) { flags, _ = unix.FcntlInt(fd, unix.F_GETFL, 0) }); err != nil {
		return false
	}
	return flags&unix.O_NONBLOCK != 0
}

// readRaw reads a descriptor with the system call, and lets the runtime wait for more. What can be read without waiting
// is gathered into one frame.
func (w *Writer) readRaw(raw syscall.RawConn) (int64, error) {
	var total int64
	var failed error
	err := raw.Read(func(fd uintptr) bool {
		buf, _ := chunks.Get().(*[chunkBytes]byte)
		defer chunks.Put(buf)
		for {
			n, err := syscall.Read(int(fd), buf[:])
			switch {
			case errors.Is(err, syscall.EINTR):
			case errors.Is(err, syscall.EAGAIN):
				w.flush()
				w.rest()
				return false
			case err != nil, n == 0:
				failed = os.NewSyscallError("read", err)
				w.flush()
				return true
			default:
				if n >= pipeBytes && !w.wide {
					w.widen(fd)
				}
				total += int64(n)
				w.take(buf[:n])
			}
		}
	})
	return total, errors.Join(failed, err)
}

// widen gives a process that has filled its pipe a larger one, so that it need not stop each time the node is busy with
// readers. Where the kernel refuses, because the user has too much in pipes already, the pipe stays as it is.
func (w *Writer) widen(fd uintptr) {
	w.wide = true
	_, _ = unix.FcntlInt(fd, unix.F_SETPIPE_SZ, widePipeBytes)
}

// Close adds the last line if it has no end. It may be repeated; the error is always nil.
func (w *Writer) Close() error {
	if w.closed {
		return nil
	}
	w.closed = true
	if len(w.partial) > 0 {
		w.begin()
		w.line(w.partial)
		w.flush()
	}
	w.rest()
	w.partial = nil
	if w.hub != nil {
		w.logs.release(w.hub)
	}
	return nil
}

// take cuts what was read into lines. They are published when the frame is full, or by flush.
func (w *Writer) take(p []byte) {
	w.begin()
	for len(p) > 0 {
		end := bytes.IndexByte(p, '\n')
		if end < 0 {
			w.hold(p)
			break
		}
		line := p[:end]
		p = p[end+1:]
		if len(w.partial) > 0 {
			w.hold(line)
			line = w.partial
		}
		if n := len(line); n > 0 && line[n-1] == '\r' && !w.skip {
			line = line[:n-1]
		}
		w.line(line)
		w.partial, w.skip = w.partial[:0], false
	}
}

func (w *Writer) begin() {
	if w.frame == nil {
		w.frame, _ = frames.Get().(*frame)
	}
	w.now = w.logs.now().UnixMilli()
}

// hold keeps the beginning of a line, up to what a line can have and a carriage return behind it.
func (w *Writer) hold(p []byte) {
	room := partialBytes - len(w.partial)
	if len(p) > room {
		p, w.skip = p[:room], true
	}
	w.partial = append(w.partial, p...)
}

// line adds a whole line to the frame.
func (w *Writer) line(line []byte) {
	f := w.frame
	truncated := len(line) > messages.MaxLineBytes
	if truncated {
		line = line[:messages.MaxLineBytes]
	}
	if f.count == 0 {
		f.ts = w.now
	}
	f.data = appendLine(f.data, line, truncated)
	f.count++
	if len(f.data) >= frameBytes || f.count == frameLines {
		w.flush()
	}
}

// flush publishes the frame.
func (w *Writer) flush() {
	f := w.frame
	if f == nil || f.count == 0 {
		return
	}
	h := header{seq: w.seq, ts: f.ts, attempt: w.attempt, count: f.count, kind: w.kind}
	if w.hub != nil && w.hub.addLines(&h, f.data) {
		w.seq += uint64(f.count)
	}
	f.data, f.count = f.data[:headerSize], 0
}

// rest gives memory back until there is more to do.
func (w *Writer) rest() {
	if w.frame != nil {
		frames.Put(w.frame)
		w.frame = nil
	}
	if cap(w.partial) > len(w.partial)+idleBytes {
		w.partial = append([]byte(nil), w.partial...)
	}
}
