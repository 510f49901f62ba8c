package main

import (
	"errors"
	"fmt"
	"math"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/pflag"
)

// parsed is a flag whose text is checked as it is read: pflag then names the flag, the value and the rule.
type parsed[T any] struct {
	parse func(string) (T, error)
	into  *T
	kind  string // shown in the help
	text  string
}

func (p *parsed[T]) String() string { return p.text }
func (p *parsed[T]) Type() string   { return p.kind }

func (p *parsed[T]) Set(text string) error {
	value, err := p.parse(text)
	if err != nil {
		return err
	}
	*p.into, p.text = value, text
	return nil
}

// bind adds a checked flag. The default is shown in the help as it stands.
func bind[T any](fs *pflag.FlagSet, into *T, name, short, def, kind, usage string, parse func(string) (T, error)) {
	fs.VarP(&parsed[T]{parse: parse, into: into, kind: kind, text: def}, name, short, usage)
}

// parseDuration reads a duration in Go's form, zero or more.
func parseDuration(s string) (time.Duration, error) {
	d, err := time.ParseDuration(s)
	if err != nil || d < 0 {
		return 0, errors.New("must be a duration such as 500ms, 30s, 5m or 1h30m")
	}
	return d, nil
}

// parsePositive reads a duration that is more than zero.
func parsePositive(s string) (time.Duration, error) {
	d, err := parseDuration(s)
	if err == nil && d == 0 {
		err = errors.New("must be more than zero")
	}
	return d, err
}

// millis are whole milliseconds, a started one counted.
func millis(d time.Duration) uint64 {
	ms := uint64(d / time.Millisecond)
	if d%time.Millisecond > 0 {
		ms++
	}
	return ms
}

// A number with a unit of bytes: single letters count by 1024 as in docker run and systemd, kB and MB by 1000, KiB and
// MiB by 1024. Letter case does not matter.
var byteUnits = map[string]float64{
	"": 1, "b": 1,
	"k": 1 << 10, "m": 1 << 20, "g": 1 << 30, "t": 1 << 40,
	"kib": 1 << 10, "mib": 1 << 20, "gib": 1 << 30, "tib": 1 << 40,
	"kb": 1e3, "mb": 1e6, "gb": 1e9, "tb": 1e12,
}

// parseBytes reads a size of at least one byte.
func parseBytes(s string) (uint64, error) {
	rule := errors.New("must be a size such as 1048576, 512k, 64MiB, 1.5G or 10GB")
	text := strings.ToLower(strings.TrimSpace(s))
	digits := strings.TrimRight(text, "abcdefghijklmnopqrstuvwxyz ")
	factor, known := byteUnits[strings.TrimSpace(text[len(digits):])]
	if !known || strings.Trim(digits, "0123456789.") != "" { // no 1e3 and no 0x10, whatever the unit
		return 0, rule
	}
	if factor == 1 {
		n, err := strconv.ParseUint(digits, 10, 63)
		if err != nil || n == 0 {
			return 0, rule
		}
		return n, nil
	}
	n, err := strconv.ParseFloat(digits, 64)
	if err != nil || !(n*factor >= 1) || n*factor > math.MaxInt64/2 {
		return 0, rule
	}
	return uint64(n * factor), nil
}

// parseCount reads a whole number between least and most.
func parseCount(least, most uint64) func(string) (uint64, error) {
	return func(s string) (uint64, error) {
		n, err := strconv.ParseUint(s, 10, 64)
		if err != nil || n < least || n > most {
			return 0, fmt.Errorf("must be a whole number from %d to %d", least, most)
		}
		return n, nil
	}
}

// parseCPUs reads cores as thousandths: 1.5 is 1500.
func parseCPUs(s string) (uint64, error) {
	n, err := strconv.ParseFloat(s, 64)
	if err != nil || !(n >= 0.001) || n > 1e6 {
		return 0, errors.New("must be a number of cores such as 0.5 or 2, at least 0.001")
	}
	return uint64(math.Round(n * 1000)), nil
}

// age is a length of time as a table shows it: one or two units.
func age(d time.Duration) string {
	seconds := int64(d / time.Second)
	switch {
	case seconds < 0:
		return "0s"
	case seconds < 2*60:
		return fmt.Sprintf("%ds", seconds)
	case seconds < 10*60:
		return fmt.Sprintf("%dm%ds", seconds/60, seconds%60)
	case seconds < 3*3600:
		return fmt.Sprintf("%dm", seconds/60)
	case seconds < 8*3600:
		return fmt.Sprintf("%dh%dm", seconds/3600, seconds/60%60)
	case seconds < 48*3600:
		return fmt.Sprintf("%dh", seconds/3600)
	default:
		return fmt.Sprintf("%dd", seconds/(24*3600))
	}
}
