// Package logs is the pub/sub of task output: it numbers what a task prints, keeps it in files and hands it to readers.
//
// It decides nothing about tasks. The ledger of package actors tells it of runs ([Logs.Record]), of ends ([Logs.Close])
// and of purges ([Logs.Remove]); the executor gives each attempt two writers ([Logs.Writer]); the gateway reads through
// cursors ([Logs.Open]).
//
// The unit is the block: the lines of one read of one stream, which share attempt, stream and time, and have consecutive
// numbers. A block is written with one write(2), kept in the hub's ring while somebody reads, and encoded at most once
// per form for all readers. Numbers count the events of a task over its whole life, so a place in the log is a number,
// and what a reader gets next is looked for in the ring, then in the files. That is why there is no seam to get wrong
// between replay and live, and why a reader that falls behind costs nothing.
//
// Everything is safe from any goroutine, but one writer and one cursor each belong to one goroutine at a time. Events of
// one writer keep their order; stdout and stderr interleave block by block, in the order in which they were read. A
// cursor delivers events in the order of their numbers, each once, or says how many are missing.
//
// Nothing here waits for a reader (invariant 6), no hub has a goroutine, and [Logs.Shutdown] waits for the two that trim
// files and mend what a disk has refused (invariant 8). An attempt has exactly one run-started and one run-finished, and
// its lines between them (invariant 4).
//
// A line is safe from a crash of the daemon once its write(2) has returned, which is before any reader gets it. Files are
// not synced: a crash of the machine may take the last seconds. A disk that refuses holds nobody up: memory keeps what is
// printed, within Config.RingBytes for each task and BacklogBytes for all, and it is written when the disk takes it again,
// also after the task has ended. What is damaged in a file, and what there was no memory for, is a gap that readers are
// told of with the number of events it stands for, as far as that is known; everything else is delivered, in order and
// once. A file that cannot be read is skipped or set aside, never overwritten (invariant 9).
package logs
