package logs

import (
	"google.golang.org/protobuf/encoding/protowire"
)

// Field numbers of OutputEventProto and the messages in it.
const (
	fieldChunk    = 1
	fieldStarted  = 2
	fieldFinished = 3
	fieldLagged   = 4
	fieldID       = 101

	fieldAttempt   = 1 // of chunk, started, finished
	fieldStream    = 2 // of chunk
	fieldSeq       = 3
	fieldTS        = 4
	fieldLine      = 5
	fieldTruncated = 101
	fieldStartedAt = 2
	fieldExitCode  = 2
	fieldFinishAt  = 3
	fieldSignal    = 101
	fieldSkipped   = 1
)

// appendProto adds the events of a block from that number on, each an OutputEventProto after a varint of its length.
func appendProto(dst []byte, b *block, from uint64) []byte {
	var inner []byte
	switch b.kind {
	case kindStarted:
		inner = appendUint(inner, fieldAttempt, uint64(b.attempt))
		inner = appendUint(inner, fieldStartedAt, uint64(b.started))
		return appendMessage(dst, fieldStarted, inner, b.id(b.first).append(nil))
	case kindFinished:
		how := cutFinish(b.payload)
		inner = appendUint(inner, fieldAttempt, uint64(b.attempt))
		if how.exitCode != nil {
			inner = appendOptional(inner, fieldExitCode, *how.exitCode)
		}
		inner = appendUint(inner, fieldFinishAt, uint64(b.ts))
		if how.signal != nil {
			inner = appendOptional(inner, fieldSignal, *how.signal)
		}
		return appendMessage(dst, fieldFinished, inner, b.id(b.first).append(nil))
	default:
		return appendProtoChunks(dst, b, from)
	}
}

func appendProtoChunks(dst []byte, b *block, from uint64) []byte {
	var inner, name []byte
	payload := b.payload
	for n := b.first; len(payload) > 0; n++ {
		line, truncated, rest, err := cutLine(payload)
		if err != nil {
			return dst // cannot be, see appendChunks
		}
		payload = rest
		if n < from {
			continue
		}
		inner = appendUint(inner[:0], fieldAttempt, uint64(b.attempt))
		inner = appendUint(inner, fieldStream, uint64(b.kind.stream()))
		inner = appendUint(inner, fieldSeq, b.seq+n-b.first)
		inner = appendUint(inner, fieldTS, uint64(b.ts))
		if len(line) > 0 {
			inner = protowire.AppendTag(inner, fieldLine, protowire.BytesType)
			inner = protowire.AppendBytes(inner, line)
		}
		if truncated {
			inner = appendUint(inner, fieldTruncated, 1)
		}
		name = b.id(n).append(name[:0])
		dst = appendMessage(dst, fieldChunk, inner, name)
	}
	return dst
}

// appendLaggedProto is appendLaggedSSE for OutputEventProto.
func appendLaggedProto(dst []byte, id eventID, skipped uint64) []byte {
	return appendMessage(dst, fieldLagged, appendUint(nil, fieldSkipped, skipped), id.append(nil))
}

// appendUint leaves a zero out, as proto3 does for a field without presence.
func appendUint(dst []byte, field protowire.Number, v uint64) []byte {
	if v == 0 {
		return dst
	}
	return protowire.AppendVarint(protowire.AppendTag(dst, field, protowire.VarintType), v)
}

func appendOptional(dst []byte, field protowire.Number, v int32) []byte {
	return protowire.AppendVarint(protowire.AppendTag(dst, field, protowire.VarintType), uint64(int64(v)))
}

func appendMessage(dst []byte, field protowire.Number, inner, id []byte) []byte {
	size := protowire.SizeTag(field) + protowire.SizeBytes(len(inner)) +
		protowire.SizeTag(fieldID) + protowire.SizeBytes(len(id))
	dst = protowire.AppendVarint(dst, uint64(size))
	dst = protowire.AppendBytes(protowire.AppendTag(dst, field, protowire.BytesType), inner)
	return protowire.AppendBytes(protowire.AppendTag(dst, fieldID, protowire.BytesType), id)
}
