package main

import (
	"errors"
	"io"
	"os"

	"golang.org/x/sys/unix"
)

// readKeys takes a terminal out of its line mode, so that keys come one by one and are not shown; signals stay. A read
// ends after a tenth of a second, so that restore waits no longer for the reader.
func readKeys(terminal *os.File) (typed <-chan byte, restore func() error, err error) {
	fd := int(terminal.Fd())
	before, err := unix.IoctlGetTermios(fd, unix.TCGETS)
	if err != nil {
		return nil, nil, os.NewSyscallError("read the terminal's mode", err)
	}
	mode := *before
	mode.Lflag &^= unix.ICANON | unix.ECHO
	mode.Cc[unix.VMIN], mode.Cc[unix.VTIME] = 0, 1
	if err := unix.IoctlSetTermios(fd, unix.TCSETS, &mode); err != nil {
		return nil, nil, os.NewSyscallError("set the terminal's mode", err)
	}
	keys, stop, over := make(chan byte), make(chan struct{}), make(chan struct{})
	go func() {
		defer close(over)
		key := make([]byte, 1)
		for {
			n, err := terminal.Read(key)
			if err != nil && !errors.Is(err, io.EOF) {
				return // hung up
			}
			if n == 0 {
				select {
				case <-stop:
					return
				default:
					continue
				}
			}
			select {
			case keys <- key[0]:
			case <-stop:
				return
			}
		}
	}()
	return keys, func() error {
		close(stop)
		<-over
		return os.NewSyscallError("restore the terminal's mode", unix.IoctlSetTermios(fd, unix.TCSETS, before))
	}, nil
}
