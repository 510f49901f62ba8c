//go:build race

package e2e

// raced: the binary is built as these tests are, with the race detector.
const raced = true
