package catalog

import (
	"cmp"

	"github.com/tidwall/btree"

	slotdv1 "slotd/messages/slotd/v1"
)

// keyring holds the idempotency keys, by name and by the time at which they expire.
type keyring struct {
	byName   map[keyName]*slotdv1.KeyRecord
	byExpiry *btree.BTreeG[*slotdv1.KeyRecord]
}

type keyName struct{ slot, key string }

func nameOf(key *slotdv1.KeyRecord) keyName { return keyName{key.GetSlot(), key.GetKey()} }

func newKeyring() keyring {
	return keyring{
		byName: map[keyName]*slotdv1.KeyRecord{},
		byExpiry: btree.NewBTreeGOptions(func(a, b *slotdv1.KeyRecord) bool {
			return cmp.Or(
				cmp.Compare(a.GetExpiresAt(), b.GetExpiresAt()),
				cmp.Compare(a.GetSlot(), b.GetSlot()),
				cmp.Compare(a.GetKey(), b.GetKey()),
			) < 0
		}, btree.Options{NoLocks: true}),
	}
}

func (k *keyring) put(key *slotdv1.KeyRecord) {
	k.remove(key)
	k.byName[nameOf(key)] = key
	k.byExpiry.Set(key)
}

// expire takes out the key of that name, unless it has been put again since.
func (k *keyring) expire(key *slotdv1.KeyRecord) {
	if k.byName[nameOf(key)].GetExpiresAt() <= key.GetExpiresAt() {
		k.remove(key)
	}
}

// remove takes out the key of that name, whatever else it says.
func (k *keyring) remove(key *slotdv1.KeyRecord) {
	if old := k.byName[nameOf(key)]; old != nil {
		delete(k.byName, nameOf(key))
		k.byExpiry.Delete(old)
	}
}

// Key returns an idempotency key that is still good at now, Unix milliseconds.
func (c *Catalog) Key(slot, key string, now int64) (*slotdv1.KeyRecord, bool) {
	c.mu.RLock()
	defer c.mu.RUnlock()
	rec := c.keys.byName[keyName{slot, key}]
	if rec == nil || rec.GetExpiresAt() <= now {
		return nil, false
	}
	return rec, true
}

// ExpiredKeys returns up to n keys that are no longer good at now, Unix milliseconds, the longest expired first. They
// are kept until a batch says that they are deleted.
func (c *Catalog) ExpiredKeys(now int64, n int) []*slotdv1.KeyRecord {
	c.mu.RLock()
	defer c.mu.RUnlock()
	var keys []*slotdv1.KeyRecord
	c.keys.byExpiry.Scan(func(key *slotdv1.KeyRecord) bool {
		if len(keys) >= n || key.GetExpiresAt() > now {
			return false
		}
		keys = append(keys, key)
		return true
	})
	return keys
}
