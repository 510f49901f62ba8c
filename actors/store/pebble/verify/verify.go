// Package verify tells, before a store is opened, whether everything that was acknowledged is still in its directory. It
// only reads: a store that is damaged or newer than this program is left as it was found.
//
// Why it exists. Opening a Pebble database replays its manifest up to the first record it cannot read, and its last log
// up to the first chunk that is not proven to be damaged; what is behind is dropped without a word. Both are right after
// a crash in the middle of a write, and a loss after anything else.
//
// What it proves:
//
//  1. The manifest is readable to its end, and every table it names is there, of the right size, with every block's
//     checksum right.
//  2. Every log from the first that is not in the tables has no damage before a chunk that says it was synced.
//  3. The commit counters of the tables and of the groups in the logs follow one another without a gap.
//  4. The greatest of them is not less than what the [Witness] says was acknowledged.
//
// A log whose last write was cut off, with nothing valid behind it, is what a crash leaves: it is told in the [Report],
// and is no damage as long as 3 and 4 hold.
//
// [Check] is called by package pebble before it opens, and by `slotd store check`. It holds no lock; the caller sees to it
// that nobody writes meanwhile.
package verify

import (
	"errors"
	"fmt"
	"io/fs"
	"syscall"

	"github.com/cockroachdb/pebble/v2"
	"github.com/cockroachdb/pebble/v2/vfs"
	"google.golang.org/protobuf/proto"

	"slotd/actors/store/pebble/layout"
	slotdv1 "slotd/messages/slotd/v1"
)

// Report is what a store's directory holds.
type Report struct {
	Dir    string
	Empty  bool                 // nothing was ever committed
	Format *slotdv1.StoreFormat // nil when empty
	Engine uint64               // Pebble's format major version; 0 when there is none yet

	Manifest   string // the name of the file
	Tables     int
	TableBytes int64
	Entries    uint64 // in the tables, older versions and deletions included
	Logs       int
	LogBytes   int64
	Groups     uint64 // in the logs

	Commits      uint64 // the counter of the newest group
	Witness      WitnessState
	Acknowledged uint64 // what the witness says; 0 without one

	Torn []Torn // what crashes cut off: never acknowledged
}

// Torn is the end of a file whose last write was not finished.
type Torn struct {
	File   string // its name
	Offset int64  // where the unfinished write begins
	Bytes  int64  // how much of it there is
}

// Bytes is the size of all that counts.
func (r *Report) Bytes() int64 { return r.TableBytes + r.LogBytes }

// Check reads the store in dir as a whole. The error is a [*NewerError], a [*CorruptError] that tells all the damage
// found, or says what could not be read; the report is of use in every case, as far as it goes. A directory that is
// missing or empty is an empty store.
func Check(disk vfs.FS, dir string) (*Report, error) {
	c := &checker{disk: ReadOnly(disk), dir: dir, report: &Report{Dir: dir}}
	err := c.check()
	return c.report, err
}

// checker is one run over one directory.
type checker struct {
	disk   vfs.FS
	dir    string
	report *Report
	damage []Damage
	format []byte // the newest format record, encoded
}

func (c *checker) check() error {
	found, err := list(c.disk, c.dir)
	if err != nil {
		return err
	}
	if c.report.Acknowledged, c.report.Witness, err = readWitness(c.disk, c.dir); err != nil {
		return err
	}
	if err := c.engine(found); err != nil {
		return err
	}
	commits, err := c.contents(found)
	if err != nil {
		return err
	}
	c.report.Commits = commits
	if err := c.known(); err != nil {
		return err
	}
	if err := c.options(found); err != nil {
		return err
	}
	if acked := c.report.Acknowledged; acked > commits {
		c.report.Empty = false
		c.damaged("", "acknowledged commits %d to %d are missing (%s); to go on without them, remove %s",
			commits+1, acked, WitnessFile, c.disk.PathJoin(c.dir, WitnessFile))
	}
	if len(c.damage) > 0 {
		return &CorruptError{Dir: c.dir, Damage: c.damage}
	}
	return nil
}

