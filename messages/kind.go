package messages

import (
	"strings"

	soltiv1 "slotd/messages/solti/v1"
)

// The paths of the three kinds, as problems name them.
const (
	subprocessPath = "spec.kind.subprocess"
	commandPath    = subprocessPath + ".command"
	scriptPath     = subprocessPath + ".script"
	customPath     = scriptPath + ".custom"
	wasmPath       = "spec.kind.wasm"
	containerPath  = "spec.kind.container"
)

func (p *problems) kind(kind *soltiv1.TaskKind) {
	if kind == nil {
		p.addf("spec.kind: missing task kind")
		return
	}
	switch k := kind.GetKind().(type) {
	case *soltiv1.TaskKind_Subprocess:
		p.subprocess(k.Subprocess)
	case *soltiv1.TaskKind_Wasm:
		p.wasm(k.Wasm)
	case *soltiv1.TaskKind_Container:
		p.container(k.Container)
	default:
		p.addf("spec.kind: missing task kind variant, one of subprocess, wasm, container")
	}
}

func (p *problems) subprocess(s *soltiv1.SubprocessTask) {
	switch mode := s.GetMode().(type) {
	case *soltiv1.SubprocessTask_Command:
		p.required(commandPath, "command", mode.Command.GetCommand())
		p.texts(commandPath, "args", mode.Command.GetArgs())
	case *soltiv1.SubprocessTask_Script:
		p.script(mode.Script)
	default:
		p.addf("%s: missing subprocess mode, one of command, script", subprocessPath)
	}
	p.env(subprocessPath, s.GetEnv())
	if bad := badText(s.GetCwd()); bad != "" {
		p.addf("%s.cwd %s", subprocessPath, bad)
	}
}

func (p *problems) script(s *soltiv1.ScriptMode) {
	switch runtime := s.GetRuntime().(type) {
	case *soltiv1.ScriptMode_WellKnown:
		_, known := soltiv1.ScriptRuntime_name[int32(runtime.WellKnown)]
		if !known || runtime.WellKnown == soltiv1.ScriptRuntime_SCRIPT_RUNTIME_UNSPECIFIED {
			p.unknownEnum(scriptPath+".well_known", runtime.WellKnown)
		}
	case *soltiv1.ScriptMode_Custom:
		if strings.TrimSpace(runtime.Custom.GetCommand()) == "" {
			p.addf("%s.command: custom runtime needs a command", customPath)
		}
		if strings.TrimSpace(runtime.Custom.GetFlag()) == "" {
			p.addf("%s.flag: custom runtime needs a flag", customPath)
		}
		p.text(customPath, "command", runtime.Custom.GetCommand())
		p.text(customPath, "flag", runtime.Custom.GetFlag())
	default:
		p.addf("%s: missing script runtime, one of well_known, custom", scriptPath)
	}
	if _, err := DecodeScript(s); err != nil {
		p.addf("%s.%v", scriptPath, err)
	}
	p.texts(scriptPath, "args", s.GetArgs())
}

func (p *problems) wasm(w *soltiv1.WasmTask) {
	if strings.TrimSpace(w.GetModule()) == "" {
		p.addf("%s.module: wasm module path is empty", wasmPath)
	}
	p.text(wasmPath, "module", w.GetModule())
	p.texts(wasmPath, "args", w.GetArgs())
	p.env(wasmPath, w.GetEnv())
	p.mounts(wasmPath, w.GetMounts())
}

func (p *problems) container(c *soltiv1.ContainerTask) {
	if strings.TrimSpace(c.GetImage()) == "" {
		p.addf("%s.image: container image is empty", containerPath)
	}
	p.text(containerPath, "image", c.GetImage())
	p.texts(containerPath, "command", c.GetCommand())
	p.texts(containerPath, "args", c.GetArgs())
	p.env(containerPath, c.GetEnv())
	p.mounts(containerPath, c.GetMounts())
	p.oneOf(containerPath, "network", c.Network, "none", "bridge", "host")
	p.oneOf(containerPath, "pull", c.Pull, "missing", "always", "never")
}

// env quotes neither keys nor values: a secret may have slipped into either.
func (p *problems) env(path string, env []*soltiv1.KeyValue) {
	for i, kv := range env {
		key := kv.GetKey()
		if key == "" {
			p.addf("%s.env[%d].key cannot be empty", path, i)
		}
		if strings.IndexByte(key, '=') >= 0 {
			p.addf("%s.env[%d].key must not contain '='", path, i)
		}
		if bad := badText(key); bad != "" {
			p.addf("%s.env[%d].key %s", path, i, bad)
		}
		if bad := badText(kv.GetValue()); bad != "" {
			p.addf("%s.env[%d].value %s", path, i, bad)
		}
	}
}

func (p *problems) mounts(path string, mounts []*soltiv1.Mount) {
	for i, m := range mounts {
		p.mounted(path, i, "source", m.GetSource())
		p.mounted(path, i, "target", m.GetTarget())
	}
}

func (p *problems) mounted(path string, i int, field, dir string) {
	if strings.TrimSpace(dir) == "" {
		p.addf("%s.mounts[%d].%s cannot be empty", path, i, field)
	}
	if bad := badText(dir); bad != "" {
		p.addf("%s.mounts[%d].%s %s", path, i, field, bad)
	}
}

func (p *problems) required(path, field, s string) {
	if strings.TrimSpace(s) == "" {
		p.addf("%s.%s cannot be empty", path, field)
	}
	p.text(path, field, s)
}

func (p *problems) text(path, field, s string) {
	if bad := badText(s); bad != "" {
		p.addf("%s.%s %s", path, field, bad)
	}
}

func (p *problems) texts(path, field string, list []string) {
	for i, s := range list {
		if bad := badText(s); bad != "" {
			p.addf("%s.%s[%d] %s", path, field, i, bad)
		}
	}
}

func (p *problems) oneOf(path, field string, got *string, a, b, c string) {
	if got != nil && *got != a && *got != b && *got != c {
		p.addf("%s.%s must be one of %s, %s, %s, not %s", path, field, a, b, c, quote(*got))
	}
}
