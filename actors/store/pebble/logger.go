package pebble

import (
	"errors"
	"fmt"

	"github.com/cockroachdb/pebble/v2"
	"github.com/hashicorp/go-hclog"
)

// voice is the logger an engine is given.
type voice struct {
	log   hclog.Logger
	fence *fence
}

var _ pebble.Logger = voice{}

// Infof implements pebble.Logger.
func (v voice) Infof(format string, args ...any) {
	if v.log.IsDebug() {
		v.log.Debug("engine", "text", fmt.Sprintf(format, args...))
	}
}

// Errorf implements pebble.Logger.
func (v voice) Errorf(format string, args ...any) {
	v.log.Warn("engine", "text", fmt.Sprintf(format, args...))
}

// Fatalf implements pebble.Logger. The engine takes for granted that the process ends here, so its goroutine never gets
// any further; the process does, with another database.
func (v voice) Fatalf(format string, args ...any) {
	text := fmt.Sprintf(format, args...)
	v.log.Warn("engine gave up", "text", text)
	v.fence.trip("engine", "", errors.New(text))
	v.fence.die()
}

// events is what the store wants to hear of what an engine does in the background. It only listens for failures that
// are not those of a change, which trip the fence by themselves: what cannot be read back, above all.
func (v voice) events() *pebble.EventListener {
	return &pebble.EventListener{
		BackgroundError: func(err error) {
			if v.fence.fault.Load() == nil {
				v.log.Warn("engine failed", "error", err)
			}
			v.fence.trip("background work", "", err)
		},
		DataCorruption: func(info pebble.DataCorruptionInfo) {
			v.fence.trip("read", info.Path, info.Details)
		},
	}
}
