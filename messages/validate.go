package messages

import (
	"fmt"
	"math"
	"slices"
	"strings"
	"unicode/utf8"

	soltiv1 "slotd/messages/solti/v1"
)

// maxProblems bounds an [InvalidError]: beyond it problems are counted, not spelled out.
const maxProblems = 100

// InvalidError says what is wrong with a request. Each problem names the field in proto form and the rule.
type InvalidError struct{ Problems []string }

func (e *InvalidError) Error() string { return strings.Join(e.Problems, "; ") }

// Validate checks a spec against every rule, before or after [Defaults]. It returns nil or an [InvalidError] with all
// problems (the first 100 spelled out), in a stable order. No value of the environment is ever quoted.
func Validate(spec *soltiv1.CreateSpec) error {
	if spec == nil {
		return &InvalidError{Problems: []string{"missing spec"}}
	}
	var p problems
	p.slot("spec.slot", spec.GetSlot())
	p.kind(spec.GetKind())
	p.timing(spec)
	p.backoff(spec.GetBackoff())
	p.enum("spec.restart", spec.GetRestart())
	p.enum("spec.admission", spec.GetAdmission())
	p.labels(spec.GetLabels())
	p.runnerSelector(spec.GetRunnerSelector())
	p.limits(spec.GetLimits())
	return p.err()
}

// ValidateSlot checks a slot's name: 1 to [MaxSlotBytes] bytes of A-Z, a-z, 0-9, dot, underscore and hyphen, but not
// "." or "..". It returns nil or an [InvalidError].
func ValidateSlot(slot string) error {
	var p problems
	p.slot("slot", slot)
	return p.err()
}

// ValidateIdempotencyKey checks a key that was given: 1 to [MaxIdempotencyKeyBytes] bytes. It returns nil or an
// [InvalidError].
func ValidateIdempotencyKey(key string) error {
	var p problems
	switch {
	case key == "":
		p.addf("idempotency_key cannot be empty")
	case len(key) > MaxIdempotencyKeyBytes:
		p.addf("idempotency_key must be at most %d bytes, not %d", MaxIdempotencyKeyBytes, len(key))
	case !utf8.ValidString(key):
		p.addf("idempotency_key is not valid UTF-8")
	}
	return p.err()
}

// problems collects what is wrong. Rules that hold allocate nothing.
type problems struct {
	list    []string
	omitted int
}

func (p *problems) addf(format string, args ...any) {
	if len(p.list) == maxProblems {
		p.omitted++
		return
	}
	p.list = append(p.list, fmt.Sprintf(format, args...))
}

func (p *problems) err() error {
	if len(p.list) == 0 {
		return nil
	}
	if p.omitted > 0 {
		p.list = append(p.list, fmt.Sprintf("and %d more problems", p.omitted))
	}
	return &InvalidError{Problems: p.list}
}

func (p *problems) slot(path, slot string) {
	switch {
	case strings.TrimSpace(slot) == "":
		p.addf("%s cannot be empty", path)
	case len(slot) > MaxSlotBytes:
		p.addf("%s must be at most %d bytes, not %d", path, MaxSlotBytes, len(slot))
	case slot == "." || slot == "..":
		p.addf("%s must not be %q", path, slot)
	case strings.ContainsFunc(slot, func(r rune) bool { return !slotRune(r) }):
		p.addf("%s must consist of A-Z, a-z, 0-9, '.', '_' and '-', not %s", path, quote(slot))
	}
}

func slotRune(r rune) bool {
	return alphanumeric(r) || r == '.' || r == '_' || r == '-'
}

func alphanumeric(r rune) bool {
	return 'a' <= r && r <= 'z' || 'A' <= r && r <= 'Z' || '0' <= r && r <= '9'
}

func (p *problems) timing(spec *soltiv1.CreateSpec) {
	if spec.GetTimeoutMs() == 0 {
		p.addf("spec.timeout_ms cannot be zero")
	}
	p.atMost("spec.timeout_ms", spec.GetTimeoutMs(), MaxMillis)
	p.atMost("spec.restart_interval_ms", spec.GetRestartIntervalMs(), MaxMillis)
	p.atMost("spec.stop_grace_ms", spec.GetStopGraceMs(), MaxStopGraceMs)
}

func (p *problems) atMost(path string, got, most uint64) {
	if got > most {
		p.addf("%s must be ≤ %d, not %d", path, most, got)
	}
}

