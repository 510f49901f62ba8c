package logs

import (
	"sync"

	"slotd/messages"
	slotdv1 "slotd/messages/slotd/v1"
)

// block is a frame in memory, shared by every reader: it never changes, and each encoding of it is made once.
type block struct {
	header
	epoch   uint64
	payload []byte
	forms   [2]form // by messages.Encoding
}

// form is a block as clients get it.
type form struct {
	once sync.Once
	data []byte
}

// blockOverhead stands for the structs and slice headers of a block when memory is counted.
const blockOverhead = 320

// sseOverhead is what an event of a chunk takes beside its line, with seven digits for each of its numbers.
const sseOverhead = 136

// cost estimates the bytes a block takes in memory, with one encoding.
func (b *block) cost() int { return blockOverhead + 2*len(b.payload) + sseOverhead*int(b.count) }

// id names the event of the block with that number.
func (b *block) id(number uint64) eventID {
	if !b.kind.lines() && b.first == silentNumber(b.kind, b.attempt) {
		return eventID{0, number, b.attempt}
	}
	return eventID{b.epoch, number, b.attempt}
}

// encoded returns all events of the block.
func (b *block) encoded(e messages.Encoding) []byte {
	f := &b.forms[e]
	f.once.Do(func() {
		size := 160 + len(b.payload)
		if e == messages.EncodeSSE {
			size += len(b.payload)/8 + sseOverhead*int(b.count)
		} else {
			size += 48 * int(b.count)
		}
		f.data = b.appendTo(make([]byte, 0, size), e, b.first)
	})
	return f.data
}

// appendTo encodes the events from that number on.
func (b *block) appendTo(dst []byte, e messages.Encoding, from uint64) []byte {
	if e == messages.EncodeProto {
		return appendProto(dst, b, from)
	}
	return appendSSE(dst, b, from)
}

// lines counts those in the block.
func (b *block) lines() int64 {
	if b.kind.lines() {
		return int64(b.count)
	}
	return 0
}

// frame returns the block as it is written.
func (b *block) frame() []byte {
	frame := append(make([]byte, headerSize, headerSize+len(b.payload)), b.payload...)
	seal(frame, &b.header)
	return frame
}

// startedBlock is the run-started of an attempt.
func startedBlock(number, epoch uint64, attempt uint32, at int64) *block {
	return &block{
		header: header{first: number, ts: at, started: at, attempt: attempt, count: 1, kind: kindStarted},
		epoch:  epoch,
	}
}

// finishedBlock is the run-finished of an attempt.
func finishedBlock(number, epoch uint64, attempt uint32, started, at int64, how finish) *block {
	return &block{
		header:  header{first: number, ts: at, started: started, attempt: attempt, count: 1, kind: kindFinished},
		epoch:   epoch,
		payload: appendFinish(nil, how),
	}
}

// silentBlocks makes the events numbered from up to but not including to out of the runs of a task that has printed
// nothing before to. Runs that are no longer kept leave a gap.
func silentBlocks(runs []*slotdv1.RunRecord, from, to uint64) []*block {
	var blocks []*block
	add := func(b *block) {
		if b.first >= from && b.first < to {
			blocks = append(blocks, b)
		}
	}
	for _, r := range runs {
		add(startedBlock(silentNumber(kindStarted, r.GetAttempt()), 0, r.GetAttempt(), r.GetStartedAt()))
		if r.GetFinishedAt() != 0 {
			add(finishedBlock(silentNumber(kindFinished, r.GetAttempt()), 0, r.GetAttempt(), r.GetStartedAt(), r.GetFinishedAt(),
				finish{r.ExitCode, r.Signal}))
		}
	}
	return blocks
}
