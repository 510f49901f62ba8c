package bench

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"time"
)

// stopWithin is how long a daemon may take to end after SIGTERM.
const stopWithin = 30 * time.Second

// Build compiles the slotd that is measured into a folder and returns its path. It must be called inside the module.
func Build(ctx context.Context, dir string) (string, error) {
	program := filepath.Join(dir, "slotd")
	if out, err := exec.CommandContext(ctx, "go", "build", "-o", program, "slotd/cmd/slotd").CombinedOutput(); err != nil {
		return "", fmt.Errorf("build slotd: %w\n%s", err, out)
	}
	return program, nil
}

// daemon is the real binary, serving on a free port with a data directory of its own.
type daemon struct {
	addr string // host:port
	grpc string // the same for gRPC; empty where it does not listen
	node string // its name, which its tasks have in their environment
	dir  string // holds the data directory and the log
	cmd  *exec.Cmd
	log  *os.File
}

var readyLine = regexp.MustCompile(`^slotd ready http=(\S+) (?:grpc=(\S+) )?`)

// serve starts a daemon, with further flags, and returns once it is ready.
func (c Config) serve(ctx context.Context, flags ...string) (*daemon, error) {
	d, err := c.daemon()
	if err != nil {
		return nil, err
	}
	if err := d.start(ctx, c.Slotd, flags...); err != nil {
		return nil, errors.Join(err, os.RemoveAll(d.dir))
	}
	return d, nil
}

// daemon makes the folder of one that is to be started.
func (c Config) daemon() (*daemon, error) {
	dir, err := os.MkdirTemp(c.Dir, "daemon-*")
	return &daemon{dir: dir, node: filepath.Base(dir)}, err
}

// start starts the program on what the data directory holds and returns once it is ready. Its logs keep every line of a
// measurement. After an error nothing runs.
func (d *daemon) start(ctx context.Context, program string, flags ...string) (err error) {
	if d.log, err = os.Create(filepath.Join(d.dir, "log")); err != nil {
		return err
	}
	d.cmd = exec.CommandContext(ctx, program, append([]string{
		"serve", "--http", "127.0.0.1:0", "--grpc", "off", "--data", d.data(),
		"--node", d.node, "--log-bytes", "4GiB", "--log-level", "warn",
	}, flags...)...)
	d.cmd.Stderr = d.log
	d.cmd.Cancel = func() error { return d.cmd.Process.Signal(syscall.SIGTERM) }
	d.cmd.WaitDelay = stopWithin
	stdout, err := d.cmd.StdoutPipe()
	if err == nil {
		err = d.cmd.Start()
	}
	if err != nil {
		return errors.Join(err, d.log.Close())
	}
	line, err := bufio.NewReader(stdout).ReadString('\n')
	if match := readyLine.FindStringSubmatch(line); match != nil {
		d.addr, d.grpc = match[1], match[2]
		return nil
	}
	said, readErr := os.ReadFile(d.log.Name())
	return errors.Join(fmt.Errorf("the daemon said %q instead of being ready (%w):\n%s", line, err, said),
		readErr, d.cmd.Process.Signal(syscall.SIGTERM), d.cmd.Wait(), d.log.Close())
}

// stop ends the daemon as an operator would, and removes what it kept. A complaint in its log fails the measurement.
func (d *daemon) stop() error {
	late := time.AfterFunc(stopWithin, func() {
		// It has a deadline of its own; this one only keeps a measurement from standing still.
		_ = d.cmd.Process.Kill()
	})
	signaled := d.cmd.Process.Signal(syscall.SIGTERM)
	ended := d.cmd.Wait()
	late.Stop()
	said, err := os.ReadFile(d.log.Name())
	if strings.Contains(string(said), "[ERROR]") {
		err = errors.Join(err, fmt.Errorf("the daemon complained:\n%s", said))
	}
	return errors.Join(signaled, ended, err, d.log.Close(), os.RemoveAll(d.dir))
}

func (d *daemon) data() string { return filepath.Join(d.dir, "data") }

// state is where the store is.
func (d *daemon) state() string { return filepath.Join(d.data(), "store") }

// url is an address of the daemon; the path begins with a slash.
func (d *daemon) url(path string) string { return "http://" + d.addr + path }
