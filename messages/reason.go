package messages

// Reason says in one word why an attempt or a task stands where it stands. The set is closed: clients may switch on it.
type Reason string

// The reasons. The first group is how an attempt ended by itself or was kept from starting; the second, who stopped it.
const (
	ReasonCompleted         Reason = "Completed"         // exit 0, or any exit where the spec allows it
	ReasonNonZeroExit       Reason = "NonZeroExit"       // the leader's exit code was not 0
	ReasonSignaled          Reason = "Signaled"          // killed by a signal that slotd did not send
	ReasonOutOfMemory       Reason = "OutOfMemory"       // the kernel killed a process of it for memory
	ReasonSpawnFailed       Reason = "SpawnFailed"       // it can never work here
	ReasonRunnerUnavailable Reason = "RunnerUnavailable" // it could not be started now
	ReasonNodeLost          Reason = "NodeLost"          // the node or daemon died under it
	ReasonRetriesExhausted  Reason = "RetriesExhausted"  // the retry budget is used up

	ReasonTimedOut   Reason = "TimedOut"   // stopped at its deadline
	ReasonCanceled   Reason = "Canceled"   // a client canceled or deleted it
	ReasonReplaced   Reason = "Replaced"   // a newer task took its slot
	ReasonSuperseded Reason = "Superseded" // a newer replacement took its place before it started
	ReasonShutdown   Reason = "Shutdown"   // the daemon stopped
)
