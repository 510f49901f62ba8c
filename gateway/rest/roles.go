package rest

import (
	"net/http"

	"slotd/gateway/auth"
)

// needs is the role that each route needs, by its pattern and method; HEAD is as GET. A route that is missing here is
// for nobody but admin, and fails a test.
//
// A purge needs no more than submit: whoever may cancel each task of a slot may cancel all of them.
var needs = map[string]map[string]auth.Role{
	"/healthz": {http.MethodGet: auth.None},
	"/readyz":  {http.MethodGet: auth.None},
	"/version": {http.MethodGet: auth.None},

	"/openapi.json": {http.MethodGet: auth.None}, // a browser sends no token for a page, and these are the same everywhere
	"/docs":         {http.MethodGet: auth.None},
	"/docs/:asset":  {http.MethodGet: auth.None},

	"/api/v1/tasks":            {http.MethodGet: auth.Read, http.MethodPost: auth.Submit},
	"/api/v1/tasks/":           {http.MethodGet: auth.Read, http.MethodDelete: auth.Submit},
	"/api/v1/tasks/batch":      {http.MethodPost: auth.Submit},
	"/api/v1/tasks/:id":        {http.MethodGet: auth.Read, http.MethodDelete: auth.Submit},
	"/api/v1/tasks/:id/runs":   {http.MethodGet: auth.Read},
	"/api/v1/tasks/:id/logs":   {http.MethodGet: auth.Read},
	"/api/v1/tasks/:id/cancel": {http.MethodPost: auth.Submit},

	"/api/v1/slots":             {http.MethodGet: auth.Read},
	"/api/v1/slots/:slot":       {http.MethodGet: auth.Read},
	"/api/v1/slots/:slot/purge": {http.MethodPost: auth.Submit},

	"/api/v1/events":        {http.MethodGet: auth.Read},
	"/api/v1/nodes":         {http.MethodGet: auth.Read},
	"/api/v1/introspection": {http.MethodGet: auth.Read},
}

// roleOf is the role that a request needs; none where no route was found.
func roleOf(method, pattern string) auth.Role {
	if pattern == "" {
		return auth.None
	}
	if method == http.MethodHead {
		method = http.MethodGet
	}
	if role, ok := needs[pattern][method]; ok {
		return role
	}
	return auth.Admin
}
