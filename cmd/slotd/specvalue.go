package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"

	"sigs.k8s.io/yaml"

	"slotd/gateway/codec"
	"slotd/messages"
	soltiv1 "slotd/messages/solti/v1"
)

func parseAdmission(s string) (soltiv1.AdmissionStrategy, error) {
	switch s {
	case "drop":
		return soltiv1.AdmissionStrategy_ADMISSION_STRATEGY_DROP_IF_RUNNING, nil
	case "replace":
		return soltiv1.AdmissionStrategy_ADMISSION_STRATEGY_REPLACE, nil
	case "queue":
		return soltiv1.AdmissionStrategy_ADMISSION_STRATEGY_QUEUE, nil
	default:
		return 0, oneOf(s, []string{"drop", "replace", "queue"})
	}
}

// restart is a policy with the interval of always:INTERVAL.
type restart struct {
	strategy   soltiv1.RestartStrategy
	intervalMs *uint64
}

func parseRestart(s string) (restart, error) {
	name, interval, timed := strings.Cut(s, ":")
	switch {
	case name == "never" && !timed:
		return restart{strategy: soltiv1.RestartStrategy_RESTART_STRATEGY_NEVER}, nil
	case name == "on-failure" && !timed:
		return restart{strategy: soltiv1.RestartStrategy_RESTART_STRATEGY_ON_FAILURE}, nil
	case name == "always":
		r := restart{strategy: soltiv1.RestartStrategy_RESTART_STRATEGY_ALWAYS}
		if timed {
			d, err := parseDuration(interval)
			if err != nil {
				return restart{}, fmt.Errorf("the interval of always:INTERVAL %w", err)
			}
			r.intervalMs = new(millis(d))
		}
		return r, nil
	default:
		return restart{}, errors.New("must be one of never, on-failure, always, always:INTERVAL" + didYouMean(s, []string{"never", "on-failure", "always"}))
	}
}

// parseBackoff reads a list of first, max, factor and jitter; what is left out has the daemon's default.
func parseBackoff(s string) (*soltiv1.BackoffStrategy, error) {
	b := &soltiv1.BackoffStrategy{
		Jitter:  soltiv1.JitterStrategy_JITTER_STRATEGY_FULL,
		FirstMs: messages.DefaultBackoffFirstMs,
		MaxMs:   messages.DefaultBackoffMaxMs,
		Factor:  messages.DefaultBackoffFactor,
	}
	for part := range strings.SplitSeq(s, ",") {
		name, value, _ := strings.Cut(part, "=")
		var err error
		switch name {
		case "first":
			b.FirstMs, err = parseMillis(value)
		case "max":
			b.MaxMs, err = parseMillis(value)
		case "factor":
			b.Factor, err = strconv.ParseFloat(value, 64)
			if err != nil || !(b.Factor >= 1) || math.IsInf(b.Factor, 0) {
				err = errors.New("must be a number, 1 or more")
			}
		case "jitter":
			b.Jitter, err = parseJitter(value)
		default:
			return nil, errors.New("must be a list of first=DURATION, max=DURATION, factor=NUMBER and jitter=none|full|equal|decorrelated")
		}
		if err != nil {
			return nil, fmt.Errorf("%s %w", name, err)
		}
	}
	if b.MaxMs < b.FirstMs {
		return nil, fmt.Errorf("max (%dms) must not be less than first (%dms)", b.MaxMs, b.FirstMs)
	}
	return b, nil
}

func parseMillis(s string) (uint64, error) {
	d, err := parsePositive(s)
	return millis(d), err
}

func parseJitter(s string) (soltiv1.JitterStrategy, error) {
	switch s {
	case "none":
		return soltiv1.JitterStrategy_JITTER_STRATEGY_NONE, nil
	case "full":
		return soltiv1.JitterStrategy_JITTER_STRATEGY_FULL, nil
	case "equal":
		return soltiv1.JitterStrategy_JITTER_STRATEGY_EQUAL, nil
	case "decorrelated":
		return soltiv1.JitterStrategy_JITTER_STRATEGY_DECORRELATED, nil
	default:
		return 0, oneOf(s, []string{"none", "full", "equal", "decorrelated"})
	}
}

// parseMount reads SRC:DST or SRC:DST:ro. A relative source is the caller's.
func parseMount(s string) (*soltiv1.Mount, error) {
	parts := strings.Split(s, ":")
	readOnly := len(parts) == 3 && parts[2] == "ro"
	if len(parts) < 2 || len(parts) > 3 || parts[0] == "" || parts[1] == "" || len(parts) == 3 && !readOnly && parts[2] != "rw" {
		return nil, usagef("--mount %q: must be SRC:DST or SRC:DST:ro", s)
	}
	source, err := filepath.Abs(parts[0])
	if err != nil {
		return nil, usagef("--mount %q: %w", s, err)
	}
	return &soltiv1.Mount{Source: source, Target: parts[1], ReadOnly: readOnly}, nil
}

// The one form in which [messages.Selector] writes a requirement.
var (
	setForm   = regexp.MustCompile(`^(\S+) (in|notin) \((.*)\)$`)
	equalForm = regexp.MustCompile(`^([^=!]+)(!?=)(.*)$`)
)

