// Package client is the Go client of slotd's HTTP API.
//
//	c, err := client.New(client.Config{}) // the daemon of this machine
//	if err != nil { … }
//	defer c.Close()
//	id, err := c.Submit(ctx, &soltiv1.CreateSpec{
//		Slot:      "nightly",
//		TimeoutMs: 60_000,
//		Kind: &soltiv1.TaskKind{Kind: &soltiv1.TaskKind_Subprocess{Subprocess: &soltiv1.SubprocessTask{
//			Mode: &soltiv1.SubprocessTask_Command{Command: &soltiv1.CommandMode{Command: "backup", Args: []string{"--all"}}},
//		}}},
//	}, "")
//	if err != nil { … }
//	task, err := c.Wait(ctx, id, client.Terminal)
//
// A [Client] talks to one daemon, at http://host:port, https://host:port or unix:///path. It translates and decides
// nothing: specs and tasks are the messages of package slotd/messages/solti/v1. Every method takes a context and returns
// soon after it is done. A Client is safe for use by several goroutines; make one and keep it.
//
// # Errors
//
// What a daemon refuses comes back as an [*Error] with the daemon's own label and sentence. Switch on the label with
// [errors.Is] and [ErrSlotBusy], [ErrQueueFull], [ErrTaskNotFound] and so on; print the sentence, which says what, why
// and what to do. A daemon that cannot be reached, or is not trusted, is an [*UnreachableError]. Everything else is a
// connection that broke, the cause of the context's end, or an answer that is not slotd's.
//
// # What is sent twice
//
// Requests that may be sent twice without harm (reads, cancel, delete, purge, and a submission with an idempotency key)
// are repeated a few times when the connection breaks under them, all others are sent once. A daemon that cannot be
// dialed is reported at once, and so is a refusal, unless [Config.Patience] asks to come back later. Log streams resume
// after the last event, see [Client.Logs]; redirects are not followed.
//
// # Lists
//
// [Client.All] reads all pages and promises: ids ascend; a task that matches from the first page to the last is yielded
// exactly once, however many others come, change or go meanwhile; one that begins or ceases to match meanwhile is
// yielded once or not at all. [Client.List] is one page, a snapshot of one moment.
//
// # Tokens
//
// [Config.Token] gives a bearer token to every request. It is sent to the address of the Config alone, in no error and
// in no log, and over plain http only to this machine, unless [Config.PlaintextToken] says otherwise.
package client
