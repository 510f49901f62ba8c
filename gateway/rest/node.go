package rest

import (
	"net/http"

	"github.com/gin-gonic/gin"

	"slotd/gateway/ask"
	"slotd/messages"
)

var healthy = []byte(`{"status":"ok"}`)

// health says that the process answers.
func (s *Server) health(c *gin.Context) {
	s.writeJSON(c, http.StatusOK, healthy)
}

// readiness says whether a submission would be taken.
func (s *Server) readiness(c *gin.Context) {
	if s.draining.Load() {
		s.fail(c, ask.ErrDraining)
		return
	}
	if err := s.deps.Reader.Ready(); err != nil {
		s.refuse(c, messages.LabelUnavailable, "the node is not ready: "+err.Error())
		return
	}
	s.writeJSON(c, http.StatusOK, healthy)
}

func (s *Server) version(c *gin.Context) {
	s.answer(c, http.StatusOK, s.deps.Version)
}

func (s *Server) introspect(c *gin.Context) {
	if err := newQuery(c.Request).err(); err != nil {
		s.fail(c, err)
		return
	}
	s.answer(c, http.StatusOK, s.deps.Reader.Introspect())
}
