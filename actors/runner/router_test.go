package runner_test

import (
	"context"
	"strings"
	"testing"

	"google.golang.org/protobuf/proto"

	"slotd/actors/runner"
	"slotd/messages"
	soltiv1 "slotd/messages/solti/v1"
)

// named is a runner that only says what it is.
type named runner.Info

func (n named) Info() runner.Info { return runner.Info(n) }

func (named) Start(context.Context, runner.Attempt) (runner.Process, error) {
	return nil, context.Canceled
}

func subprocess(name string, limits ...string) named {
	return named{Name: name, Kind: "subprocess", Labels: map[string]string{"runner": name, "zone": "a"}, Limits: limits}
}

func selector(labels map[string]string) *soltiv1.RunnerSelector {
	return &soltiv1.RunnerSelector{MatchLabels: labels}
}

func command() *soltiv1.CreateSpec {
	return &soltiv1.CreateSpec{Kind: &soltiv1.TaskKind{Kind: &soltiv1.TaskKind_Subprocess{Subprocess: &soltiv1.SubprocessTask{}}}}
}

func TestRouterPicks(t *testing.T) {
	plain, strong := subprocess("plain"), subprocess("strong", "memory", "cpu", "pids", "open_files")
	guest := named{Name: "guest", Kind: "wasm", Labels: map[string]string{"runner": "guest"}}
	wasm := &soltiv1.CreateSpec{Kind: &soltiv1.TaskKind{Kind: &soltiv1.TaskKind_Wasm{Wasm: &soltiv1.WasmTask{}}}}
	with := func(change func(*soltiv1.CreateSpec)) *soltiv1.CreateSpec {
		spec := command()
		change(spec)
		return spec
	}
	for name, c := range map[string]struct {
		spec    *soltiv1.CreateSpec
		runners []runner.Runner
		want    string // its name, or the label of the rejection
		says    string // in the rejection's message
	}{
		"the first of a kind":        {command(), []runner.Runner{guest, plain, strong}, "plain", ""},
		"the order decides":          {command(), []runner.Runner{strong, plain}, "strong", ""},
		"the kind decides":           {wasm, []runner.Runner{plain, guest}, "guest", ""},
		"no runner at all":           {command(), nil, messages.LabelNoRunner, "no runner at all"},
		"none of the kind":           {wasm, []runner.Runner{plain, strong}, messages.LabelNoRunner, "only subprocess"},
		"one that satisfies":         {with(func(s *soltiv1.CreateSpec) { s.RunnerSelector = selector(map[string]string{"runner": "strong"}) }), []runner.Runner{plain, strong}, "strong", ""},
		"none that satisfies":        {with(func(s *soltiv1.CreateSpec) { s.RunnerSelector = selector(map[string]string{"zone": "b"}) }), []runner.Runner{plain, strong}, messages.LabelNoRunner, "zone"},
		"satisfies, of another kind": {with(func(s *soltiv1.CreateSpec) { s.RunnerSelector = selector(map[string]string{"runner": "guest"}) }), []runner.Runner{plain, guest}, messages.LabelNoRunner, "guest"},
		"an empty selector":          {with(func(s *soltiv1.CreateSpec) { s.RunnerSelector = selector(nil) }), []runner.Runner{plain}, "plain", ""},
		"one that can enforce":       {with(func(s *soltiv1.CreateSpec) { s.Limits = &soltiv1.ResourceLimits{MemoryBytes: proto.Uint64(1 << 20)} }), []runner.Runner{plain, strong}, "strong", ""},
		"an empty limit":             {with(func(s *soltiv1.CreateSpec) { s.Limits = &soltiv1.ResourceLimits{} }), []runner.Runner{plain}, "plain", ""},
		"none that can enforce": {with(func(s *soltiv1.CreateSpec) {
			s.Limits = &soltiv1.ResourceLimits{
				MemoryBytes: proto.Uint64(1), CpuMillis: proto.Uint64(1), Pids: proto.Uint64(1), OpenFiles: proto.Uint64(1),
			}
		}), []runner.Runner{plain, subprocess("half", "cpu", "pids")}, messages.LabelUnenforceable, "memory, open_files"},
		"chosen, and cannot enforce": {with(func(s *soltiv1.CreateSpec) {
			s.RunnerSelector = selector(map[string]string{"runner": "plain"})
			s.Limits = &soltiv1.ResourceLimits{Pids: proto.Uint64(1)}
		}), []runner.Runner{plain, strong}, messages.LabelUnenforceable, "pids"},
	} {
		t.Run(name, func(t *testing.T) {
			chosen, no := runner.NewRouter(c.runners...).Pick(c.spec)
			if no != nil {
				if no.GetLabel() != c.want || !strings.Contains(no.GetMessage(), c.says) {
					t.Errorf("got %v, want %s saying %q", no, c.want, c.says)
				}
				return
			}
			if got := chosen.Info().Name; got != c.want {
				t.Errorf("got %s, want %s", got, c.want)
			}
		})
	}
}

func TestRouterDescribesItsRunnersInOrder(t *testing.T) {
	runners := []runner.Runner{subprocess("b"), subprocess("a")}
	router := runner.NewRouter(runners...)
	runners[0] = subprocess("c") // the router has its own list
	infos := router.Infos()
	if len(infos) != 2 || infos[0].Name != "b" || infos[1].Name != "a" {
		t.Errorf("got %v", infos)
	}
	if chosen, _ := router.Pick(command()); chosen.Info().Name != "b" {
		t.Errorf("got %v, want b", chosen.Info())
	}
}
