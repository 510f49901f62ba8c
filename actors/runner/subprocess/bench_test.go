package subprocess

import (
	"io"
	"os/exec"
	"strconv"
	"sync/atomic"
	"testing"
	"time"

	"github.com/hashicorp/go-hclog"
	"golang.org/x/sys/unix"

	"slotd/actors/runner"
	"slotd/test/need"
)

// BenchmarkBareExec is the floor of BenchmarkTrue: the same program, with nothing kept of it.
func BenchmarkBareExec(b *testing.B) {
	inParallel(b, func() error {
		return exec.CommandContext(b.Context(), "/bin/true").Run()
	})
}

// BenchmarkTrue measures whole attempts: start, wait, output drained, tree proven dead.
func BenchmarkTrue(b *testing.B) {
	for _, tree := range []Tree{TreeCgroup, TreeScan} {
		b.Run(string(tree), func(b *testing.B) {
			r, err := New(Config{Dir: b.TempDir(), Tree: tree}, hclog.NewNullLogger())
			if tree == TreeCgroup {
				need.That(b, err == nil, "a writable cgroup2 tree")
			}
			if err != nil {
				b.Fatal(err)
			}
			defer func() {
				if err := r.Close(); err != nil {
					b.Error(err)
				}
			}()
			spec := commandSpec("/bin/true")
			var last atomic.Int64
			inParallel(b, func() error {
				p, err := r.Start(b.Context(), runner.Attempt{
					TaskID: "tsk_" + strconv.FormatInt(last.Add(1), 10), Number: 1, Slot: "build", Node: "n1",
					Spec: spec, Stdout: io.Discard, Stderr: io.Discard,
				})
				if err == nil {
					p.Wait()
				}
				return err
			})
		})
	}
}

// inParallel calls run from one goroutine and from eight on two cores.
func inParallel(b *testing.B, run func() error) {
	for _, each := range []int{0, 4} {
		name := "goroutines=1"
		if each > 0 {
			name = "goroutines=4xCPU"
		}
		b.Run(name, func(b *testing.B) {
			spent := cpuTime(b)
			if each == 0 {
				for b.Loop() {
					if err := run(); err != nil {
						b.Fatal(err)
					}
				}
			} else {
				b.SetParallelism(each)
				b.RunParallel(func(pb *testing.PB) {
					for pb.Next() {
						if err := run(); err != nil {
							b.Error(err)
							return
						}
					}
				})
			}
			b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "starts/s")
			b.ReportMetric(float64((cpuTime(b)-spent).Microseconds())/float64(b.N), "cpu-µs/start")
		})
	}
}

// cpuTime is what this process and its dead children have used. Unlike the time that passes it can be compared between
// runs on a machine that has other things to do.
func cpuTime(b *testing.B) time.Duration {
	b.Helper()
	var total time.Duration
	for _, who := range []int{unix.RUSAGE_SELF, unix.RUSAGE_CHILDREN} {
		var usage unix.Rusage
		if err := unix.Getrusage(who, &usage); err != nil {
			b.Fatal(err)
		}
		total += time.Duration(usage.Utime.Nano() + usage.Stime.Nano())
	}
	return total
}

// BenchmarkOutput measures the way of a gigabyte from a process to a writer.
func BenchmarkOutput(b *testing.B) {
	r, err := New(Config{Dir: b.TempDir()}, hclog.NewNullLogger())
	if err != nil {
		b.Fatal(err)
	}
	defer func() {
		if err := r.Close(); err != nil {
			b.Error(err)
		}
	}()
	const size = 1 << 30
	b.SetBytes(size)
	var last int
	for b.Loop() {
		last++
		p, err := r.Start(b.Context(), runner.Attempt{
			TaskID: "tsk_" + strconv.Itoa(last), Number: 1,
			Spec:   commandSpec("head", "-c", strconv.Itoa(size), "/dev/zero"),
			Stdout: blackHole{make([]byte, 256<<10)}, Stderr: io.Discard,
		})
		if err != nil {
			b.Fatal(err)
		}
		p.Wait()
	}
}

// blackHole reads as the log does: as much at once as there is.
type blackHole struct{ buf []byte }

func (h blackHole) Write(p []byte) (int, error) { return len(p), nil }

func (h blackHole) ReadFrom(r io.Reader) (int64, error) {
	var total int64
	for {
		n, err := r.Read(h.buf)
		total += int64(n)
		if err == io.EOF {
			return total, nil
		}
		if err != nil {
			return total, err
		}
	}
}
