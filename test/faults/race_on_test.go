//go:build race

package faults

// raced: the binary is built as these tests are, with the race detector.
const raced = true
