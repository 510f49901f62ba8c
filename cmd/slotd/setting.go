package main

import (
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"

	"github.com/hashicorp/go-hclog"

	"slotd/messages"
)

// Config is everything slotd serve can be told.
type Config struct {
	Node     NodeConfig
	Insecure bool // beyond loopback without authentication is allowed
	LogLevel hclog.Level
	LogJSON  bool
}

// setting is one thing slotd serve can be told: a flag, a SLOTD_* variable and a key of the config file.
type setting struct {
	name  string
	short string // placeholder in the help
	def   string
	usage string
	list  bool // may be given several times
	flag  bool // yes or no
	hide  bool // values are not shown, only keys
	set   func(c *Config, values []string) error
}

// env is the variable that carries the setting.
func (s setting) env() string {
	return "SLOTD_" + strings.ToUpper(strings.ReplaceAll(s.name, "-", "_"))
}

const (
	most       = 1 << 30   // of anything that is counted
	leastBytes = 256 << 10 // of a task's output: a few of the longest lines
)

// settings lists them in the order in which people think of them. Env looks the caller's environment up.
func settings(env func(string) (string, bool)) []setting {
	return []setting{
		{name: "http", short: "addr", def: "127.0.0.1:8085", usage: "listen for HTTP here; port 0 is any free one, off is none", set: func(c *Config, v []string) error {
			return assign(&c.Node.HTTP, v, parseListen)
		}},
		{name: "grpc", short: "addr", def: "127.0.0.1:50052", usage: "listen for gRPC here; port 0 is any free one, off is none", set: func(c *Config, v []string) error {
			return assign(&c.Node.GRPC, v, parseListen)
		}},
		{name: "unix", short: "path", usage: "listen for HTTP on this unix socket too", set: func(c *Config, v []string) error {
			return assign(&c.Node.Unix, v, parseSocket)
		}},
		{name: "data", short: "dir", def: defaultData(env), usage: "keep logs and state here", set: func(c *Config, v []string) error {
			return assign(&c.Node.DataDir, v, parseDir)
		}},
		{name: "store", short: "kind", def: storePebble, usage: "where tasks are kept: pebble, in the data directory, or memory, gone with the daemon", set: func(c *Config, v []string) error {
			return assign(&c.Node.Store, v, parseStore)
		}},
		{name: "slot-queue", short: "n", def: "100", usage: "tasks that may wait in one slot", set: func(c *Config, v []string) error {
			return assign(&c.Node.SlotQueue, v, parseInt(1))
		}},
		{name: "max-running", short: "n", def: "0", usage: "attempts that may run on this node at a time; 0 = no limit", set: func(c *Config, v []string) error {
			return assign(&c.Node.MaxRunning, v, parseInt(0))
		}},
		{name: "max-tasks", short: "n", def: "1000000", usage: "tasks that may be not yet terminal", set: func(c *Config, v []string) error {
			return assign(&c.Node.MaxTasks, v, parseInt(1))
		}},
		{name: "retain", short: "duration", def: "24h", usage: "keep terminal tasks so long", set: func(c *Config, v []string) error {
			return assign(&c.Node.Retain, v, parsePositive)
		}},
		{name: "retain-tasks", short: "n", def: "100000", usage: "keep so many terminal tasks", set: func(c *Config, v []string) error {
			return assign(&c.Node.RetainTasks, v, parseInt(1))
		}},
		{name: "log-bytes", short: "size", def: "64MiB", usage: "keep so much output of one task", set: func(c *Config, v []string) error {
			return assign(&c.Node.LogBytes, v, parseLogBytes)
		}},
		{name: "log-total", short: "size", def: "10GiB", usage: "keep so much output of all tasks", set: func(c *Config, v []string) error {
			return assign(&c.Node.LogTotal, v, parseLogBytes)
		}},
		{name: "shutdown-grace", short: "duration", def: "10s", usage: "no grace lasts longer when the daemon stops", set: func(c *Config, v []string) error {
			return assign(&c.Node.ShutdownGrace, v, parseDuration)
		}},
		{name: "node", short: "name", def: defaultNode(), usage: "name of this node", set: func(c *Config, v []string) error {
			return assign(&c.Node.Name, v, parseNode)
		}},
		{name: "node-label", short: "k=v", list: true, usage: "label of this node, for runner selectors", set: func(c *Config, v []string) error {
			return setLabels(c, v)
		}},
		{name: "runner-env", short: "K=V", list: true, hide: true, usage: "environment of every subprocess, above the task's own; K alone takes the daemon's value", set: func(c *Config, v []string) error {
			return setRunnerEnv(c, v, env)
		}},
		{name: "allowed-host", short: "name", list: true, usage: "answer requests for this host name too", set: func(c *Config, v []string) error {
			return setHosts(c, v)
		}},
		{name: "auth-tokens", short: "file", usage: "want a token of this file, made by `slotd token create`; SIGHUP reads it again", set: func(c *Config, v []string) error {
			return assign(&c.Node.AuthTokens, v, parsePath)
		}},
		{name: "tls-cert", short: "file", usage: "serve TLS with this certificate (PEM, with those up to its authority)", set: func(c *Config, v []string) error {
			return assign(&c.Node.TLSCert, v, parsePath)
		}},
		{name: "tls-key", short: "file", usage: "the certificate's private key (PEM)", set: func(c *Config, v []string) error {
			return assign(&c.Node.TLSKey, v, parsePath)
		}},
		{name: "tls-client-ca", short: "file", usage: "want client certificates of these authorities (PEM); without tokens each makes its client admin", set: func(c *Config, v []string) error {
			return assign(&c.Node.TLSClientCA, v, parsePath)
		}},
		{name: "max-conns-per-addr", short: "n", def: "4096", usage: "connections one address may hold; loopback and unix sockets are exempt", set: func(c *Config, v []string) error {
			return assign(&c.Node.MaxConnsPerAddr, v, parseInt(1))
		}},
		{name: "insecure", flag: true, def: "false", usage: "allow listening beyond this machine without authentication", set: func(c *Config, v []string) error {
			return assign(&c.Insecure, v, parseBool)
		}},
		{name: "log-level", short: "level", def: "info", usage: "trace, debug, info, warn, error or off", set: func(c *Config, v []string) error {
			return assign(&c.LogLevel, v, parseLevel)
		}},
		{name: "log-format", short: "format", def: "text", usage: "text or json", set: func(c *Config, v []string) error {
			return assign(&c.LogJSON, v, parseLogFormat)
		}},
	}
}

