package auth

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"sync/atomic"
	"syscall"

	"github.com/hashicorp/go-hclog"
)

// maxFileBytes is far more than maxTokens lines need.
const maxFileBytes = 1 << 20

// File is a token file and what it said when it was last sound.
type File struct {
	path   string
	logger hclog.Logger
	tokens atomic.Pointer[Tokens]
}

// OpenFile reads a token file. It must be a regular file that nobody but its owner may change, and its owner must be this
// user or root: whoever can write it can make himself admin. One that others may read is taken with a warning, because
// hashes of random tokens tell nothing. It must hold at least one token.
func OpenFile(path string, logger hclog.Logger) (*File, error) {
	f := &File{path: path, logger: logger}
	return f, f.Reload()
}

// Tokens are those that hold now.
func (f *File) Tokens() *Tokens { return f.tokens.Load() }

// Reload reads the file again. On an error the tokens that held go on holding.
func (f *File) Reload() error {
	tokens, wide, err := readFile(f.path)
	if err != nil {
		return err
	}
	if wide {
		f.logger.Warn("other users may read the token file; it holds hashes only, but its mode should be 0600", "path", f.path)
	}
	f.tokens.Store(tokens)
	return nil
}

// readFile returns what a token file holds, and whether others may read it.
func readFile(path string) (t *Tokens, wide bool, err error) {
	f, err := os.OpenFile(path, os.O_RDONLY|syscall.O_NONBLOCK, 0) // a pipe must not make it wait
	if err != nil {
		return nil, false, fmt.Errorf("token file: %w", err)
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	if wide, err = checkFile(f); err != nil {
		return nil, false, err
	}
	if t, err = readTokens(f); err != nil {
		return nil, false, err
	}
	if t.Len() == 0 {
		return nil, false, fmt.Errorf("token file %s has no token, so nobody could use it; `slotd token create --role admin --file %s` makes one", path, path)
	}
	return t, wide, nil
}

func readTokens(f *os.File) (*Tokens, error) {
	text, err := io.ReadAll(io.LimitReader(f, maxFileBytes+1))
	if err != nil {
		return nil, fmt.Errorf("token file: %w", err)
	}
	if len(text) > maxFileBytes {
		return nil, fmt.Errorf("token file %s: has more than %d bytes", f.Name(), maxFileBytes)
	}
	t, err := parseTokens(text)
	if err != nil {
		return nil, fmt.Errorf("token file %s: %w", f.Name(), err)
	}
	return t, nil
}

// checkFile refuses a file that somebody else can change, and says whether somebody else can read it.
func checkFile(f *os.File) (wide bool, err error) {
	info, err := f.Stat()
	if err != nil {
		return false, fmt.Errorf("token file: %w", err)
	}
	if !info.Mode().IsRegular() {
		return false, fmt.Errorf("token file %s: is no regular file", f.Name())
	}
	if stat, ok := info.Sys().(*syscall.Stat_t); ok && stat.Uid != 0 && int(stat.Uid) != os.Geteuid() {
		return false, fmt.Errorf("token file %s: belongs to user %d, who could make himself admin; it must belong to the user who runs slotd, or to root", f.Name(), stat.Uid)
	}
	if mode := info.Mode().Perm(); mode&0o022 != 0 {
		return false, fmt.Errorf("token file %s: mode %04o lets other users change it, and so make themselves admin; chmod 600 it", f.Name(), mode)
	}
	dir, err := os.Stat(filepath.Dir(f.Name()))
	if err != nil {
		return false, fmt.Errorf("token file: %w", err)
	}
	if dir.Mode().Perm()&0o002 != 0 && dir.Mode()&fs.ModeSticky == 0 {
		return false, fmt.Errorf("token file %s: every user may replace files of its directory; chmod o-w the directory", f.Name())
	}
	return info.Mode().Perm()&0o044 != 0, nil
}

// Create adds a token to a token file, which it makes with mode 0600 when it is missing, and returns the token once its
// hash is on the disk. Nothing else ever has the token. A file that cannot be trusted, or that is broken, is left alone.
func Create(path string, role Role, name string) (token string, err error) {
	if err := ValidateName(name); err != nil {
		return "", err
	}
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE|os.O_APPEND|syscall.O_NONBLOCK, 0o600)
	if err != nil {
		return "", fmt.Errorf("token file: %w", err)
	}
	defer func() {
		if err = errors.Join(err, f.Close()); err != nil {
			token = ""
		}
	}()
	if err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX); err != nil {
		return "", fmt.Errorf("lock token file %s: %w", path, err)
	}
	if _, err := checkFile(f); err != nil {
		return "", err
	}
	known, err := readTokens(f)
	if err != nil {
		return "", err
	}
	if known.Len() == maxTokens {
		return "", fmt.Errorf("token file %s: has %d tokens, and takes no more; delete lines that nobody needs", path, maxTokens)
	}
	token, line := newToken(role, name)
	if err := appendLine(f, line); err != nil {
		return "", fmt.Errorf("token file: %w", err)
	}
	return token, syncDir(filepath.Dir(path))
}

// appendLine writes a line with one call, and first ends the last line when an editor has not.
func appendLine(f *os.File, line string) error {
	info, err := f.Stat()
	if err != nil {
		return err
	}
	text := []byte(line + "\n")
	if size := info.Size(); size > 0 {
		last := make([]byte, 1)
		if _, err := f.ReadAt(last, size-1); err != nil {
			return err
		}
		if !bytes.Equal(last, []byte("\n")) {
			text = append([]byte("\n"), text...)
		}
	}
	if _, err := f.Write(text); err != nil {
		return err
	}
	return f.Sync()
}

func syncDir(path string) error {
	dir, err := os.Open(path)
	if err != nil {
		return err
	}
	return errors.Join(dir.Sync(), dir.Close())
}
