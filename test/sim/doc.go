// Package sim runs a whole node through accidents, many times over, and judges what comes of it.
//
// One seed is one world inside a testing/synctest bubble, so that its hours take milliseconds: a disk, a machine, and a
// node of package actors that is started, crashed, stopped and started again while clients submit, cancel, delete and
// look on. The disk ([disk], over store/memory) is slow, fails for a while, and loses what it has not acknowledged when
// the node crashes, but for a random prefix. The machine ([machine]) is the runner: its processes end by themselves or
// not, obey a stop or not, and outlive the node that started them.
//
// Everything that can be seen from outside is written into one [history], in the order in which it happened. What the
// node does after the instant of its crash reaches neither disk, machine nor clients, and is not in it. When all is
// over, [check] reads the history and names what must never be. It is a pure function, and its own tests hand it
// histories that are wrong.
//
// A seed decides every choice of the world, but not how goroutines interleave: run a seed again, with one processor, to
// see its failure again.
package sim
