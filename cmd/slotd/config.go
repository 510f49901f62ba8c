package main

import (
	"errors"
	"fmt"
	"maps"
	"os"
	"slices"
	"sort"
	"strconv"
	"strings"

	"github.com/knadh/koanf/parsers/yaml"
	"github.com/knadh/koanf/providers/confmap"
	"github.com/knadh/koanf/providers/env/v2"
	"github.com/knadh/koanf/providers/file"
	"github.com/knadh/koanf/providers/posflag"
	"github.com/knadh/koanf/v2"
	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"slotd/messages"
)

// delim never occurs in a name: keys are taken as they are.
const delim = "\x1f"

// layer is one place where settings come from.
type layer struct {
	values *koanf.Koanf
	origin func(s setting) string // how a person would say it
	quote  func(s setting, value string) string
	typed  bool // on the command line or in the environment: a bad value is a mistake of usage
}

// configFlags adds one flag for each setting, and --config.
func configFlags(fs *pflag.FlagSet, all []setting) {
	fs.String("config", "", "read settings from this YAML file; its keys are the names of the flags (SLOTD_CONFIG)")
	for _, s := range all {
		switch {
		case s.flag:
			fs.Bool(s.name, false, s.usage)
		case s.list:
			fs.StringArray(s.name, nil, fmt.Sprintf("%s (`%s`, repeatable)", s.usage, s.short))
		default:
			fs.String(s.name, s.def, s.usage)
			fs.Lookup(s.name).Usage = fmt.Sprintf("%s (`%s`)", s.usage, s.short)
		}
	}
}

// chosen is a setting with its value and where that came from.
type chosen struct {
	setting
	values []string
	origin string
}

// loadConfig reads every setting: flag before environment before file before default.
func (a *app) loadConfig(fs *pflag.FlagSet) (Config, []chosen, error) {
	all := settings(a.getenv)
	layers, err := a.layers(fs, all)
	if err != nil {
		return Config{}, nil, err
	}
	var (
		c    Config
		list = make([]chosen, 0, len(all))
	)
	for _, s := range all {
		pick, err := choose(&c, s, layers)
		if err != nil {
			return Config{}, nil, err
		}
		list = append(list, pick)
	}
	return c, list, nil
}

func choose(c *Config, s setting, layers []layer) (chosen, error) {
	for _, l := range layers {
		if !l.values.Exists(s.name) {
			continue
		}
		values, err := valuesOf(s, l.values.Get(s.name))
		if err == nil && len(values) > 0 {
			err = s.set(c, values)
		}
		if err != nil {
			shown := strings.Join(values, ", ")
			if s.hide {
				shown = messages.Redacted
			}
			err = fmt.Errorf("%s: %w", l.quote(s, shown), err)
			if l.typed {
				err = &usageError{err: err}
			}
			return chosen{}, err
		}
		return chosen{setting: s, values: values, origin: l.origin(s)}, nil
	}
	return chosen{setting: s, origin: "default"}, nil
}

// valuesOf turns what a layer holds into texts: one for a plain setting, any number for a list. A list may be a mapping
// in the file.
func valuesOf(s setting, value any) ([]string, error) {
	switch v := value.(type) {
	case []string:
		return v, nil
	case []any:
		if !s.list {
			return nil, errors.New("must be one value, not a list")
		}
		texts := make([]string, len(v))
		for i, item := range v {
			text, err := scalar(item)
			if err != nil {
				return nil, err
			}
			texts[i] = text
		}
		return texts, nil
	case map[string]any:
		if !s.list {
			return nil, errors.New("must be one value, not a mapping")
		}
		texts := make([]string, 0, len(v))
		for key, item := range v {
			text, err := scalar(item)
			if err != nil {
				return nil, err
			}
			texts = append(texts, key+"="+text)
		}
		sort.Strings(texts)
		return texts, nil
	default:
		text, err := scalar(v)
		return []string{text}, err
	}
}

func scalar(value any) (string, error) {
	switch v := value.(type) {
	case string:
		return v, nil
	case bool:
		return strconv.FormatBool(v), nil
	case int, int64, uint64, float64:
		return fmt.Sprint(v), nil
	case nil:
		return "", errors.New("must have a value")
	default:
		return "", errors.New("must be a text, a number or true or false")
	}
}

