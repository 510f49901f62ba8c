package rpc

import (
	"context"
	"fmt"
	"slices"

	"google.golang.org/grpc"
	"google.golang.org/grpc/encoding"
	protobuf "google.golang.org/grpc/encoding/proto"
	"google.golang.org/grpc/mem"
	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"

	"slotd/gateway/ask"
	"slotd/messages"
	slotdv1 "slotd/messages/slotd/v1"
)

// encoded is a message that is sent as it is. Nobody may change it afterwards.
type encoded []byte

// request is where a client's message is decoded to. The library would answer one that cannot be read itself, and call
// it an internal error; here it is read without an error, and refused by whoever asked for it.
type request struct {
	into proto.Message
	err  error // why it cannot be read
}

// readInto reads a request with the library's function. m must be a message.
func readInto(read func(any) error, m any) error {
	into, ok := m.(proto.Message)
	if !ok {
		return fmt.Errorf("%T is no message", m)
	}
	r := request{into: into}
	if err := read(&r); err != nil {
		return err
	}
	return r.err
}

// codec is the library's protobuf, with two differences beside: what is encoded already is not decoded to be encoded
// again, and fields that a request's message does not have are dropped, not stored with the spec.
type codec struct{ encoding.CodecV2 }

func newCodec() codec { return codec{encoding.GetCodecV2(protobuf.Name)} }

func (c codec) Marshal(v any) (mem.BufferSlice, error) {
	if message, ok := v.(encoded); ok {
		return mem.BufferSlice{mem.SliceBuffer(message)}, nil
	}
	return c.CodecV2.Marshal(v)
}

func (c codec) Unmarshal(data mem.BufferSlice, v any) error {
	r, ok := v.(*request)
	if !ok {
		return c.CodecV2.Unmarshal(data, v)
	}
	if data.Len() > MaxMessage {
		r.err = errRequestTooLarge
		return nil
	}
	whole := data.MaterializeToBuffer(mem.DefaultBufferPool())
	defer whole.Free()
	message := whole.ReadOnlyData()
	if _, batch := r.into.(*slotdv1.SubmitTasksRequest); batch {
		message = firstSpecs(message, ask.MaxBatch+1)
	}
	if err := (proto.UnmarshalOptions{DiscardUnknown: true}).Unmarshal(message, r.into); err != nil {
		r.err = errMalformed
	}
	return nil
}

var (
	errMalformed = rejection(messages.LabelInvalidRequest,
		"the request is not a protobuf message of its type, or a text in it is not UTF-8; encode it as the .proto files say, which reflection gives")
	errRequestTooLarge = rejection(messages.LabelPayloadTooLarge, fmt.Sprintf("the request exceeds %d bytes; send a smaller one", MaxMessage))
)

// firstSpecs cuts a batch behind its nth spec. Two million empty specs fit into 4 MiB, and would take a hundred times that
// when they are decoded, only to be refused.
func firstSpecs(batch []byte, n int) []byte {
	for read := 0; read < len(batch); {
		field, _, length := protowire.ConsumeField(batch[read:])
		if length < 0 {
			break // decoding tells what is wrong
		}
		read += length
		if field == specsField {
			if n--; n == 0 {
				return batch[:read]
			}
		}
	}
	return batch
}

var specsField = (*slotdv1.SubmitTasksRequest)(nil).ProtoReflect().Descriptor().Fields().ByName("specs").Number()

// register adds a service. Simple requests are read before any interceptor sees them, those of streams within.
func register(s *grpc.Server, desc grpc.ServiceDesc, service any) {
	desc.Methods = slices.Clone(desc.Methods)
	for i := range desc.Methods {
		handle := desc.Methods[i].Handler
		desc.Methods[i].Handler = func(service any, ctx context.Context, read func(any) error, around grpc.UnaryServerInterceptor) (any, error) {
			decode := func(m any) error {
				err := readInto(read, m)
				if refusal, ok := messages.RefusalOf(err); ok {
					return refusalStatus(refusal).Err()
				}
				return err
			}
			return handle(service, ctx, decode, around)
		}
	}
	s.RegisterService(&desc, service)
}
