package client

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
)

// TLS says whom to trust and who to be at an https address. Other addresses ignore it. The zero value trusts the
// authorities of the system and shows no certificate.
type TLS struct {
	// CAFile has the certificates, PEM, of the authorities to trust instead of the system's.
	CAFile string

	// CertFile and KeyFile are the certificate and the key, PEM, that are shown to a daemon which asks for one; both or
	// none. They are read for each new connection, so they may be replaced.
	CertFile, KeyFile string

	// ServerName is the name that the daemon's certificate must have, when it is not the host of the address.
	ServerName string

	// InsecureSkipVerify talks to whoever answers, and gives the token to anybody on the way. For tests.
	InsecureSkipVerify bool
}

func (t TLS) config() (*tls.Config, error) {
	cfg := &tls.Config{
		MinVersion:         tls.VersionTLS12,
		ServerName:         t.ServerName,
		InsecureSkipVerify: t.InsecureSkipVerify, //nolint:gosec // asked for by that name
	}
	if t.CAFile != "" {
		pem, err := os.ReadFile(t.CAFile)
		if err != nil {
			return nil, fmt.Errorf("CA file: %w", err)
		}
		cfg.RootCAs = x509.NewCertPool()
		if !cfg.RootCAs.AppendCertsFromPEM(pem) {
			return nil, fmt.Errorf("CA file %s: has no certificate; PEM is expected", t.CAFile)
		}
	}
	if (t.CertFile == "") != (t.KeyFile == "") {
		return nil, errors.New("client certificate: the certificate and its key belong together; give both files")
	}
	if t.CertFile == "" {
		return cfg, nil
	}
	if _, err := t.certificate(nil); err != nil {
		return nil, err
	}
	cfg.GetClientCertificate = t.certificate
	return cfg, nil
}

func (t TLS) certificate(*tls.CertificateRequestInfo) (*tls.Certificate, error) {
	pair, err := tls.LoadX509KeyPair(t.CertFile, t.KeyFile)
	if err != nil {
		return nil, fmt.Errorf("client certificate: %w", err)
	}
	return &pair, nil
}

// mistrust says whether err is the end of a TLS handshake that another attempt would not change, and why it failed.
func mistrust(err error) (why error, ok bool) {
	if untrusted, ok := errors.AsType[*tls.CertificateVerificationError](err); ok {
		return untrusted, true
	}
	if alert, ok := errors.AsType[*net.OpError](err); ok && alert.Op == "remote error" { // as crypto/tls marks an alert
		return fmt.Errorf("the daemon ended the TLS handshake: %w", alert.Err), true
	}
	if errors.Is(err, http.ErrSchemeMismatch) {
		return errors.New("it speaks plain http, not https"), true
	}
	if _, ok := errors.AsType[tls.RecordHeaderError](err); ok {
		return err, true
	}
	return nil, false
}
