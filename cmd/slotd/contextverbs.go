package main

import (
	"fmt"
	"path/filepath"

	"github.com/spf13/cobra"

	"slotd/gateway/client"
)

const contextsHelp = "Contexts are daemons with names: an address, and the token file and certificates that go with it. They\n" +
	"are kept in $XDG_CONFIG_HOME/slotd/config.yaml or ~/.config/slotd/config.yaml. --context NAME (SLOTD_CONTEXT)\n" +
	"chooses one, `slotd config use NAME` the one to use without. --addr and SLOTD_ADDR replace the daemon, and so\n" +
	"also the token and certificates of the context in use, unless a context is named beside them."

func (a *app) contextVerbs() []*cobra.Command {
	list := &cobra.Command{
		Use:   "contexts",
		Short: "List the daemons that have names",
		Long:  "List the daemons that have names.\n\n" + contextsHelp,
		Args:  cobra.NoArgs,
		RunE: func(*cobra.Command, []string) error {
			a.begun = true
			all, err := a.loadContexts()
			if err != nil {
				return err
			}
			return a.showContexts(all)
		},
	}
	use := &cobra.Command{
		Use:               "use NAME",
		Short:             "Use a context where none is named",
		Args:              oneName,
		ValidArgsFunction: a.contextNames,
		RunE: a.editContexts(func(all *contexts, name string, _ *cobra.Command) error {
			_, err := all.find(name, "use")
			all.Current = name
			return err
		}),
	}
	set := &cobra.Command{
		Use:               "set-context NAME",
		Short:             "Name a daemon, or change what is kept of it",
		Long:              "Name a daemon, or change what is kept of it: what the flags --addr, --token-file, --ca, --client-cert,\n--client-key and --server-name say. An empty value forgets one. Paths are kept absolute.\n\n" + contextsHelp,
		Example:           "  slotd config set-context prod --addr https://slotd.example.com:8085 --token-file ~/.config/slotd/prod.token --ca ~/ca.pem\n  slotd --context prod ls",
		Args:              oneName,
		ValidArgsFunction: a.contextNames,
		RunE:              a.editContexts(a.setContext),
	}
	remove := &cobra.Command{
		Use:               "delete-context NAME",
		Short:             "Forget a daemon's name",
		Args:              oneName,
		ValidArgsFunction: a.contextNames,
		RunE: a.editContexts(func(all *contexts, name string, _ *cobra.Command) error {
			if _, err := all.find(name, "delete-context"); err != nil {
				return err
			}
			delete(all.Named, name)
			if all.Current == name {
				all.Current = ""
			}
			return nil
		}),
	}
	return []*cobra.Command{list, use, set, remove}
}

// editContexts changes the file by one verb, whose argument is a name.
func (a *app) editContexts(edit func(all *contexts, name string, cmd *cobra.Command) error) func(*cobra.Command, []string) error {
	return func(cmd *cobra.Command, args []string) error {
		a.begun = true
		all, err := a.loadContexts()
		if err != nil {
			return err
		}
		if err := edit(&all, args[0], cmd); err != nil {
			return err
		}
		return all.save()
	}
}

func (a *app) setContext(all *contexts, name string, cmd *cobra.Command) error {
	if _, err := parseContext(name); err != nil {
		return usagef("context %q: %w", name, err)
	}
	kept, changed := all.Named[name], false
	for _, s := range reachSettings() {
		if !cmd.Flags().Changed(s.name) {
			continue
		}
		changed = true
		value := *s.of(&a.asked)
		if s.file && value != "" {
			absolute, err := filepath.Abs(value)
			if err != nil {
				return usagef("--%s %q: %w", s.name, value, err)
			}
			value = absolute
		}
		*s.of(&kept) = value
	}
	switch {
	case !changed:
		return usagef("nothing to keep: give --addr, or another of the flags that tell how a daemon is reached")
	case kept.Addr == "":
		return usagef("context %q needs an address: add --addr", name)
	}
	c, err := client.New(client.Config{Addr: kept.Addr})
	if err != nil {
		return usagef("--addr: %w", err)
	}
	c.Close()
	if all.Named == nil {
		all.Named = make(map[string]reach)
	}
	all.Named[name] = kept
	return nil
}

// showContexts prints the contexts in name order.
func (a *app) showContexts(all contexts) error {
	type shownContext struct {
		Name    string `json:"name"`
		Current bool   `json:"current"`
		reach
	}
	list := make([]shownContext, 0, len(all.Named))
	for _, name := range all.names() {
		list = append(list, shownContext{Name: name, Current: name == all.Current, reach: all.Named[name]})
	}
	switch a.output {
	case formatJSON, formatYAML:
		return a.writeValue(map[string]any{"contexts": list})
	case formatJSONL:
		for _, one := range list {
			if err := a.writeValue(one); err != nil {
				return err
			}
		}
		return nil
	case formatName:
		for _, one := range list {
			if _, err := fmt.Fprintln(a.stdout, one.Name); err != nil {
				return err
			}
		}
		return nil
	default:
	}
	if len(list) == 0 {
		a.talk("no context is set; `slotd config set-context NAME --addr ADDR` sets one")
		return nil
	}
	cells := [][]cell{plain("CURRENT", "NAME", "ADDR", "TOKEN-FILE", "CA", "CLIENT-CERT", "SERVER-NAME")}
	for _, one := range list {
		mark := ""
		if one.Current {
			mark = "*"
		}
		cells = append(cells, plain(mark, one.Name, one.Addr, one.TokenFile, one.CA, one.ClientCert, one.ServerName))
	}
	return writeTable(a.stdout, cells, a.colored())
}

// contextNames completes names of contexts.
func (a *app) contextNames(_ *cobra.Command, args []string, _ string) ([]cobra.Completion, cobra.ShellCompDirective) {
	if len(args) > 0 {
		return nil, cobra.ShellCompDirectiveNoFileComp
	}
	all, err := a.loadContexts()
	return all.names(), directive(err)
}
