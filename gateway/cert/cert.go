// Package cert keeps the certificates of a server: it reads them from files, hands them to TLS handshakes, and takes new
// ones when the files change, without a restart and without touching connections that are open.
//
// New files that make no sense change nothing: the certificate that was sound goes on being used, and the log says why.
// A certificate and its key are replaced by two writes; a handshake between them meets a pair that does not match, and
// gets the old one.
package cert

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"github.com/hashicorp/go-hclog"
)

// checkPeriod is how often handshakes look whether the files have changed, at most.
const checkPeriod = time.Second

// Files are what a keeper reads, all in PEM.
type Files struct {
	Cert string // the server's certificate, and those up to its authority
	Key  string // its private key
	CA   string // authorities of client certificates; empty = clients need none
}

// Keeper holds the certificates that were sound when they were last read. Its methods may be called from any goroutine.
type Keeper struct {
	files  Files
	logger hclog.Logger
	now    func() time.Time

	current atomic.Pointer[tls.Config]
	checked atomic.Int64 // Unix ns: when the files were last looked at
	mu      sync.Mutex   // one reads at a time
	seen    [3]stamp     // the files as they were when they were last read, sound or not
}

// Open reads the files. Now is the clock that paces the looking.
func Open(files Files, now func() time.Time, logger hclog.Logger) (*Keeper, error) {
	k := &Keeper{files: files, now: now, logger: logger}
	k.checked.Store(now().UnixNano())
	return k, k.Reload()
}

// Config returns the configuration of a server that offers these protocols, the best first. Each handshake takes what
// holds then.
func (k *Keeper) Config(protocols ...string) *tls.Config {
	var last atomic.Pointer[offered]
	return &tls.Config{
		MinVersion: tls.VersionTLS12,
		NextProtos: protocols,
		GetConfigForClient: func(*tls.ClientHelloInfo) (*tls.Config, error) {
			k.check()
			base := k.current.Load()
			if o := last.Load(); o != nil && o.base == base {
				return o.config, nil
			}
			config := base.Clone()
			config.NextProtos = protocols
			last.Store(&offered{base: base, config: config})
			return config, nil
		},
	}
}

// offered is a configuration with its protocols, made once for each base.
type offered struct{ base, config *tls.Config }

// Reload reads the files again. On an error what held goes on holding.
func (k *Keeper) Reload() error {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.read(k.stamps())
}

// check reads the files again when they have changed. One handshake a period pays for it.
func (k *Keeper) check() {
	now, last := k.now().UnixNano(), k.checked.Load()
	if now-last < int64(checkPeriod) || !k.checked.CompareAndSwap(last, now) {
		return
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	stamps := k.stamps()
	if stamps == k.seen {
		return
	}
	if err := k.read(stamps); err != nil {
		k.logger.Error("the new certificate is not usable, the old one stays in use", "error", err)
		return
	}
	k.logger.Info("the certificate was read again", "path", k.files.Cert)
}

func (k *Keeper) read(stamps [3]stamp) error {
	k.seen = stamps
	config, err := k.files.load()
	if err != nil {
		return err
	}
	if stamps[1].mode.Perm()&0o007 != 0 {
		k.logger.Warn("every user may read the private key; its mode should be 0600", "path", k.files.Key)
	}
	k.current.Store(config)
	return nil
}

// load reads the files into a configuration.
func (f Files) load() (*tls.Config, error) {
	pair, err := tls.LoadX509KeyPair(f.Cert, f.Key)
	if err != nil {
		if path, ok := errors.AsType[*os.PathError](err); ok {
			return nil, fmt.Errorf("certificate: %w", path)
		}
		return nil, fmt.Errorf("certificate %s with key %s: %w", f.Cert, f.Key, err)
	}
	config := &tls.Config{MinVersion: tls.VersionTLS12, Certificates: []tls.Certificate{pair}}
	if f.CA == "" {
		return config, nil
	}
	text, err := os.ReadFile(f.CA)
	if err != nil {
		return nil, fmt.Errorf("client authorities: %w", err)
	}
	config.ClientCAs = x509.NewCertPool()
	if !config.ClientCAs.AppendCertsFromPEM(text) {
		return nil, fmt.Errorf("client authorities %s: no certificate in PEM", f.CA)
	}
	config.ClientAuth = tls.RequireAndVerifyClientCert
	// A ticket would let a client in again by an authority that has been taken away since.
	config.SessionTicketsDisabled = true
	return config, nil
}
