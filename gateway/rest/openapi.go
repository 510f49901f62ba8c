package rest

import (
	"crypto/sha256"
	_ "embed"
	"encoding/hex"
	"fmt"
	"net/http"

	"github.com/gin-gonic/gin"
	"sigs.k8s.io/yaml"
)

// openAPI describes every route of this server. It is written by hand; tests hold it and the server together.
//
//go:embed openapi.yaml
var openAPI []byte

// content is something that does not change while the server lives.
type content struct {
	body []byte
	etag string
}

func newContent(body []byte) content {
	sum := sha256.Sum256(body)
	return content{body, `"` + hex.EncodeToString(sum[:16]) + `"`}
}

// openAPIJSON is the document as it is served.
func openAPIJSON() (content, error) {
	body, err := yaml.YAMLToJSON(openAPI)
	if err != nil {
		return content{}, fmt.Errorf("openapi.yaml: %w", err)
	}
	return newContent(body), nil
}

// openAPI answers with the description of this server.
func (s *Server) openAPI(c *gin.Context) {
	if err := newQuery(c.Request).err(); err != nil {
		s.fail(c, err)
		return
	}
	document, err := s.document()
	if err != nil {
		s.fail(c, err)
		return
	}
	if s.unchanged(c, document.etag) {
		return
	}
	s.writeJSON(c, http.StatusOK, document.body)
}

// unchanged sets the ETag, and answers when If-None-Match names it.
func (s *Server) unchanged(c *gin.Context, etag string) bool {
	c.Header("ETag", etag)
	if !namesTag(c.Request.Header.Values("If-None-Match"), etag) {
		return false
	}
	s.answerEmpty(c, http.StatusNotModified)
	return true
}
