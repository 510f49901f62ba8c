package rest

import (
	"bytes"
	"compress/gzip"
	"embed"
	"fmt"
	"io"
	"net/http"
	"path"
	"strings"

	"github.com/gin-gonic/gin"

	"slotd/messages"
)

// referenceFiles is a page that renders /openapi.json in the browser, and the renderer: swagger-ui-dist 5.35.0 of the npm
// registry, its two files compressed with gzip -9n and otherwise as they were published. Nothing on the page comes from
// another server, so it works where there is none.
//
//go:embed reference
var referenceFiles embed.FS

// referencePolicy lets the page use what this server serves. The renderer has images inside its style sheet (data:).
const referencePolicy = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; " +
	"base-uri 'none'; form-action 'none'; frame-ancestors 'none'"

// referenceKinds are the content types by the ending of the name.
var referenceKinds = map[string]string{
	".html": "text/html; charset=utf-8", ".js": "text/javascript; charset=utf-8", ".css": "text/css; charset=utf-8", ".txt": "text/plain; charset=utf-8",
}

func (s *Server) reference(c *gin.Context) { s.referenceFile(c, "page.html") }

func (s *Server) referenceAsset(c *gin.Context) {
	name := pathValue(c, "asset")
	if name == "page.html" || path.Base(name) != name || referenceKinds[path.Ext(name)] == "" {
		s.unknownRoute(c)
		return
	}
	s.referenceFile(c, name)
}

func (s *Server) referenceFile(c *gin.Context, name string) {
	if err := newQuery(c.Request).err(); err != nil {
		s.fail(c, err)
		return
	}
	file, packed, ok := openReference(name)
	if !ok {
		s.refuse(c, messages.LabelNotFound, fmt.Sprintf("there is nothing at %s; the reference is at /docs", shortPath(c)))
		return
	}
	header := c.Writer.Header()
	header.Set("Content-Security-Policy", referencePolicy)
	header.Set("Referrer-Policy", "no-referrer")
	header.Set("Vary", "Accept-Encoding")
	etag := file.etag
	unpack := packed && !takesGzip(c.Request)
	if unpack {
		etag = strings.TrimSuffix(etag, `"`) + `-plain"`
	}
	if s.unchanged(c, etag) {
		return
	}
	body := file.body
	switch {
	case unpack:
		plain, err := unpacked(body)
		if err != nil {
			s.fail(c, fmt.Errorf("%s: %w", name, err))
			return
		}
		body = plain
	case packed:
		header.Set("Content-Encoding", "gzip")
	}
	header.Set("Content-Type", referenceKinds[path.Ext(name)])
	s.writeBody(c, http.StatusOK, body)
}

// openReference reads a file, packed if that is how it is kept.
func openReference(name string) (file content, packed, ok bool) {
	for _, ending := range []string{"", ".gz"} {
		if body, err := referenceFiles.ReadFile("reference/" + name + ending); err == nil {
			return newContent(body), ending != "", true
		}
	}
	return content{}, false, false
}

func unpacked(body []byte) ([]byte, error) {
	r, err := gzip.NewReader(bytes.NewReader(body))
	if err != nil {
		return nil, err
	}
	return io.ReadAll(r)
}

// takesGzip says whether the client takes gzip. One that weighs its encodings gets the plain text: it is always right.
func takesGzip(r *http.Request) bool {
	for _, header := range r.Header.Values("Accept-Encoding") {
		for coding := range strings.SplitSeq(header, ",") {
			if strings.TrimSpace(coding) == "gzip" {
				return true
			}
		}
	}
	return false
}
