package verify

import (
	"fmt"
	"strings"
)

// CorruptError says that a store is damaged, or that something acknowledged is missing from it. Nothing was changed.
type CorruptError struct {
	Dir    string
	Damage []Damage // at least one
}

// Damage is one thing that is wrong.
type Damage struct {
	File string // its name in the directory; empty when it is the store as a whole
	What string
}

func (d Damage) String() string {
	if d.File == "" {
		return d.What
	}
	return d.File + ": " + d.What
}

// told is how many damages are told in one line; `slotd store check` tells all.
const told = 3

func (e *CorruptError) Error() string {
	var b strings.Builder
	fmt.Fprintf(&b, "the store in %s is damaged: ", e.Dir)
	for i, d := range e.Damage {
		if i == told {
			fmt.Fprintf(&b, "; and %d more", len(e.Damage)-told)
			break
		}
		if i > 0 {
			b.WriteString("; ")
		}
		b.WriteString(d.String())
	}
	b.WriteString(". Nothing was changed: restore the directory from a copy, save what is readable with " +
		"`slotd store export --salvage`, or move the directory away to begin with an empty store")
	return b.String()
}

// NewerError says that a store was written by a newer program. Nothing was changed.
type NewerError struct {
	Dir     string
	What    string // what has a version
	Version uint64
	Known   uint64 // the greatest this program reads
	By      string // the slotd that made the store, if that is known
}

func (e *NewerError) Error() string {
	by := ""
	if e.By != "" {
		by = ", made by slotd " + e.By
	}
	return fmt.Sprintf("the store in %s is newer than this slotd: its %s is %d%s, this one knows %d. "+
		"Nothing was changed: run the newer slotd, or write the store to a file with its `slotd store export` and read that "+
		"into an empty directory", e.Dir, e.What, e.Version, by, e.Known)
}
