package bench

import (
	"bufio"
	"fmt"
	"os"
	"runtime"
	"strings"

	"golang.org/x/sys/unix"
)

// Machine is where the figures were taken. It names hardware and versions, never the host or its folders.
type Machine struct {
	CPU    string // the model, as the kernel names it
	Cores  int    // those that this process may use
	Memory int64  // bytes of the whole machine
	System string // operating system and kernel release
	Go     string
	Disk   string // the file system of the scratch files
}

// ThisMachine describes the machine it runs on, with the file system of a folder. It needs Linux's /proc.
func ThisMachine(dir string) (Machine, error) {
	cpu, err := procField("/proc/cpuinfo", "model name")
	if err != nil {
		return Machine{}, err
	}
	memory, err := procField("/proc/meminfo", "MemTotal")
	if err != nil {
		return Machine{}, err
	}
	var kib int64
	if _, err := fmt.Sscanf(memory, "%d kB", &kib); err != nil {
		return Machine{}, fmt.Errorf("read MemTotal %q: %w", memory, err)
	}
	release, err := os.ReadFile("/proc/sys/kernel/osrelease")
	if err != nil {
		return Machine{}, err
	}
	disk, err := fileSystem(dir)
	if err != nil {
		return Machine{}, err
	}
	return Machine{
		CPU:    cpu,
		Cores:  runtime.GOMAXPROCS(0),
		Memory: kib << 10,
		System: "Linux " + strings.TrimSpace(string(release)),
		Go:     runtime.Version(),
		Disk:   disk,
	}, nil
}

// fileSystem names the kind of file system a folder is on. One that keeps its files in memory makes nothing durable, and
// says so by its name.
func fileSystem(dir string) (string, error) {
	var stat unix.Statfs_t
	if err := unix.Statfs(dir, &stat); err != nil {
		return "", fmt.Errorf("statfs %s: %w", dir, err)
	}
	switch kind := stat.Type; kind {
	case unix.EXT4_SUPER_MAGIC:
		return "ext4", nil
	case unix.XFS_SUPER_MAGIC:
		return "xfs", nil
	case unix.BTRFS_SUPER_MAGIC:
		return "btrfs", nil
	case unix.OVERLAYFS_SUPER_MAGIC:
		return "overlayfs", nil
	case unix.TMPFS_MAGIC:
		return "tmpfs", nil
	default:
		return fmt.Sprintf("file system %#x", kind), nil
	}
}

// load is the mean number of runnable and blocked threads over the last minute: near 0 on a machine left alone.
func load() (float64, error) {
	text, err := os.ReadFile("/proc/loadavg")
	if err != nil {
		return 0, err
	}
	var minute float64
	if _, err := fmt.Sscan(string(text), &minute); err != nil {
		return 0, fmt.Errorf("read the load %q: %w", text, err)
	}
	return minute, nil
}

// procField returns the first value of a "name: value" line; "unknown" if the kernel does not say.
func procField(path, name string) (value string, err error) {
	f, err := os.Open(path)
	if err != nil {
		return "", err
	}
	defer func() {
		if e := f.Close(); err == nil {
			err = e
		}
	}()
	lines := bufio.NewScanner(f)
	for lines.Scan() {
		if key, value, ok := strings.Cut(lines.Text(), ":"); ok && strings.TrimSpace(key) == name {
			return strings.TrimSpace(value), nil
		}
	}
	return "unknown", lines.Err()
}

func (m Machine) String() string {
	return fmt.Sprintf("%s, %d cores, %.0f GiB, %s, %s, %s", m.CPU, m.Cores, float64(m.Memory)/(1<<30), m.Disk, m.System, m.Go)
}
