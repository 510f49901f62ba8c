package rest

import (
	"net/http"
	"strings"
	"testing"

	"slotd/gateway/auth"
)

// Without a role a route is for nobody but admin, which nobody would notice before a token with a lesser one is used.
func TestEveryRouteSaysWhichRoleItNeeds(t *testing.T) {
	routes := new(Server).routes().Routes()
	if len(routes) < 20 {
		t.Fatalf("only %d routes", len(routes))
	}
	for _, r := range routes {
		method := r.Method
		if method == http.MethodHead {
			method = http.MethodGet
		}
		role, ok := needs[r.Path][method]
		if !ok {
			t.Errorf("%s %s has no role in roles.go", r.Method, r.Path)
		}
		if open := !strings.HasPrefix(r.Path, "/api/"); open != (role == auth.None) {
			t.Errorf("%s %s needs %v", r.Method, r.Path, role)
		}
		if got := roleOf(r.Method, r.Path); got != role {
			t.Errorf("%s %s is checked for %v, and needs %v", r.Method, r.Path, got, role)
		}
		if changes := method != http.MethodGet; changes != (role == auth.Submit) {
			t.Errorf("%s %s needs %v", r.Method, r.Path, role)
		}
	}
	if got := roleOf(http.MethodGet, "/api/v1/new"); got != auth.Admin {
		t.Errorf("a route without a role needs %v, want admin", got)
	}
}