// parseRunnerSelector reads a Kubernetes label selector.
func parseRunnerSelector(s string) (*soltiv1.RunnerSelector, error) {
	parsed, err := messages.ParseSelector(s)
	if err != nil {
		return nil, err
	}
	if parsed.Empty() {
		return nil, errors.New("must not be empty")
	}
	selector := &soltiv1.RunnerSelector{}
	for _, text := range splitRequirements(parsed.String()) {
		selector.MatchExpressions = append(selector.MatchExpressions, requirementOf(text))
	}
	return selector, nil
}

func requirementOf(text string) *soltiv1.SelectorRequirement {
	operators := map[string]soltiv1.SelectorOperator{
		"in": soltiv1.SelectorOperator_SELECTOR_OPERATOR_IN, "=": soltiv1.SelectorOperator_SELECTOR_OPERATOR_IN,
		"notin": soltiv1.SelectorOperator_SELECTOR_OPERATOR_NOT_IN, "!=": soltiv1.SelectorOperator_SELECTOR_OPERATOR_NOT_IN,
	}
	if m := setForm.FindStringSubmatch(text); m != nil {
		return &soltiv1.SelectorRequirement{Key: m[1], Operator: operators[m[2]], Values: strings.Split(m[3], ",")}
	}
	if m := equalForm.FindStringSubmatch(text); m != nil {
		return &soltiv1.SelectorRequirement{Key: m[1], Operator: operators[m[2]], Values: []string{m[3]}}
	}
	if key, absent := strings.CutPrefix(text, "!"); absent {
		return &soltiv1.SelectorRequirement{Key: key, Operator: soltiv1.SelectorOperator_SELECTOR_OPERATOR_DOES_NOT_EXIST}
	}
	return &soltiv1.SelectorRequirement{Key: text, Operator: soltiv1.SelectorOperator_SELECTOR_OPERATOR_EXISTS}
}

// splitRequirements splits at the commas that are not inside parentheses.
func splitRequirements(s string) []string {
	var parts []string
	depth, start := 0, 0
	for i := range len(s) {
		switch s[i] {
		case '(':
			depth++
		case ')':
			depth--
		case ',':
			if depth == 0 {
				parts = append(parts, s[start:i])
				start = i + 1
			}
		}
	}
	return append(parts, s[start:])
}

// setRuntime chooses the interpreter: the one that is named, else by the file's ending.
func setRuntime(script *soltiv1.ScriptMode, runtime, file string) error {
	if runtime == "" {
		switch strings.ToLower(filepath.Ext(file)) {
		case ".sh", ".bash":
			runtime = "bash"
		case ".py":
			runtime = "python"
		case ".js", ".mjs", ".cjs":
			runtime = "node"
		default:
			return usagef("--script %q: its ending does not tell what runs it; add --runtime bash, python, node or a command", file)
		}
	}
	wellKnown := map[string]soltiv1.ScriptRuntime{
		"bash":   soltiv1.ScriptRuntime_SCRIPT_RUNTIME_BASH,
		"python": soltiv1.ScriptRuntime_SCRIPT_RUNTIME_PYTHON,
		"node":   soltiv1.ScriptRuntime_SCRIPT_RUNTIME_NODE,
	}
	if known, ok := wellKnown[runtime]; ok {
		script.Runtime = &soltiv1.ScriptMode_WellKnown{WellKnown: known}
		return nil
	}
	script.Runtime = &soltiv1.ScriptMode_Custom{Custom: &soltiv1.CustomRuntime{Command: runtime, Flag: "-c"}}
	return nil
}

// maxSpecFile bounds a spec file, bytes: more than the daemon takes.
const maxSpecFile = 8 << 20

// readSpec reads a CreateSpec from YAML or JSON; - is stdin. A time limit that the file does not mention is the command
// line's default.
func readSpec(stdin io.Reader, file string) (*soltiv1.CreateSpec, error) {
	name, source := file, stdin
	if file == "-" {
		name = "stdin"
	} else {
		f, err := os.Open(file)
		if err != nil {
			return nil, usagef("--file: %w", err)
		}
		defer func() { _ = f.Close() }() // only read
		source = f
	}
	text, err := io.ReadAll(io.LimitReader(source, maxSpecFile+1))
	if err != nil {
		return nil, usagef("--file %s: %w", name, err)
	}
	if len(text) > maxSpecFile {
		return nil, usagef("--file %s: is larger than %d bytes", name, maxSpecFile)
	}
	if len(bytes.TrimSpace(text)) == 0 {
		return nil, usagef("--file %s: is empty; a spec is expected", name)
	}
	data, err := yaml.YAMLToJSONStrict(text)
	if err != nil {
		return nil, usagef("--file %s: %s", name, conversionMessage(err))
	}
	spec := &soltiv1.CreateSpec{}
	if err := codec.Decode(data, spec); err != nil { // its errors name fields and never a value
		return nil, usagef("--file %s: %w", name, err)
	}
	if !mentions(data, "timeoutMs", "timeout_ms") {
		spec.TimeoutMs = millis(defaultTimeout)
	}
	return spec, nil
}

func mentions(object []byte, names ...string) bool {
	var fields map[string]json.RawMessage
	if err := json.Unmarshal(object, &fields); err != nil {
		return false
	}
	for _, name := range names {
		if _, ok := fields[name]; ok {
			return true
		}
	}
	return false
}

// conversionMessage is what an error says, unless that would show a value, which may be a secret.
func conversionMessage(err error) string {
	switch text := err.Error(); {
	case strings.Contains(text, "unknown anchor"):
		return "a value begins with * and names no anchor; put it in quotes if it is a text"
	case strings.Contains(text, "map key"):
		return "a key is neither a text nor a number"
	default:
		return text
	}
}
