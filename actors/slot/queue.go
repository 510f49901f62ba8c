package slot

// queue is a FIFO of entries from whose middle entries can leave in constant time: a removed entry stays behind as a
// gap until half of the queue is gaps.
type queue struct {
	entries []*entry // nil = gap
	head    int      // of the first entry that is not a gap, when size > 0
	size    int
}

func (q *queue) push(e *entry) {
	e.at = len(q.entries)
	q.entries = append(q.entries, e)
	q.size++
}

func (q *queue) pop() *entry {
	if q.size == 0 {
		return nil
	}
	e := q.entries[q.head]
	q.remove(e)
	return e
}

func (q *queue) remove(e *entry) {
	q.entries[e.at] = nil
	q.size--
	if q.size == 0 {
		*q = queue{}
		return
	}
	for q.entries[q.head] == nil {
		q.head++
	}
	if gaps := len(q.entries) - q.size; gaps > q.size && gaps > 32 {
		q.compact()
	}
}

func (q *queue) compact() {
	kept := make([]*entry, 0, q.size+q.size/2)
	for _, e := range q.entries[q.head:] {
		if e != nil {
			e.at = len(kept)
			kept = append(kept, e)
		}
	}
	q.entries, q.head = kept, 0
}

// all yields the entries, next first.
func (q *queue) all(yield func(*entry) bool) {
	for _, e := range q.entries[min(q.head, len(q.entries)):] {
		if e != nil && !yield(e) {
			return
		}
	}
}
