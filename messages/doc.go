// Package messages is the vocabulary of slotd: the protobuf messages that clients, actors and stores exchange (in
// solti/v1 and slotd/v1), and the pure rules that belong to them.
//
// It decides whether a spec is acceptable and what its defaults are, how an attempt's end is read and whether another
// attempt follows, when that attempt is due, which labels a selector takes, and what a task is called. It does no I/O,
// reads no clock and imports nothing else of slotd; time and randomness are arguments.
//
// The gateway and the command line call it before they send anything, the actors call it to decide, and the catalog
// calls it to filter. Everything here is safe for concurrent use, except a [Minter], which has one owner. No function
// changes what it is given, except [Defaults], which fills a spec in place.
//
// A user's mistake is an [InvalidError], which lists all of them; a refusal by the system is a [RejectionError] with
// one of a closed set of labels. Neither knows HTTP or gRPC.
//
// The generated code is reproduced by "make generate", which runs protoc with protoc-gen-go and protoc-gen-go-grpc
// over solti/v1 and slotd/v1, with this folder as the include path.
package messages
