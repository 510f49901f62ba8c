package main

import (
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"sigs.k8s.io/yaml"

	"slotd/messages"
)

// reach says how a daemon is reached: what a context holds, and what the global flags of the same names tell.
type reach struct {
	Addr       string `json:"addr,omitempty"`
	TokenFile  string `json:"token-file,omitempty"`
	CA         string `json:"ca,omitempty"`
	ClientCert string `json:"client-cert,omitempty"`
	ClientKey  string `json:"client-key,omitempty"`
	ServerName string `json:"server-name,omitempty"`
}

// reachSetting is one field of a reach: its flag, its key in a context, its variable.
type reachSetting struct {
	name  string
	short string // placeholder in the help
	usage string
	file  bool // the value is a path
	of    func(*reach) *string
}

func (s reachSetting) env() string { return setting{name: s.name}.env() }

func reachSettings() []reachSetting {
	return []reachSetting{
		{name: "addr", short: "addr", usage: "the daemon: http(s)://host:port or unix:///path", of: func(r *reach) *string { return &r.Addr }},
		{name: "token-file", short: "file", file: true, usage: "read the bearer token from this file; SLOTD_TOKEN is a token itself", of: func(r *reach) *string { return &r.TokenFile }},
		{name: "ca", short: "file", file: true, usage: "trust the authorities of this file, PEM, not the system's", of: func(r *reach) *string { return &r.CA }},
		{name: "client-cert", short: "file", file: true, usage: "show this certificate, PEM, to the daemon", of: func(r *reach) *string { return &r.ClientCert }},
		{name: "client-key", short: "file", file: true, usage: "its key, PEM", of: func(r *reach) *string { return &r.ClientKey }},
		{name: "server-name", short: "name", usage: "the name in the daemon's certificate, when it is not the address's host", of: func(r *reach) *string { return &r.ServerName }},
	}
}

// contexts is the file of a client's settings: daemons by name.
type contexts struct {
	Current string           `json:"current-context,omitempty"`
	Named   map[string]reach `json:"contexts,omitempty"`

	path string
}

// contextsPath is where the file is, by the XDG rules; empty when nothing tells.
func (a *app) contextsPath() string {
	if dir, ok := a.getenv("XDG_CONFIG_HOME"); ok && filepath.IsAbs(dir) {
		return filepath.Join(dir, "slotd", "config.yaml")
	}
	if home, ok := a.getenv("HOME"); ok && home != "" {
		return filepath.Join(home, ".config", "slotd", "config.yaml")
	}
	return ""
}

// loadContexts reads the file; one that is not there has no contexts.
func (a *app) loadContexts() (contexts, error) {
	c := contexts{path: a.contextsPath()}
	if c.path == "" {
		return c, nil
	}
	text, err := os.ReadFile(c.path)
	if errors.Is(err, os.ErrNotExist) {
		return c, nil
	}
	if err != nil {
		return c, fmt.Errorf("contexts: %w", err)
	}
	if err := yaml.UnmarshalStrict(text, &c); err != nil {
		return c, fmt.Errorf("contexts in %s: %s; the keys are current-context and contexts, and of a context %s", c.path, yamlMessage(err), strings.Join(reachNames(), ", "))
	}
	return c, nil
}

// yamlMessage is the useful part of an error of strict YAML.
func yamlMessage(err error) string {
	text := err.Error()
	if i := strings.LastIndex(text, "json: "); i >= 0 {
		text = text[i+len("json: "):]
	}
	return strings.TrimPrefix(text, "error converting YAML to JSON: ")
}

func reachNames() []string {
	var names []string
	for _, s := range reachSettings() {
		names = append(names, s.name)
	}
	return names
}

func (c contexts) names() []string { return slices.Sorted(maps.Keys(c.Named)) }

// find returns a context; source is who named it.
func (c contexts) find(name, source string) (reach, error) {
	if r, ok := c.Named[name]; ok {
		return r, nil
	}
	if len(c.Named) == 0 {
		return reach{}, usagef("%s %q: no context is set; `slotd config set-context %s --addr ADDR` sets one", source, name, name)
	}
	return reach{}, usagef("%s %q: no such context; there are %s%s", source, name, strings.Join(c.names(), ", "), didYouMean(name, c.names()))
}

// save replaces the file in one step. Comments in it are lost. A link to it stays a link.
func (c contexts) save() (err error) {
	if c.path == "" {
		return errors.New("contexts: neither XDG_CONFIG_HOME nor HOME tells where they belong")
	}
	path := c.path
	if linked, err := filepath.EvalSymlinks(path); err == nil {
		path = linked
	}
	text, err := yaml.Marshal(c)
	if err != nil {
		return err
	}
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return fmt.Errorf("contexts: %w", err)
	}
	draft, err := os.CreateTemp(filepath.Dir(path), ".config-*") // of mode 0600
	if err != nil {
		return fmt.Errorf("contexts: %w", err)
	}
	_, err = draft.Write(text)
	if err == nil {
		err = draft.Sync()
	}
	if err = errors.Join(err, draft.Close()); err == nil {
		err = os.Rename(draft.Name(), path)
	}
	if err != nil {
		return errors.Join(fmt.Errorf("contexts: %w", err), os.Remove(draft.Name()))
	}
	return nil
}

func parseContext(s string) (string, error) {
	if messages.ValidateSlot(s) != nil {
		return "", fmt.Errorf("must be 1 to %d of A-Z, a-z, 0-9, '.', '_' and '-', but neither . nor .. alone", messages.MaxSlotBytes)
	}
	return s, nil
}
