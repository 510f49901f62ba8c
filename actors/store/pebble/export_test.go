package pebble

import "time"

// Hasty returns a configuration whose store is soon full and does not wait long for anything.
func Hasty(cfg Config) Config {
	cfg.memTable = 64 << 10
	cfg.pace = pace{
		certainty: time.Minute, mourning: 5 * time.Millisecond,
		first: 500 * time.Microsecond, last: 5 * time.Millisecond, open: 20 * time.Millisecond,
	}
	return cfg
}
