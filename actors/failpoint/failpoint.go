// Package failpoint names the places at which a test may kill the process, or let an actor panic: before and after every
// durable step, and around fork and exec.
//
// It does nothing and costs nothing unless the program was built with the tag "failpoints". Then the variable
// SLOTD_FAILPOINTS arms points, separated by commas:
//
//	store/applied=kill@3      the third time, the process kills itself (SIGKILL)
//	actor/slot.slotActor/Submit=panic@1
//	fork/before=sleep:200ms@2 the second time, it sleeps; the time may be any Go duration
//
// A point whose name ends with * stands for all that begin so. Names are listed where they are hit.
package failpoint
