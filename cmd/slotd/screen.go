package main

import (
	"bytes"
	"io"
	"os"
	"sync"
	"time"
	"unicode/utf8"

	"golang.org/x/sys/unix"
)

// screen is a terminal on which one line, the last, is rewritten in place. Whatever else is written there goes through an
// overlay, which takes the line away first, so it never mixes with data and leaves nothing behind.
type screen struct {
	terminal io.Writer
	width    func() int

	mu    sync.Mutex
	shown bool      // the line stands there
	torn  bool      // something else stands there that is not a whole line yet
	wrote time.Time // something else was written last
}

// attach puts overlays over stdout and stderr when stderr is a terminal that can be rewritten.
func (a *app) attach() {
	if term, _ := a.getenv("TERM"); term == "dumb" || !a.tty(a.stderr) {
		return
	}
	terminal := a.stderr
	a.screen = &screen{terminal: terminal, width: func() int { return widthOf(terminal) }, wrote: time.Now()}
	bare := a.tty
	a.tty = func(stream any) bool {
		if over, ok := stream.(*overlay); ok {
			stream = over.below
		}
		return bare(stream)
	}
	a.stdout, a.stderr = &overlay{a.screen, a.stdout}, &overlay{a.screen, a.stderr}
}

// draw shows text as the line, once nothing else was written for so long.
func (s *screen) draw(text string, silence time.Duration) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.torn || time.Since(s.wrote) < silence {
		return
	}
	s.shown = true
	s.put("\r" + cut(oneLine(text), max(2, s.width()-1)) + "\x1b[K")
}

// clear takes the line away.
func (s *screen) clear() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.wipe()
}

func (s *screen) wipe() {
	if s.shown {
		s.shown = false
		s.put("\r\x1b[K")
	}
}

// put writes to the terminal. When that is gone there is nobody left to tell.
func (s *screen) put(text string) { _, _ = io.WriteString(s.terminal, text) }

// overlay is a stream that may end on the screen.
type overlay struct {
	screen *screen
	below  io.Writer
}

func (o *overlay) Write(p []byte) (int, error) {
	o.screen.mu.Lock()
	defer o.screen.mu.Unlock()
	o.screen.wipe()
	n, err := o.below.Write(p)
	if len(p) > 0 {
		o.screen.torn, o.screen.wrote = !bytes.HasSuffix(p, []byte("\n")), time.Now()
	}
	return n, err
}

// widthOf is how many characters a line of the terminal has.
func widthOf(stream any) int {
	width, _ := sizeOf(stream)
	return width
}

// sizeOf is the columns and rows of a terminal; those of the first ones when it does not tell.
func sizeOf(stream any) (columns, rows int) {
	if file, ok := stream.(*os.File); ok {
		if size, err := unix.IoctlGetWinsize(int(file.Fd()), unix.TIOCGWINSZ); err == nil && size.Col > 0 && size.Row > 0 {
			return int(size.Col), int(size.Row)
		}
	}
	return 80, 24
}

// clip is cut for a text with colors in it: they do not count.
func clip(text string, most int) string {
	var b bytes.Buffer
	for width := 0; text != "" && width < most; {
		if text[0] == '\x1b' {
			end := bytes.IndexByte([]byte(text), 'm')
			if end < 0 {
				break
			}
			b.WriteString(text[:end+1])
			text = text[end+1:]
			continue
		}
		_, size := utf8.DecodeRuneInString(text)
		b.WriteString(text[:size])
		text, width = text[size:], width+1
	}
	if bytes.IndexByte(b.Bytes(), '\x1b') >= 0 {
		b.WriteString("\x1b[0m")
	}
	return b.String()
}
