//go:build failpoints

package failpoint

import (
	"fmt"
	"os"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"
)

// Enabled says that the program was built with fail-points.
const Enabled = true

// Variable names the environment variable that arms points.
const Variable = "SLOTD_FAILPOINTS"

// point is one that was armed.
type point struct {
	name   string
	prefix bool // name is the beginning of many
	act    func(name string)
	left   int // hits until it acts
}

func (p *point) is(name string) bool {
	return p.name == name || p.prefix && strings.HasPrefix(name, p.name)
}

// armed reads the variable once. A mistake in it ends the program: a test must not go on without its fault.
var armed = sync.OnceValue(func() *table {
	t := new(table)
	for text := range strings.SplitSeq(os.Getenv(Variable), ",") {
		if text == "" {
			continue
		}
		p, err := parse(text)
		if err != nil {
			fmt.Fprintf(os.Stderr, "%s: %q: %v\n", Variable, text, err)
			os.Exit(2)
		}
		t.points = append(t.points, p)
	}
	return t
})

type table struct {
	mu     sync.Mutex
	points []*point
}

// due counts a hit and returns what is to be done.
func (t *table) due(name string) func(string) {
	if len(t.points) == 0 {
		return nil
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	for _, p := range t.points {
		if p.left > 0 && p.is(name) {
			if p.left--; p.left == 0 {
				return p.act
			}
		}
	}
	return nil
}

// Hit passes the point of that name.
func Hit(name string) {
	if act := armed().due(name); act != nil {
		act(name)
	}
}

func parse(text string) (*point, error) {
	name, rest, ok := strings.Cut(text, "=")
	if !ok {
		return nil, fmt.Errorf("has no action")
	}
	action, count, counted := strings.Cut(rest, "@")
	p := &point{left: 1}
	p.name, p.prefix = strings.CutSuffix(name, "*")
	if counted {
		n, err := strconv.Atoi(count)
		if err != nil || n < 1 {
			return nil, fmt.Errorf("count %q is not a number from 1 on", count)
		}
		p.left = n
	}
	verb, argument, _ := strings.Cut(action, ":")
	switch verb {
	case "kill":
		p.act = kill
	case "panic":
		p.act = func(name string) { panic("fail-point " + name) }
	case "sleep":
		d, err := time.ParseDuration(argument)
		if err != nil {
			return nil, err
		}
		p.act = func(string) { time.Sleep(d) }
	default:
		return nil, fmt.Errorf("no such action")
	}
	return p, nil
}

// kill does not return: nothing of the program runs after it.
func kill(name string) {
	fmt.Fprintf(os.Stderr, "fail-point %s: killed\n", name)
	_ = syscall.Kill(os.Getpid(), syscall.SIGKILL)
	select {}
}
