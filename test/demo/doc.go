// Package demo holds the tour that `make demo` gives: a script, and the tests that keep it true.
package demo