// layers reads all places, the strongest first.
func (a *app) layers(fs *pflag.FlagSet, all []setting) ([]layer, error) {
	known := make(map[string]setting, len(all))
	for _, s := range all {
		known[s.name] = s
	}
	flags, environment := koanf.New(delim), koanf.New(delim)
	err := flags.Load(posflag.ProviderWithFlag(fs, delim, nil, func(f *pflag.Flag) (string, any) {
		if _, ok := known[f.Name]; !ok || !f.Changed {
			return "", nil
		}
		return f.Name, posflag.FlagVal(fs, f)
	}), nil)
	if err != nil {
		return nil, fmt.Errorf("read flags: %w", err)
	}
	err = environment.Load(env.Provider(delim, env.Opt{
		Prefix:      "SLOTD_",
		EnvironFunc: func() []string { return a.environ },
		TransformFunc: func(name, value string) (string, any) {
			key := strings.ToLower(strings.ReplaceAll(strings.TrimPrefix(name, "SLOTD_"), "_", "-"))
			s, ok := known[key]
			if !ok || value == "" {
				return "", nil
			}
			if s.list {
				return key, splitList(value)
			}
			return key, value
		},
	}), nil)
	if err != nil {
		return nil, fmt.Errorf("read the environment: %w", err)
	}
	layers := []layer{
		{
			values: flags, typed: true,
			origin: func(s setting) string { return "--" + s.name },
			quote:  func(s setting, value string) string { return fmt.Sprintf("--%s %q", s.name, value) },
		},
		{
			values: environment, typed: true,
			origin: func(s setting) string { return s.env() },
			quote:  func(s setting, value string) string { return fmt.Sprintf("%s=%q", s.env(), value) },
		},
	}
	path, err := fs.GetString("config")
	if err != nil {
		return nil, err
	}
	if path == "" {
		path, _ = a.getenv("SLOTD_CONFIG")
	}
	if path != "" {
		fromFile, err := fileLayer(path, known)
		if err != nil {
			return nil, err
		}
		layers = append(layers, fromFile)
	}
	defaults, err := defaultLayer(all)
	return append(layers, defaults), err
}

// splitList reads a list from one variable: a line each, or commas when it is one line.
func splitList(value string) []string {
	separator := ","
	if strings.Contains(value, "\n") {
		separator = "\n"
	}
	var list []string
	for part := range strings.SplitSeq(value, separator) {
		if part = strings.TrimSpace(part); part != "" {
			list = append(list, part)
		}
	}
	return list
}

func fileLayer(path string, known map[string]setting) (layer, error) {
	values := koanf.New(delim)
	if err := values.Load(file.Provider(path), yaml.Parser()); err != nil {
		if _, ok := errors.AsType[*os.PathError](err); ok {
			return layer{}, fmt.Errorf("config file: %w", err)
		}
		return layer{}, fmt.Errorf("config file %s: %w", path, err)
	}
	var unknown []string
	for key := range values.Raw() {
		if _, ok := known[key]; !ok {
			unknown = append(unknown, key)
		}
	}
	if len(unknown) > 0 {
		sort.Strings(unknown)
		return layer{}, fmt.Errorf("config file %s: unknown key %s; the keys are the names of the flags of `slotd serve`%s",
			path, strings.Join(unknown, ", "), didYouMean(unknown[0], slices.Sorted(maps.Keys(known))))
	}
	return layer{
		values: values,
		origin: func(setting) string { return path },
		quote:  func(s setting, value string) string { return fmt.Sprintf("config file %s: %s %q", path, s.name, value) },
	}, nil
}

func defaultLayer(all []setting) (layer, error) {
	fixed := make(map[string]any, len(all))
	for _, s := range all {
		if s.def != "" || s.name == "data" {
			fixed[s.name] = s.def
		}
	}
	values := koanf.New(delim)
	if err := values.Load(confmap.Provider(fixed, delim), nil); err != nil {
		return layer{}, fmt.Errorf("read defaults: %w", err)
	}
	return layer{
		values: values,
		origin: func(setting) string { return "default" },
		quote:  func(s setting, value string) string { return fmt.Sprintf("--%s (default %q)", s.name, value) },
	}, nil
}

func (a *app) configVerb() *cobra.Command {
	config := &cobra.Command{
		Use:   "config",
		Short: "Show settings, name daemons",
		Long:  "Show settings, name daemons.\n\n" + contextsHelp,
		Args:  cobra.ArbitraryArgs,
		RunE:  unknownVerb,
	}
	show := &cobra.Command{
		Use:   "show",
		Short: "Show every setting and where it came from",
		Long: "Show how this program reaches the daemon, and every setting as `slotd serve` with the same flags, environment\n" +
			"and file would see it, and where each came from: a flag, a variable, a context, the file or the default.",
		Args: cobra.NoArgs,
	}
	configFlags(show.Flags(), settings(a.getenv))
	show.RunE = func(cmd *cobra.Command, _ []string) error {
		a.begun = true
		_, list, err := a.loadConfig(cmd.Flags())
		if err != nil {
			return err
		}
		return a.showConfig(list)
	}
	config.AddCommand(show)
	config.AddCommand(a.contextVerbs()...)
	return config
}

// shown is a value as it may be seen.
func (c chosen) shown() string {
	texts := make([]string, len(c.values))
	for i, text := range c.values {
		if key, _, ok := strings.Cut(text, "="); ok && c.hide {
			text = key + "=" + messages.Redacted
		}
		texts[i] = text
	}
	return strings.Join(texts, ",")
}