func assign[T any](into *T, values []string, parse func(string) (T, error)) error {
	value, err := parse(values[len(values)-1])
	if err == nil {
		*into = value
	}
	return err
}

// defaultData is where a system service keeps its state for root, and where the XDG rules put it for others.
func defaultData(env func(string) (string, bool)) string {
	if os.Geteuid() == 0 {
		return "/var/lib/slotd"
	}
	if state, ok := env("XDG_STATE_HOME"); ok && filepath.IsAbs(state) {
		return filepath.Join(state, "slotd")
	}
	home, ok := env("HOME")
	if !ok || home == "" {
		return ""
	}
	return filepath.Join(home, ".local", "state", "slotd")
}

func defaultNode() string {
	host, err := os.Hostname()
	if err != nil || host == "" {
		return "localhost"
	}
	return slotName(host)
}

// parseListen reads host:port; off is the empty address.
func parseListen(s string) (string, error) {
	if s == "off" {
		return "", nil
	}
	_, port, err := net.SplitHostPort(s)
	if err != nil {
		return "", errors.New("must be host:port, such as 127.0.0.1:8085, or off")
	}
	if _, err := strconv.ParseUint(port, 10, 16); err != nil {
		return "", errors.New("the port must be a number from 0 to 65535")
	}
	return s, nil
}