func (p *problems) backoff(b *soltiv1.BackoffStrategy) {
	if b == nil {
		return
	}
	p.enum("spec.backoff.jitter", b.GetJitter())
	if b.GetFirstMs() == 0 {
		p.addf("spec.backoff.first_ms must be > 0")
	}
	if b.GetMaxMs() == 0 {
		p.addf("spec.backoff.max_ms must be > 0")
	}
	if b.GetMaxMs() > 0 && b.GetMaxMs() < b.GetFirstMs() {
		p.addf("spec.backoff.max_ms must be ≥ first_ms, but %d < %d", b.GetMaxMs(), b.GetFirstMs())
	}
	p.atMost("spec.backoff.first_ms", b.GetFirstMs(), MaxMillis)
	p.atMost("spec.backoff.max_ms", b.GetMaxMs(), MaxMillis)
	if f := b.GetFactor(); math.IsNaN(f) || math.IsInf(f, 0) || f < 1 {
		p.addf("spec.backoff.factor must be finite and ≥ 1, not %v", f)
	}
}

func (p *problems) labels(labels map[string]string) {
	begin := len(p.list)
	for key, value := range labels {
		if bad := badLabelKey(key); bad != "" {
			p.addf("spec.labels[%s]: %s", quote(key), bad)
		}
		if bad := badLabelValue(value); bad != "" {
			p.addf("spec.labels[%s]: %s, not %s", quote(key), bad, quote(value))
		}
	}
	slices.Sort(p.list[begin:])
}

func (p *problems) runnerSelector(s *soltiv1.RunnerSelector) {
	begin := len(p.list)
	for key, value := range s.GetMatchLabels() {
		if strings.TrimSpace(key) == "" {
			p.addf("spec.runner_selector.match_labels has a key that cannot be empty")
		}
		if bad := badText(key); bad != "" {
			p.addf("spec.runner_selector.match_labels has a key that %s", bad)
		}
		if bad := badText(value); bad != "" {
			p.addf("spec.runner_selector.match_labels[%s] %s", quote(key), bad)
		}
	}
	slices.Sort(p.list[begin:])
	for i, r := range s.GetMatchExpressions() {
		p.requirement(i, r)
	}
}

func (p *problems) requirement(i int, r *soltiv1.SelectorRequirement) {
	const path = "spec.runner_selector.match_expressions"
	if strings.TrimSpace(r.GetKey()) == "" {
		p.addf("%s[%d].key cannot be empty", path, i)
	}
	if bad := badText(r.GetKey()); bad != "" {
		p.addf("%s[%d].key %s", path, i, bad)
	}
	switch op := r.GetOperator(); op {
	case soltiv1.SelectorOperator_SELECTOR_OPERATOR_IN, soltiv1.SelectorOperator_SELECTOR_OPERATOR_NOT_IN:
		if len(r.GetValues()) == 0 {
			p.addf("%s[%d].values cannot be empty for IN and NOT_IN", path, i)
		}
	case soltiv1.SelectorOperator_SELECTOR_OPERATOR_EXISTS, soltiv1.SelectorOperator_SELECTOR_OPERATOR_DOES_NOT_EXIST:
		if len(r.GetValues()) > 0 {
			p.addf("%s[%d].values must be empty for EXISTS and DOES_NOT_EXIST", path, i)
		}
	case soltiv1.SelectorOperator_SELECTOR_OPERATOR_UNSPECIFIED:
		p.addf("%s[%d].operator is missing", path, i)
	default:
		p.unknownEnum(fmt.Sprintf("%s[%d].operator", path, i), op)
	}
	for j, value := range r.GetValues() {
		if bad := badText(value); bad != "" {
			p.addf("%s[%d].values[%d] %s", path, i, j, bad)
		}
	}
}

func (p *problems) limits(l *soltiv1.ResourceLimits) {
	if l == nil {
		return
	}
	p.positive("spec.limits.memory_bytes", l.MemoryBytes)
	p.positive("spec.limits.cpu_millis", l.CpuMillis)
	p.positive("spec.limits.pids", l.Pids)
	p.positive("spec.limits.open_files", l.OpenFiles)
}

func (p *problems) positive(path string, limit *uint64) {
	if limit != nil && *limit == 0 {
		p.addf("%s must be > 0", path)
	}
}

// badText says why a text cannot be handed to a process or stored, or nothing.
func badText(s string) string {
	switch {
	case strings.IndexByte(s, 0) >= 0:
		return "must not contain a NUL byte"
	case !utf8.ValidString(s):
		return "is not valid UTF-8"
	default:
		return ""
	}
}

// quote shows what the user wrote, cut to what fits in a message.
func quote(s string) string {
	const most = 64
	if len(s) <= most {
		return fmt.Sprintf("%q", s)
	}
	return fmt.Sprintf("%q…", strings.ToValidUTF8(s[:most], ""))
}
