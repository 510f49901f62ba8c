package e2e

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"slotd/test/need"
)

// terminal is a verb on a terminal of its own.
type terminal struct {
	shown *text    // what it wrote
	keys  *os.File // a person's keys
	cmd   *exec.Cmd
	read  chan struct{} // closed when it has ended and all it wrote is read
}

func onTerminal(t *testing.T, d *daemon, args ...string) *terminal {
	t.Helper()
	keys, err := os.OpenFile("/dev/ptmx", os.O_RDWR, 0)
	need.That(t, err == nil, "a pseudo-terminal, /dev/ptmx")
	t.Cleanup(func() { _ = keys.Close() }) // it was read to its end
	if err := unix.IoctlSetPointerInt(int(keys.Fd()), unix.TIOCSPTLCK, 0); err != nil {
		t.Fatal(err)
	}
	number, err := unix.IoctlGetInt(int(keys.Fd()), unix.TIOCGPTN)
	if err != nil {
		t.Fatal(err)
	}
	screen, err := os.OpenFile(fmt.Sprintf("/dev/pts/%d", number), os.O_RDWR|syscall.O_NOCTTY, 0)
	if err != nil {
		t.Fatal(err)
	}
	if err := unix.IoctlSetWinsize(int(screen.Fd()), unix.TIOCSWINSZ, &unix.Winsize{Row: 24, Col: 100}); err != nil {
		t.Fatal(err)
	}
	x := &terminal{shown: new(text), keys: keys, read: make(chan struct{})}
	x.cmd = exec.CommandContext(context.WithoutCancel(t.Context()), slotd, args...)
	x.cmd.Env = append(os.Environ(), goRace(), "SLOTD_ADDR=http://"+d.http, "TERM=xterm")
	x.cmd.Stdin, x.cmd.Stdout, x.cmd.Stderr = screen, screen, screen
	x.cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true, Setctty: true} // so that Ctrl-C is a signal
	if err := x.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = x.cmd.Process.Kill() }) // for a test that failed; it has ended otherwise
	if err := screen.Close(); err != nil {
		t.Fatal(err)
	}
	go func() {
		defer close(x.read)
		piece := make([]byte, 4096)
		for {
			n, err := keys.Read(piece)
			_, _ = x.shown.Write(piece[:n]) // to memory
			if err != nil {
				return // hung up
			}
		}
	}()
	return x
}

// types sends keys once the terminal shows something, and returns the exit code and all that was shown.
func (x *terminal) types(t *testing.T, once, keys string) (int, string) {
	t.Helper()
	eventually(t, fmt.Sprintf("%v shows %q: %q", x.cmd.Args, once, x.shown), func() bool { return strings.Contains(x.shown.String(), once) })
	if _, err := x.keys.WriteString(keys); err != nil {
		t.Error(err)
	}
	_ = x.cmd.Wait() // the exit code says it
	<-x.read
	return x.cmd.ProcessState.ExitCode(), x.shown.String()
}

func TestATerminalIsLeftAsItWasFound(t *testing.T) {
	t.Parallel()
	d := serve(t)
	var id strings.Builder
	submit := exec.CommandContext(t.Context(), slotd, "submit", "--grace", "1s", "--", "sleep", "1000")
	submit.Env = append(os.Environ(), goRace(), "SLOTD_ADDR=http://"+d.http)
	submit.Stdout = &id
	if err := submit.Run(); err != nil {
		t.Fatal(err)
	}
	task := strings.TrimSpace(id.String())

	code, shown := onTerminal(t, d, "wait", task).types(t, "waiting for "+task+", Running, attempt 1, ", "\x03")
	if last := shown[strings.LastIndex(shown, "\r"):]; code != 130 || last != "\r\x1b[K" {
		t.Errorf("wait: exit %d, shown at last %q", code, last)
	}
	for _, key := range []string{"q", "\x03"} {
		code, shown = onTerminal(t, d, "top").types(t, task, key)
		if code != 0 || !strings.HasPrefix(shown, "\x1b[?1049h") || !strings.HasSuffix(shown, "\x1b[?25h\x1b[?1049l") || bytes.Contains([]byte(shown), []byte("^C")) {
			t.Errorf("top ended by %q: exit %d, shown %q", key, code, shown)
		}
	}
}
