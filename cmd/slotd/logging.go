package main

import (
	"io"

	"github.com/hashicorp/go-hclog"
)

// newLogger returns the daemon's logger. Level and format have been checked by [parseLevel] and [parseLogFormat].
func newLogger(w io.Writer, level hclog.Level, json bool) hclog.Logger {
	return hclog.New(&hclog.LoggerOptions{
		Name:       "slotd",
		Level:      level,
		Output:     w,
		JSONFormat: json,
		TimeFormat: "2006-01-02T15:04:05.000Z07:00",
	})
}

func parseLevel(s string) (hclog.Level, error) {
	level := hclog.LevelFromString(s)
	if level == hclog.NoLevel {
		return level, oneOf(s, logLevels())
	}
	return level, nil
}

func logLevels() []string { return []string{"trace", "debug", "info", "warn", "error", "off"} }

func parseLogFormat(s string) (json bool, err error) {
	switch s {
	case "text":
		return false, nil
	case "json":
		return true, nil
	default:
		return false, oneOf(s, []string{"text", "json"})
	}
}
