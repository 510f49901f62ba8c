package sim

import (
	"fmt"
)

// violation is something that must never be.
type violation struct {
	rule, slot, text string
	at               int // place in the history, or never
}

func (v violation) String() string {
	return fmt.Sprintf("%s: %s (slot %q, entry %d)", v.rule, v.text, v.slot, v.at)
}

// rules are what a history must keep. Each is a promise of the contract.
var rules = []struct {
	name  string
	check func(*book, func(slot string, at int, format string, args ...any))
}{
	{"one live attempt per slot", oneLiveAttempt},
	{"one holder at a time", oneHolder},
	{"the accepted is there", acceptedIsThere},
	{"the refused is not", refusedIsNot},
	{"every request is answered", everyRequestIsAnswered},
	{"terminal is final", terminalIsFinal},
	{"terminal means dead", terminalMeansDead},
	{"durable before visible", durableBeforeVisible},
	{"attempts count from one", attemptsCount},
	{"a run says what happened", runsAreTrue},
	{"policy decides", policyDecides},
	{"not before its time", notBeforeItsTime},
	{"first come, first served", firstComeFirstServed},
	{"an end has its cause", endsHaveCauses},
	{"busy names a holder", busyNamesAHolder},
	{"unavailable has its cause", unavailableHasItsCause},
	{"a key stands for one task", keysStandForOneTask},
	{"logs are complete", logsAreComplete},
	{"a stop leaves nothing", stopLeavesNothing},
	{"all ends in the end", allEnds},
	{"no complaint without a fault", noComplaint},
}

// check judges a history.
func check(h history) []violation {
	b := read(h)
	var found []violation
	for _, rule := range rules {
		rule.check(b, func(slot string, at int, format string, args ...any) {
			found = append(found, violation{rule.name, slot, fmt.Sprintf(format, args...), at})
		})
	}
	return found
}

// report is how a rule names a violation.
type report = func(slot string, at int, format string, args ...any)
