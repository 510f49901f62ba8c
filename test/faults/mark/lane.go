package mark

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// Enter signs a process in at its slot, by a file in dir, and returns who of other attempts is alive there. Those who
// are dead are struck off. A lock that ends with its holder makes it one step.
func Enter(dir string, m Mark) (living []string, err error) {
	file, err := os.OpenFile(filepath.Join(dir, m.Slot), os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, file.Close()) }()
	if err := unix.Flock(int(file.Fd()), unix.LOCK_EX); err != nil {
		return nil, fmt.Errorf("lock %s: %w", file.Name(), err)
	}
	text, err := io.ReadAll(file)
	if err != nil {
		return nil, err
	}
	own := fmt.Sprintf("%s/%d", m.Task, m.Attempt)
	list := fmt.Appendf(nil, "%s %d %d\n", own, m.PID, m.Born)
	for line := range strings.Lines(string(text)) {
		var attempt string
		var pid int
		var born uint64
		if _, err := fmt.Sscanf(line, "%s %d %d\n", &attempt, &pid, &born); err != nil {
			continue // what a writer was killed over
		}
		if !Alive(pid, born) {
			continue
		}
		if attempt != own {
			living = append(living, fmt.Sprintf("%s pid %d", attempt, pid))
		}
		list = append(list, line...)
	}
	// What is behind the new list until the file is cut are whole lines or the end of one; neither does harm.
	if _, err := file.WriteAt(list, 0); err != nil {
		return nil, err
	}
	return living, file.Truncate(int64(len(list)))
}

// Alive says whether the process that was started at that moment is there and not a zombie.
func Alive(pid int, born uint64) bool {
	state, started, err := stat(pid)
	return err == nil && started == born && state != 'Z' && state != 'X'
}

// Born is when a process was started, in clock ticks since boot. With its pid it names the process for good.
func Born(pid int) (uint64, error) {
	_, born, err := stat(pid)
	return born, err
}

// stat reads what proc(5) calls fields 3 and 22.
func stat(pid int) (state byte, born uint64, err error) {
	path := "/proc/" + strconv.Itoa(pid) + "/stat"
	text, err := os.ReadFile(path)
	if err != nil {
		return 0, 0, err
	}
	fields := strings.Fields(string(text[bytes.LastIndexByte(text, ')')+1:]))
	if len(fields) < 20 {
		return 0, 0, fmt.Errorf("%s has %d fields", path, len(fields))
	}
	born, err = strconv.ParseUint(fields[19], 10, 64)
	return fields[0][0], born, err
}
