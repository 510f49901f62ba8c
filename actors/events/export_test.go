package events

// NewSmall returns a hub that keeps so many events, in chunks of that many.
func NewSmall(events, bytes, chunk int) *Hub {
	return newHub(limits{events: events, bytes: bytes, chunkEvents: chunk, chunkBytes: max(1, bytes/8)})
}

// What the tests compare with.
const (
	BatchEvents = batchEvents
	KeepEvents  = keepEvents
	KeepBytes   = keepBytes
	ChunkEvents = chunkEvents
)

// Oldest is the number of the oldest event that is kept.
func (h *Hub) Oldest() uint64 {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.chunks[0].first
}

// ID is the id that an event of this hub with that number has.
func (h *Hub) ID(number uint64) string { return eventID{h.epoch, number}.String() }
