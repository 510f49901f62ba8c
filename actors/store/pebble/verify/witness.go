package verify

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"io/fs"
	"sync"

	"github.com/cockroachdb/pebble/v2/vfs"
)

// WitnessFile is the name of the witness in a store's directory. Pebble leaves files alone whose names say nothing to it.
const WitnessFile = "ACKED"

// A witness has two slots, far enough from one another that no write touches both: each a counter (8 bytes), its
// complement and a checksum of both and the slot's number (4 bytes), big endian. They are written in turn.
const (
	witnessSlot   = 20
	witnessStride = 512
	witnessSize   = 2 * witnessStride
)

// WitnessState says what became of a witness.
type WitnessState string

// States of a witness.
const (
	WitnessAbsent   WitnessState = "absent"
	WitnessPresent  WitnessState = "present"
	WitnessDamaged  WitnessState = "damaged" // one slot is: the other may be one commit older
	WitnessUnusable WitnessState = "unusable"
)

// Witness remembers the greatest commit counter that was acknowledged, beside the store and without syncing: what the
// end of a log alone cannot tell. It is exact after a process is killed. After a machine crash it may be older: whatever
// it says was acknowledged, always.
//
// A Witness may be used by several goroutines; notes are written one after another.
type Witness struct {
	mu    sync.Mutex
	file  vfs.File
	noted uint64
	next  int // the slot to write
	err   error
}

// OpenWitness opens the witness of the store in dir for writing, and makes it when it is missing or unusable.
func OpenWitness(disk vfs.FS, dir string) (*Witness, error) {
	noted, slot, state, err := lookWitness(disk, dir)
	if err != nil {
		return nil, err
	}
	file, err := disk.OpenReadWrite(disk.PathJoin(dir, WitnessFile), vfs.WriteCategoryUnspecified)
	if err != nil {
		return nil, fmt.Errorf("open the store's witness: %w", err)
	}
	w := &Witness{file: file, noted: noted, next: 1 - slot}
	if state == WitnessAbsent || state == WitnessUnusable {
		err = w.create(disk, dir)
	}
	if err != nil {
		return nil, errors.Join(fmt.Errorf("make the store's witness: %w", err), file.Close())
	}
	return w, nil
}

// create takes the room of both slots, so that a note needs none.
func (w *Witness) create(disk vfs.FS, dir string) error {
	empty := make([]byte, witnessSize)
	for slot := range 2 {
		copy(empty[slot*witnessStride:], encodeSlot(slot, 0))
	}
	if _, err := w.file.WriteAt(empty, 0); err != nil {
		return err
	}
	if err := w.file.Sync(); err != nil {
		return err
	}
	d, err := disk.OpenDir(dir)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}

// Note writes down that all commits up to counter are acknowledged: call it once they are durable and before anybody is
// told. A counter that is not greater than the last changes nothing. A failure is told by Err and Close until a later
// note succeeds: the witness says less than it could until then, which is never wrong.
func (w *Witness) Note(counter uint64) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if counter <= w.noted {
		return
	}
	if _, err := w.file.WriteAt(encodeSlot(w.next, counter), int64(w.next*witnessStride)); err != nil {
		w.err = fmt.Errorf("note commit %d: %w", counter, err)
		return
	}
	w.noted, w.next, w.err = counter, 1-w.next, nil
}

// Noted is the greatest counter that was written.
func (w *Witness) Noted() uint64 {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.noted
}

// Err says why the last note failed, if it did.
func (w *Witness) Err() error {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.err
}

// Close syncs what was noted. The error is that of the sync or of the last note that failed.
func (w *Witness) Close() error {
	w.mu.Lock()
	defer w.mu.Unlock()
	return errors.Join(w.err, w.file.Sync(), w.file.Close())
}

func encodeSlot(slot int, counter uint64) []byte {
	b := binary.BigEndian.AppendUint64(make([]byte, 0, witnessSlot), counter)
	b = binary.BigEndian.AppendUint64(b, ^counter)
	return binary.BigEndian.AppendUint32(b, crc32.Checksum(append(b, byte(slot)), castagnoli))
}

// decodeWitness returns the greater counter of the slots that are whole, and which slot that is.
func decodeWitness(data []byte) (counter uint64, slot, whole int) {
	for i := range 2 {
		if len(data) < i*witnessStride+witnessSlot {
			break
		}
		b := data[i*witnessStride:][:witnessSlot]
		n := binary.BigEndian.Uint64(b)
		if string(encodeSlot(i, n)) != string(b) {
			continue
		}
		if whole++; whole == 1 || n >= counter {
			counter, slot = n, i
		}
	}
	return counter, slot, whole
}

func readWitness(disk vfs.FS, dir string) (uint64, WitnessState, error) {
	counter, _, state, err := lookWitness(disk, dir)
	return counter, state, err
}

func lookWitness(disk vfs.FS, dir string) (counter uint64, slot int, state WitnessState, err error) {
	f, err := disk.Open(disk.PathJoin(dir, WitnessFile))
	if errors.Is(err, fs.ErrNotExist) {
		return 0, 0, WitnessAbsent, nil
	}
	if err != nil {
		return 0, 0, "", fmt.Errorf("open the store's witness: %w", err)
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	data, err := io.ReadAll(io.LimitReader(f, witnessSize))
	if err != nil {
		return 0, 0, "", fmt.Errorf("read the store's witness: %w", err)
	}
	counter, slot, whole := decodeWitness(data)
	state = [...]WitnessState{WitnessUnusable, WitnessDamaged, WitnessPresent}[whole]
	return counter, slot, state, nil
}
