package actors

import "github.com/asynkron/protoactor-go/actor"

// What retention tells itself, and whom tests send to.
var (
	Sweep any = &sweep{}
	Swept any = &swept{}
)

// Executor is the executor's actor.
func (t *Tree) Executor() *actor.PID { return t.executorPID }
