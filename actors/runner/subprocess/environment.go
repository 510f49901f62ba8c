package subprocess

import (
	"bytes"
	"maps"
	"os"
	"slices"
	"strconv"
	"strings"

	"slotd/actors/runner"
	soltiv1 "slotd/messages/solti/v1"
)

// The variables that tell an attempt what it is. They also mark its processes for the scan.
const (
	envTask    = "SLOTD_TASK_ID"
	envAttempt = "SLOTD_ATTEMPT"
	envSlot    = "SLOTD_SLOT"
	envNode    = "SLOTD_NODE"
)

// nameOf is what an attempt is called in cgroupfs, in the file system and in the log.
func nameOf(task, attempt string) string { return task + "-" + attempt }

// environment is what all attempts of a runner have in common.
type environment struct {
	base  []variable // loses to the spec
	fixed []variable // wins over the spec
}

type variable struct{ key, value string }

// newEnvironment takes from this process's own environment the little that attempts may see of it.
func newEnvironment(fixed map[string]string) environment {
	var e environment
	for _, key := range []string{"PATH", "HOME", "USER", "LANG", "TZ", "TMPDIR"} {
		if value, ok := os.LookupEnv(key); ok {
			e.base = append(e.base, variable{key, value})
		}
	}
	for _, key := range slices.Sorted(maps.Keys(fixed)) {
		e.fixed = append(e.fixed, variable{key, fixed[key]})
	}
	return e
}

// of returns the whole environment of an attempt. Later layers win, and so do later duplicates within the spec's.
func (e environment) of(a runner.Attempt, spec []*soltiv1.KeyValue) []string {
	size := len(e.base) + len(spec) + len(e.fixed) + 4
	entries, at := make([]string, 0, size), make(map[string]int, size)
	put := func(key, value string) {
		i, known := at[key]
		if !known {
			i = len(entries)
			at[key] = i
			entries = append(entries, "")
		}
		entries[i] = key + "=" + value
	}
	for _, v := range e.base {
		put(v.key, v.value)
	}
	for _, kv := range spec {
		put(kv.GetKey(), kv.GetValue())
	}
	for _, v := range e.fixed {
		put(v.key, v.value)
	}
	put(envTask, a.TaskID)
	put(envAttempt, strconv.FormatUint(uint64(a.Number), 10))
	put(envSlot, a.Slot)
	put(envNode, a.Node)
	return entries
}

// markOf names the attempt that a process belongs to by the environment that it was executed with: empty when that names
// none, or cannot be read. The dead have no environment.
func markOf(pid int) string {
	text, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/environ")
	if err != nil {
		return ""
	}
	var task, attempt string
	for entry := range bytes.SplitSeq(text, []byte{0}) {
		key, value, _ := strings.Cut(string(entry), "=")
		switch key {
		case envTask:
			task = value
		case envAttempt:
			attempt = value
		}
	}
	if task == "" || attempt == "" {
		return ""
	}
	return nameOf(task, attempt)
}
