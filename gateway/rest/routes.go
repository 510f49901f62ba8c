package rest

import (
	"fmt"
	"net/url"

	"github.com/gin-gonic/gin"

	"slotd/gateway/ask"
	"slotd/messages"
)

// routes builds the table of everything this server answers.
func (s *Server) routes() *gin.Engine {
	gin.SetMode(gin.ReleaseMode)
	engine := gin.New()
	engine.UseEscapedPath = true
	engine.UnescapePathValues = false // pathValue does it: gin would turn + into a space
	engine.RedirectTrailingSlash = false
	engine.HandleMethodNotAllowed = true
	engine.Use(s.observe, s.checkOrigin, s.authorize)
	engine.NoRoute(s.unknownRoute)
	engine.NoMethod(s.wrongMethod)

	get := func(group *gin.RouterGroup, path string, handle func(*gin.Context)) {
		group.GET(path, s.takeNoBody, handle)
		group.HEAD(path, s.takeNoBody, handle)
	}
	root := &engine.RouterGroup
	get(root, "/healthz", s.health)
	get(root, "/readyz", s.readiness)
	get(root, "/version", s.version)
	get(root, "/openapi.json", s.openAPI)
	get(root, "/docs", s.reference)
	get(root, "/docs/:asset", s.referenceAsset)

	api := root.Group("/api/v1")
	api.POST("/tasks", s.submit)
	api.POST("/tasks/batch", s.submitBatch)
	get(api, "/tasks", s.list)
	get(api, "/tasks/", s.blankID)
	get(api, "/tasks/:id", s.task)
	get(api, "/tasks/:id/runs", s.runs)
	api.GET("/tasks/:id/logs", s.takeNoBody, s.logs)
	api.POST("/tasks/:id/cancel", s.takeNoBody, s.cancel)
	api.DELETE("/tasks/", s.takeNoBody, s.blankID)
	api.DELETE("/tasks/:id", s.takeNoBody, s.remove)
	get(api, "/slots", s.slots)
	get(api, "/slots/:slot", s.slot)
	api.POST("/slots/:slot/purge", s.takeNoBody, s.purge)
	api.GET("/events", s.takeNoBody, s.events)
	api.HEAD("/events", s.takeNoBody, s.lastEvent)
	get(api, "/nodes", s.nodes)
	get(api, "/introspection", s.introspect)
	return engine
}

func (s *Server) unknownRoute(c *gin.Context) {
	s.refuse(c, messages.LabelNotFound, fmt.Sprintf("there is nothing at %s; tasks are at /api/v1/tasks", shortPath(c)))
}

func (s *Server) wrongMethod(c *gin.Context) {
	s.refuse(c, messages.LabelMethodNotAllowed, fmt.Sprintf("%s is not a method of %s; use one of %s",
		quoted(c.Request.Method), shortPath(c), c.Writer.Header().Get("Allow")))
}

func (s *Server) blankID(c *gin.Context) {
	s.fail(c, ask.TaskID(""))
}

// taskID returns the id in the path, or refuses the request. An id that is not well formed is unknown like any other.
func (s *Server) taskID(c *gin.Context) (string, bool) {
	id := pathValue(c, "id")
	if err := ask.TaskID(id); err != nil {
		s.fail(c, err)
		return "", false
	}
	return id, true
}

// slotName returns the slot in the path, or refuses the request.
func (s *Server) slotName(c *gin.Context) (string, bool) {
	name := pathValue(c, "slot")
	if err := messages.ValidateSlot(name); err != nil {
		s.fail(c, err)
		return "", false
	}
	return name, true
}

func pathValue(c *gin.Context, name string) string {
	escaped := c.Param(name)
	if value, err := url.PathUnescape(escaped); err == nil {
		return value
	}
	return escaped
}

// shortPath is the request's path as far as it fits a sentence.
func shortPath(c *gin.Context) string {
	const most = 100
	path := c.Request.URL.EscapedPath()
	if len(path) > most {
		return path[:most] + "…"
	}
	return path
}
