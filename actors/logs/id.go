package logs

import (
	"errors"
	"strconv"
	"strings"

	"slotd/messages"
)

// eventID names one event of a task to clients, who must take it as opaque: the epoch in base 36, the number and the
// attempt, with dashes between.
//
// Numbers alone would not do: what a machine's crash takes out of the last segment, clients may have seen, and the next
// life of the daemon gives the same numbers to other events. Each life therefore writes under an epoch of its own.
//
// The number of an event before which the task printed nothing follows from its attempt alone ([silentNumber]), in
// every life and without any file; such events have epoch 0.
//
// The attempt is the one whose run-started the client has seen: when the next events are gone by the time it resumes,
// this tells whether the attempt it comes back into has to be announced.
type eventID struct {
	epoch   uint64
	number  uint64
	attempt uint32
}

func (id eventID) append(b []byte) []byte {
	b = strconv.AppendUint(b, id.epoch, 36)
	b = append(b, '-')
	b = strconv.AppendUint(b, id.number, 10)
	b = append(b, '-')
	return strconv.AppendUint(b, uint64(id.attempt), 10)
}

// parseID reads an id that a client sends back. The error is a [messages.InvalidError].
func parseID(s string) (eventID, error) {
	parts := strings.SplitN(s, "-", 4)
	if len(parts) != 3 {
		return eventID{}, unknownID(s)
	}
	epoch, err1 := strconv.ParseUint(parts[0], 36, 63)
	number, err2 := strconv.ParseUint(parts[1], 10, 63)
	attempt, err3 := strconv.ParseUint(parts[2], 10, 32)
	id, err := eventID{epoch, number, uint32(attempt)}, errors.Join(err1, err2, err3)
	if err != nil || string(id.append(nil)) != s {
		return eventID{}, unknownID(s)
	}
	return id, nil
}

func unknownID(s string) error {
	const most = 64
	if len(s) > most {
		s = s[:most]
	}
	return &messages.InvalidError{Problems: []string{
		"after: " + strconv.QuoteToASCII(s) + " is not an event id of this task",
	}}
}

// silentNumber is the number that the run-started or run-finished of an attempt has as long as the task has not printed
// a line: 1, 2 for the first attempt, 3, 4 for the second.
func silentNumber(k kind, attempt uint32) uint64 {
	if k == kindStarted && attempt > 0 {
		return 2*uint64(attempt) - 1
	}
	return 2 * uint64(attempt)
}