// engine looks whether this program's Pebble knows the format at all.
func (c *checker) engine(found files) error {
	if found.badMarker != "" {
		c.damaged(found.badMarker, "is not the name of a marker")
	}
	c.report.Engine = found.engine
	if newest := uint64(pebble.FormatNewest); found.engine > newest {
		return &NewerError{Dir: c.dir, What: "Pebble's format major version", Version: found.engine, Known: newest}
	}
	return nil
}

// contents reads manifest, tables and logs, and returns the commit counter.
func (c *checker) contents(found files) (commits uint64, err error) {
	if found.manifest == "" {
		c.unnamed(found)
		return 0, nil
	}
	v, err := c.readManifest(found.manifest)
	if err != nil || v == nil {
		return 0, err
	}
	if commits, err = c.readTables(v, found); err != nil {
		return 0, err
	}
	if commits, err = c.readLogs(v.minLog, commits, found); err != nil {
		return 0, err
	}
	if found.engine == 0 && c.report.Tables+int(c.report.Groups) > 0 {
		c.damaged("marker.format-version…", "is missing")
	}
	c.report.Empty = commits == 0 && c.format == nil
	return commits, nil
}

// unnamed decides about a directory whose marker names no manifest: it is empty, its store was not finished when it was
// made, or the marker is gone, and Pebble would begin a new store over the old one. Pebble makes that marker before
// anything else that counts.
func (c *checker) unnamed(found files) {
	if found.engine != 0 || len(found.tables) > 0 || len(found.logs) > 0 {
		c.damaged("marker.manifest…", "is missing: nothing says which manifest is the right one")
		return
	}
	c.report.Empty = true
}

// known looks whether this program knows what the values mean. A newer format may have other rules: it is told in place
// of what looks like damage.
func (c *checker) known() error {
	if c.format == nil {
		if c.report.Entries+c.report.Groups > 0 && len(c.damage) == 0 {
			c.damaged("", "the record of the store's format (%s) is missing", layout.FormatKey)
		}
		return nil
	}
	format := &slotdv1.StoreFormat{}
	if err := proto.Unmarshal(c.format, format); err != nil {
		c.damaged("", "the record of the store's format is unreadable: %v", err)
		return nil
	}
	c.report.Format = format
	if format.GetVersion() > layout.FormatVersion {
		return &NewerError{
			Dir: c.dir, What: "format", Version: uint64(format.GetVersion()), Known: layout.FormatVersion, By: format.GetCreatedBy(),
		}
	}
	return nil
}

// options asks Pebble whether it would take its own options file, which it reads before it opens.
func (c *checker) options(found files) error {
	if found.options == "" {
		return nil
	}
	text, err := c.read(found.options)
	if err != nil {
		return err
	}
	ours := &pebble.Options{}
	ours.EnsureDefaults()
	err = c.guarded(func() error { return ours.CheckCompatibility(c.dir, string(text)) })
	if err != nil {
		c.damaged(found.options, "%v; it holds settings only and may be removed", err)
	}
	return nil
}

// damaged notes what is wrong with a file, or with the store when the name is empty.
func (c *checker) damaged(file, format string, args ...any) {
	c.damage = append(c.damage, Damage{File: file, What: fmt.Sprintf(format, args...)})
}

// guarded turns a panic over bytes that Pebble does not expect into an error.
func (c *checker) guarded(read func() error) (err error) {
	defer func() {
		if r := recover(); r != nil {
			err = fmt.Errorf("cannot be decoded: %v", r)
		}
	}()
	return read()
}

// unreadable says that an error is the disk's and not that of what it gave.
func unreadable(err error) bool {
	_, number := errors.AsType[syscall.Errno](err)
	return number || errors.Is(err, fs.ErrPermission)
}
