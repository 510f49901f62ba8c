package logs

import "sync"

// reader is how the hub knows a cursor, and the memory into which it reads for that cursor alone.
type reader struct {
	near  bool // it is at the end of the log; guarded by the hub's mu
	alone bool // it was the only one when it last asked

	blocks []*block
	bytes  *[]byte // from the pool
}

var buffers = sync.Pool{New: func() any { return new(make([]byte, 0, 2*stretchBytes)) }}

// room is where the next blocks go. They replace those that were fetched before.
func (r *reader) room() []*block {
	clear(r.blocks)
	return r.blocks[:0]
}

// buffer is where the next stretch goes.
func (r *reader) buffer(size int64) []byte {
	if r.bytes == nil {
		r.bytes, _ = buffers.Get().(*[]byte)
	}
	if int64(cap(*r.bytes)) < size {
		*r.bytes = make([]byte, 0, size)
	}
	return (*r.bytes)[:size]
}

// rest gives memory back.
func (r *reader) rest() {
	r.blocks = nil
	if r.bytes != nil {
		buffers.Put(r.bytes)
		r.bytes = nil
	}
}
