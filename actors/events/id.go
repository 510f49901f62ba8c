package events

import (
	"strconv"
	"strings"

	"slotd/messages"
)

// eventID names one event to clients, who must take it as opaque: the life of the daemon in base 36 and the number, with
// a dash between. Number 0 is the place before the first event.
type eventID struct{ epoch, number uint64 }

func (id eventID) String() string {
	b := strconv.AppendUint(make([]byte, 0, 32), id.epoch, 36)
	return string(strconv.AppendUint(append(b, '-'), id.number, 10))
}

// parseID reads an id that a client sends back. The error is a [messages.InvalidError].
func parseID(s string) (eventID, error) {
	epoch, number, _ := strings.Cut(s, "-")
	var id eventID
	var err1, err2 error
	id.epoch, err1 = strconv.ParseUint(epoch, 36, 64)
	id.number, err2 = strconv.ParseUint(number, 10, 63)
	if err1 != nil || err2 != nil || id.String() != s {
		return eventID{}, invalidID(s, "is not an event id")
	}
	return id, nil
}

func invalidID(s, why string) error {
	const most = 64
	if len(s) > most {
		s = s[:most]
	}
	return &messages.InvalidError{Problems: []string{
		"after: " + strconv.QuoteToASCII(s) + " " + why + "; give the id of an event as it came, or none",
	}}
}
