package pebble

import (
	"time"

	"github.com/cockroachdb/pebble/v2"
)

// Hasty returns a configuration whose store is soon full and does not wait long for anything.
func Hasty(cfg Config) Config {
	cfg.memTable = 64 << 10
	cfg.pace = pace{
		certainty: time.Minute, mourning: 5 * time.Millisecond,
		first: 500 * time.Microsecond, last: 5 * time.Millisecond, open: 20 * time.Millisecond,
	}
	return cfg
}

// Overwrite puts a value behind the store's back.
func Overwrite(s *Store, key string, value []byte) error {
	return s.view.db.Set([]byte(key), value, pebble.Sync)
}
