package messages

// Decision is what admission made of a task. The set is closed; each has a counter.
type Decision string

// The decisions. Dropped and QueueFull refuse the task; Superseded befalls a pending replacement that gives way to a
// newer one.
const (
	Admitted   Decision = "admitted"   // the slot was idle: the task holds it
	Queued     Decision = "queued"     // it waits its turn behind the holder
	Replaced   Decision = "replaced"   // the holder is stopped, the task is next
	Superseded Decision = "superseded" // an older replacement was cancelled before it started
	Dropped    Decision = "dropped"    // the slot is busy and the task may not wait
	QueueFull  Decision = "queue_full" // the slot is busy and no more may wait
	Repeated   Decision = "repeated"   // the idempotency key is known: the earlier task is the answer
)
