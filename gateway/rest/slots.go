package rest

import (
	"net/http"

	"github.com/gin-gonic/gin"

	slotdv1 "slotd/messages/slotd/v1"
)

func (s *Server) slots(c *gin.Context) {
	if err := newQuery(c.Request).err(); err != nil {
		s.fail(c, err)
		return
	}
	s.answer(c, http.StatusOK, &slotdv1.ListSlotsResponse{Slots: s.deps.Reader.Slots()})
}

func (s *Server) slot(c *gin.Context) {
	name, ok := s.slotName(c)
	if !ok {
		return
	}
	if err := newQuery(c.Request).err(); err != nil {
		s.fail(c, err)
		return
	}
	s.answer(c, http.StatusOK, &slotdv1.GetSlotResponse{Slot: s.deps.Reader.Slot(name)})
}

// purge answers with the ids of the tasks that it cancelled.
func (s *Server) purge(c *gin.Context) {
	name, ok := s.slotName(c)
	if !ok {
		return
	}
	q := newQuery(c.Request, "holder")
	holder, _ := q.boolean("holder")
	err := q.err()
	var ids []string
	if err == nil {
		ids, err = s.deps.Registry.PurgeSlot(c.Request.Context(), name, holder)
	}
	if err != nil {
		s.fail(c, err)
		return
	}
	s.answer(c, http.StatusOK, &slotdv1.PurgeSlotTasksResponse{TaskIds: ids})
}
