package main

import (
	"crypto/tls"
	"errors"
	"fmt"
	"strconv"

	"github.com/spf13/pflag"

	"slotd/gateway/client"
	"slotd/messages"
)

// picked is a value and where it came from; the zero value was told by nobody.
type picked struct{ value, origin string }

// target is the daemon that a verb talks to, and how, each with its origin.
type target struct {
	context   picked // the one that is used
	reach     map[string]picked
	token     picked // told as it is, and never shown
	plaintext picked // "true": the token may cross a network in the clear
}

// How strongly an address or a context is told: a stronger word for where the daemon is makes a weaker one void, so
// that the token and the certificate of one daemon never go to another.
const (
	untold = iota
	byFile
	byVariable
	byFlag
)

const defaultOrigin = "default"

// reachFlags are the global flags that tell how the daemon is reached.
func (a *app) reachFlags(flags *pflag.FlagSet) {
	for _, s := range reachSettings() {
		usage := fmt.Sprintf("%s (`%s`; %s", s.usage, s.short, s.env())
		if s.name == "addr" {
			usage += "; default " + client.DefaultAddr
		}
		flags.StringVar(s.of(&a.asked), s.name, "", usage+")")
	}
	bind(flags, &a.context, "context", "", "", "name", "the daemon that has this name in the client's settings, see `slotd config` (SLOTD_CONTEXT)", parseContext)
	flags.BoolVar(&a.plaintext, "plaintext-token", false, "send the token over plain http to other machines too (SLOTD_PLAINTEXT_TOKEN)")
}

// told looks a value up where the user tells it for this command line: flag before variable.
func (a *app) told(flag, name, env string) (p picked, strength int) {
	if flag != "" {
		return picked{flag, "--" + name}, byFlag
	}
	if value, ok := a.getenv(env); ok && value != "" {
		return picked{value, env}, byVariable
	}
	return picked{}, untold
}

// target picks each value: flag before variable before context before default. A context counts only where its address
// is used, or where it is named as strongly as the address that is used instead.
func (a *app) target() (target, error) {
	t := target{reach: make(map[string]picked)}
	_, addrStrength := a.told(a.asked.Addr, "addr", "SLOTD_ADDR")
	kept, strength, err := a.chooseContext(&t, addrStrength)
	if err != nil {
		return t, err
	}
	for _, s := range reachSettings() {
		p, _ := a.told(*s.of(&a.asked), s.name, s.env())
		if s.name == "addr" && strength > addrStrength {
			p = picked{}
		}
		if value := *s.of(&kept); p == (picked{}) && value != "" {
			p = picked{value, "context " + t.context.value}
		}
		t.reach[s.name] = p
	}
	if t.reach["addr"] == (picked{}) {
		t.reach["addr"] = picked{client.DefaultAddr, defaultOrigin}
	}
	if value, ok := a.getenv("SLOTD_TOKEN"); ok && value != "" && a.asked.TokenFile == "" {
		t.token, t.reach["token-file"] = picked{value, "SLOTD_TOKEN"}, picked{}
	}
	t.plaintext, err = a.plaintextToken()
	return t, err
}

// chooseContext returns what the chosen context says, and how strongly it was chosen.
func (a *app) chooseContext(t *target, addrStrength int) (reach, int, error) {
	name, strength := a.told(a.context, "context", "SLOTD_CONTEXT")
	if strength < addrStrength || strength == untold && addrStrength > untold {
		return reach{}, untold, nil
	}
	all, err := a.loadContexts()
	if err != nil {
		return reach{}, untold, err
	}
	if strength == untold {
		if all.Current == "" {
			return reach{}, untold, nil
		}
		name, strength = picked{all.Current, all.path}, byFile
	}
	source := name.origin
	if strength == byFile {
		source = "current-context in " + all.path
	}
	kept, err := all.find(name.value, source)
	t.context = name
	return kept, strength, err
}

func (a *app) plaintextToken() (picked, error) {
	if a.plaintext {
		return picked{"true", "--plaintext-token"}, nil
	}
	const env = "SLOTD_PLAINTEXT_TOKEN"
	text, ok := a.getenv(env)
	if !ok || text == "" {
		return picked{}, nil
	}
	yes, err := parseBool(text)
	if err != nil {
		return picked{}, usagef("%s=%q: %w", env, text, err)
	}
	return picked{strconv.FormatBool(yes), env}, nil
}

// connect returns a client for the daemon that the flags, the environment, a context or the default name.
func (a *app) connect() (*client.Client, error) {
	t, err := a.target()
	if err != nil {
		return nil, err
	}
	a.reached = t
	cfg := t.config()
	c, err := client.New(cfg)
	if err == nil {
		return c, nil
	}
	var form *client.AddressError
	switch {
	case errors.Is(err, client.ErrPlaintextToken):
		return nil, usagef("%s: %w, or add --plaintext-token where the network is trusted", cfg.Source, err)
	case errors.As(err, &form):
		return nil, usagef("%s: %w", cfg.Source, err)
	default: // of files, which it names
		return nil, &usageError{err: err}
	}
}

func (t target) config() client.Config {
	source := t.reach["addr"].origin
	if source == defaultOrigin {
		source = "the default address"
	}
	cfg := client.Config{
		Addr:           t.reach["addr"].value,
		Source:         source,
		UserAgent:      "slotd/" + buildVersion().GetVersion(),
		PlaintextToken: t.plaintext.value == "true",
		TLS: client.TLS{
			CAFile:     t.reach["ca"].value,
			CertFile:   t.reach["client-cert"].value,
			KeyFile:    t.reach["client-key"].value,
			ServerName: t.reach["server-name"].value,
		},
	}
	switch {
	case t.token.value != "":
		cfg.Token = client.Token(t.token.value)
	case t.reach["token-file"].value != "":
		cfg.Token = client.TokenFile(t.reach["token-file"].value)
	}
	return cfg
}

// rows are the target as config show tells it.
func (t target) rows() []shownSetting {
	row := func(key string, p picked) shownSetting {
		if p.origin == "" {
			p.origin = defaultOrigin
		}
		return shownSetting{Key: key, Value: p.value, Origin: p.origin}
	}
	token := t.token
	if token.value != "" {
		token.value = messages.Redacted
	}
	rows := []shownSetting{row("context", t.context)}
	for _, s := range reachSettings() {
		if s.name == "token-file" {
			rows = append(rows, row("token", token))
		}
		rows = append(rows, row(s.name, t.reach[s.name]))
	}
	plaintext := t.plaintext
	if plaintext.value == "" {
		plaintext.value = "false"
	}
	return append(rows, row("plaintext-token", plaintext))
}

// advise tells what helps against an error of reaching the daemon; empty when nothing more can be said.
func (t target) advise(err error) string {
	var unreachable *client.UnreachableError
	var untrusted *tls.CertificateVerificationError
	switch {
	case errors.As(err, &untrusted):
		return "if that certificate is the daemon's, name its authority with --ca or SLOTD_CA, and its name with --server-name"
	case errors.As(err, &unreachable):
		return "start one with `slotd serve`, or say where it is with --addr or SLOTD_ADDR"
	case !errors.Is(err, client.ErrUnauthenticated):
		return ""
	case t.token.origin != "":
		return "the token came from " + t.token.origin
	case t.reach["token-file"].value != "":
		return fmt.Sprintf("the token came from %s (%s)", t.reach["token-file"].value, t.reach["token-file"].origin)
	default:
		return "give a token with --token-file, SLOTD_TOKEN_FILE or SLOTD_TOKEN"
	}
}
