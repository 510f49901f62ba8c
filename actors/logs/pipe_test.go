package logs

import (
	"bytes"
	"os"
	"testing"

	"golang.org/x/sys/unix"

	soltiv1 "slotd/messages/solti/v1"
)

// A process that writes faster than the node reads must not be stopped every 64 KiB; one that writes little must not
// cost the user's allowance for pipes.
func TestOnlyAPipeThatWasFullIsMadeLarger(t *testing.T) {
	for _, tc := range []struct {
		name  string
		write int
		want  int
	}{
		{"quiet", pipeBytes / 2, pipeBytes},
		{"full", pipeBytes, widePipeBytes},
	} {
		t.Run(tc.name, func(t *testing.T) {
			l, err := Open(Config{Dir: t.TempDir()}, nil)
			if err != nil {
				t.Fatal(err)
			}
			defer func() {
				if err := l.Shutdown(); err != nil {
					t.Error(err)
				}
			}()
			r, w, err := os.Pipe()
			if err != nil {
				t.Fatal(err)
			}
			defer func() { _ = r.Close() }()
			if _, err := w.Write(bytes.Repeat([]byte("0123456\n"), tc.write/8)); err != nil {
				t.Fatal(err)
			}
			if err := w.Close(); err != nil {
				t.Fatal(err)
			}
			writer := l.Writer("tsk_pipe", 1, soltiv1.OutputStreamKind_OUTPUT_STREAM_KIND_STDOUT)
			if n, err := writer.ReadFrom(r); err != nil || n != int64(tc.write) {
				t.Fatalf("read %d, %v", n, err)
			}
			if err := writer.Close(); err != nil {
				t.Error(err)
			}
			size, err := unix.FcntlInt(r.Fd(), unix.F_GETPIPE_SZ, 0)
			if err != nil || size != tc.want {
				t.Errorf("the pipe holds %d bytes, %v, want %d", size, err, tc.want)
			}
		})
	}
}
