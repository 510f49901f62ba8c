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
// Nothing here waits for a reader (invariant 6), no hub has a goroutine, and [Logs.Shutdown] waits for the one that
// trims files (invariant 8). An attempt has exactly one run-started and one run-finished, and its lines between them
// (invariant 4). A file that cannot be read is set aside or skipped, never overwritten (invariant 9). Files are not
// synced: they survive the daemon, and a crash of the machine may take the last seconds.
package logs
