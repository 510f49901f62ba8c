package pebble

import (
	"errors"
	"fmt"
	"path/filepath"

	"golang.org/x/sys/unix"
)

// A FaultError is why a store cannot be written: the first operation on its files that failed.
type FaultError struct {
	Dir  string // of the store
	Op   string // write, sync, create, …
	Path string // the file, "" when it is none in particular
	Err  error
}

// Error names the directory and what the operating system said.
func (f *FaultError) Error() string {
	text := fmt.Sprintf("the store in %s cannot be written: %s", f.Dir, f.Op)
	if f.Path != "" && f.Path != f.Dir {
		text += " " + filepath.Base(f.Path)
	}
	return text + ": " + plain(f.Err)
}

// Unwrap returns what the operating system said.
func (f *FaultError) Unwrap() error { return f.Err }

// plain is an error without the path that has been named already.
func plain(err error) string {
	if number, ok := errors.AsType[unix.Errno](err); ok {
		return number.Error()
	}
	return err.Error()
}
