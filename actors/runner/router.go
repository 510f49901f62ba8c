package runner

import (
	"fmt"
	"slices"
	"strings"

	"slotd/messages"
	slotdv1 "slotd/messages/slotd/v1"
	soltiv1 "slotd/messages/solti/v1"
)

// Router chooses the runner of a spec: it must run the kind and satisfy the selector; the order of registration breaks
// ties. It never changes after New and is safe from any goroutine.
type Router struct {
	runners []Runner
	infos   []Info
}

// NewRouter makes a router over the runners, first choice first.
func NewRouter(runners ...Runner) *Router {
	r := &Router{runners: slices.Clone(runners)}
	for _, runner := range runners {
		r.infos = append(r.infos, runner.Info())
	}
	return r
}

// Infos describes the runners in order of registration.
func (r *Router) Infos() []Info { return r.infos }

// Pick returns the runner for a spec, or the rejection that its submitter gets.
func (r *Router) Pick(spec *soltiv1.CreateSpec) (Runner, *slotdv1.Rejection) {
	kind := messages.KindName(spec)
	var selector messages.Selector
	if asked := spec.GetRunnerSelector(); asked != nil {
		selector = messages.SelectorOf(asked)
	}
	var lacking *slotdv1.Rejection
	for i, info := range r.infos {
		if info.Kind != kind || (!selector.Empty() && !selector.Matches(info.Labels)) {
			continue
		}
		if missing := unenforceable(spec.GetLimits(), info); missing != "" {
			lacking = messages.Reject(messages.LabelUnenforceable, fmt.Sprintf(
				"runner %q of this host cannot enforce %s; leave the limit out or choose another host", info.Name, missing), 0)
			continue
		}
		return r.runners[i], nil
	}
	if lacking != nil {
		return nil, lacking
	}
	if selector.Empty() {
		return nil, messages.Reject(messages.LabelNoRunner, fmt.Sprintf(
			"no runner here runs tasks of kind %s; this node has %s", kind, r.kinds()), 0)
	}
	return nil, messages.Reject(messages.LabelNoRunner, fmt.Sprintf(
		"no runner of kind %s satisfies the runner_selector %q; relax it or label a runner so", kind, selector), 0)
}

func (r *Router) kinds() string {
	var kinds []string
	for _, info := range r.infos {
		if !slices.Contains(kinds, info.Kind) {
			kinds = append(kinds, info.Kind)
		}
	}
	if len(kinds) == 0 {
		return "no runner at all"
	}
	return "only " + strings.Join(kinds, ", ")
}

// unenforceable lists the limits that are asked for and not offered.
func unenforceable(limits *soltiv1.ResourceLimits, info Info) string {
	if limits == nil {
		return ""
	}
	var missing []string
	for _, limit := range []struct {
		name  string
		asked *uint64
	}{
		{"memory", limits.MemoryBytes},
		{"cpu", limits.CpuMillis},
		{"pids", limits.Pids},
		{"open_files", limits.OpenFiles},
	} {
		if limit.asked != nil && !slices.Contains(info.Limits, limit.name) {
			missing = append(missing, limit.name)
		}
	}
	return strings.Join(missing, ", ")
}
