package main

import (
	"bytes"
	"math"
	"strings"
	"testing"
	"time"

	"slotd/gateway/codec"
	"slotd/messages"
	soltiv1 "slotd/messages/solti/v1"
)

// FuzzFlagValue: every reader of a flag's text takes the text of its rule and nothing else, and what it takes is within
// the bounds of a spec or refused by its validation, never another number than was written.
func FuzzFlagValue(f *testing.F) {
	for _, text := range []string{
		"", "1", "0", "-1", "1s", "1h30m", "1ns", "2562047h47m16.854775807s", "2562047h47m16.854775808s", "1d", "µs", "0.5us",
		"always:1m", "always:", "never:1s", "on-failure", "always:-1s", "alwys",
		"first=1s,max=30s,factor=2,jitter=full", "first=2s,max=1s", "factor=NaN", "factor=+Inf", "factor=1e309", "jitter=", "first", ",", "first=1s,first=2s", "factor=0x1p1",
		"512k", "64MiB", "1.5G", "1e3k", "0x1p4k", "infk", "1_000k", "9223372036854775807", "9007199254740993b", "4194304T", ".5k", "+1k", "1 k b", "K", "1\u212a",
		"/a:/b", "/a:/b:ro", "a:b:rw", ":", "::", "/a:/b:xx", "a:b:c:d", "\x00:b",
	} {
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, text string) {
		if d, err := parseDuration(text); err == nil {
			ms := millis(d)
			if d < 0 || ms > math.MaxInt64/uint64(time.Millisecond)+1 || time.Duration(ms-min(ms, 1))*time.Millisecond > d || ms < uint64(d/time.Millisecond) {
				t.Errorf("%q is %v, or %d ms", text, d, ms)
			}
		}
		if n, err := parseBytes(text); err == nil {
			number := strings.TrimRight(strings.ToLower(strings.TrimSpace(text)), "abcdefghijklmnopqrstuvwxyz ")
			if n == 0 || n > math.MaxInt64 || number == "" || strings.Trim(number, "0123456789.") != "" {
				t.Errorf("%q is %d bytes", text, n)
			}
		}
		if n, err := parseCPUs(text); err == nil && (n == 0 || n > 1e9) {
			t.Errorf("%q is %d thousandths", text, n)
		}
		if r, err := parseRestart(text); err == nil {
			checkPolicy(t, text, func(spec *soltiv1.CreateSpec) { spec.Restart, spec.RestartIntervalMs = r.strategy, r.intervalMs }, "restart_interval_ms")
		}
		if b, err := parseBackoff(text); err == nil {
			checkPolicy(t, text, func(spec *soltiv1.CreateSpec) { spec.Backoff = b }, "must be at most")
		}
		if m, err := parseMount(text); err == nil {
			if parts := strings.Split(text, ":"); !strings.HasPrefix(m.GetSource(), "/") || m.GetTarget() != parts[1] || m.GetReadOnly() != (len(parts) == 3 && parts[2] == "ro") {
				t.Errorf("%q is %v", text, m)
			}
		}
		if name := slotName(text); messages.ValidateSlot(name) != nil {
			t.Errorf("%q gives the slot %q", text, name)
		}
	})
}

// checkPolicy holds what a flag made of its text against the rules of a spec. Only a length of time may still be refused.
func checkPolicy(t *testing.T, text string, set func(*soltiv1.CreateSpec), about string) {
	t.Helper()
	spec := ofSubprocess(&soltiv1.SubprocessTask{Mode: &soltiv1.SubprocessTask_Command{Command: &soltiv1.CommandMode{Command: "true"}}})
	spec.Slot, spec.TimeoutMs = "a", 1
	set(spec)
	if _, err := check(spec); err != nil && !strings.Contains(err.Error(), about) {
		t.Errorf("%q: %v", text, err)
	}
}

// FuzzRunnerSelector: the selector that is sent takes the runners that its text takes, and is valid.
func FuzzRunnerSelector(f *testing.F) {
	for _, text := range []string{
		"a=b", "a==b,c!=d", "a in (b,c),d notin (,e)", "in in (in)", "notin,!in", "x.io/a= ,b", "a in (b),a notin (b)", "a!=", " a ", "!a,!a", "a in (b", "", ",", "a=b=c", "a in (x),b",
	} {
		f.Add(text, "a", "b")
	}
	f.Fuzz(func(t *testing.T, text, key, value string) {
		sent, err := parseRunnerSelector(text)
		if err != nil {
			return
		}
		read, err := messages.ParseSelector(text)
		if err != nil {
			t.Fatalf("%q: %v", text, err)
		}
		checkPolicy(t, text, func(spec *soltiv1.CreateSpec) { spec.RunnerSelector = sent }, "\x00")
		put := messages.SelectorOf(sent)
		if put.String() != read.String() {
			t.Fatalf("%q is sent as %q, want %q", text, put, read)
		}
		for _, labels := range []map[string]string{nil, {key: value}, {key: "", value: key}, {"a": "b", key: value}} {
			if put.Matches(labels) != read.Matches(labels) {
				t.Fatalf("%q and what is sent differ on %v", text, labels)
			}
		}
	})
}

// FuzzSpecFile: a spec that is read from a file is written so that it reads back the same, and no refusal shows a
// variable's value.
func FuzzSpecFile(f *testing.F) {
	for _, text := range []string{
		"slot: a\ntimeoutMs: 5\nkind: {subprocess: {command: {command: 'true'}}}\n", `{"slot":"a","kind":{"wasm":{"module":"m"}}}`, "slot: [", "- a", "null", "slot: a\nslot: b\n",
		"kind: {subprocess: {env: [{key: PASSWORD, value: 7234567890123, secret: true}]}}\n", "kind: {subprocess: {env: [{key: PASSWORD, value: [7234567890123]}]}}\n",
		"kind: {subprocess: {env: {PASSWORD: 7234567890123}}}\n", "a: &a [*a]\n", "a: &a [1,2]\nb: [*a,*a]\n", "timeoutMs: 1e3\n", "labels: {a: 1}\n", "\xff", "? {a: 1}\n: 2\n", "restart: 9\n",
	} {
		f.Add([]byte(text))
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		spec, err := readSpec(strings.NewReader(string(text)), "-")
		if err != nil {
			if exitOf(err) != exitUsage {
				t.Fatalf("%q: %v is no mistake of usage", text, err)
			}
			if strings.Contains(err.Error(), "7234567890123") {
				t.Fatalf("%q: the refusal shows a value: %v", text, err)
			}
			return
		}
		// What is not UTF-8 in the file is replaced by the conversion from YAML, so a spec is always one.
		written := codec.Append(nil, spec)
		again, err := readSpec(strings.NewReader(string(written)), "-")
		if err != nil || !bytes.Equal(codec.Append(nil, again), written) {
			t.Fatalf("%q became %s, which is read as %v, %v", text, written, again, err)
		}
	})
}