// maxSocketPath is what the kernel takes as the path of a unix socket, bytes.
const maxSocketPath = 107

func parseSocket(s string) (string, error) {
	if s == "" {
		return "", nil
	}
	path, err := filepath.Abs(strings.TrimPrefix(s, "unix://"))
	if err != nil {
		return "", err
	}
	if len(path) > maxSocketPath {
		return "", fmt.Errorf("must be a path of at most %d bytes: the kernel takes no longer one for a socket", maxSocketPath)
	}
	return path, nil
}

func parseDir(s string) (string, error) {
	if s == "" {
		return "", errors.New("must be a directory: neither XDG_STATE_HOME nor HOME tells where state belongs")
	}
	return filepath.Abs(s)
}

// parsePath reads the path of a file; empty is none.
func parsePath(s string) (string, error) {
	if s == "" {
		return "", nil
	}
	return filepath.Abs(s)
}

func parseStore(s string) (string, error) {
	return s, oneOf(s, []string{storePebble, storeMemory})
}

func parseInt(least uint64) func(string) (int, error) {
	return func(s string) (int, error) {
		n, err := parseCount(least, most)(s)
		return int(n), err
	}
}

func parseLogBytes(s string) (int64, error) {
	n, err := parseBytes(s)
	if err == nil && n < leastBytes {
		err = fmt.Errorf("must be at least %d bytes", leastBytes)
	}
	return int64(n), err
}

func parseBool(s string) (bool, error) {
	yes, err := strconv.ParseBool(s)
	if err != nil {
		return false, errors.New("must be true or false")
	}
	return yes, nil
}

func parseNode(s string) (string, error) {
	if messages.ValidateSlot(s) != nil {
		return "", fmt.Errorf("must be 1 to %d of A-Z, a-z, 0-9, '.', '_' and '-', but neither . nor .. alone", messages.MaxSlotBytes)
	}
	return s, nil
}

func setLabels(c *Config, values []string) error {
	labels := make(map[string]string, len(values))
	for _, text := range values {
		key, value, ok := strings.Cut(text, "=")
		parsed, err := messages.ParseSelector(text)
		if !ok || err != nil || parsed.String() != text {
			return fmt.Errorf("%q must be k=v in the syntax of Kubernetes labels", text)
		}
		labels[key] = value
	}
	c.Node.Labels = labels
	return nil
}

// setRunnerEnv never repeats a value: it may be a secret.
func setRunnerEnv(c *Config, values []string, env func(string) (string, bool)) error {
	pairs := make([]string, 0, len(values))
	for i, text := range values {
		key, value, ok := strings.Cut(text, "=")
		if key == "" || strings.ContainsRune(text, 0) {
			return fmt.Errorf("entry %d must be K=V, or K to take the daemon's own value", i+1)
		}
		if !ok {
			if value, ok = env(key); !ok {
				return fmt.Errorf("the daemon's environment has no %s", key)
			}
		}
		pairs = append(pairs, key+"="+value)
	}
	c.Node.RunnerEnv = pairs
	return nil
}

var hostName = regexp.MustCompile(`^[A-Za-z0-9]([A-Za-z0-9.-]*[A-Za-z0-9])?$`)

func setHosts(c *Config, values []string) error {
	for _, host := range values {
		if !hostName.MatchString(host) && net.ParseIP(host) == nil {
			return fmt.Errorf("%q must be a host name or an address, without a port", host)
		}
	}
	c.Node.AllowedHosts = values
	return nil
}

// defaultNodeConfig is a node with nothing but defaults, for one that has no settings of its own.
func defaultNodeConfig(env func(string) (string, bool)) (NodeConfig, error) {
	var c Config
	for _, s := range settings(env) {
		if s.def == "" {
			continue
		}
		if err := s.set(&c, []string{s.def}); err != nil {
			return NodeConfig{}, fmt.Errorf("default of %s: %w", s.name, err)
		}
	}
	return c.Node, nil
}
