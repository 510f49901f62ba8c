// Package auth says who a client is and what it may do.
package auth

import (
	"context"
	"fmt"
)

// Role is what a client may do. Each role may do all that the ones before it may.
type Role uint8

// The roles, from the weakest: nothing; look, without values of environments; submit and stop tasks; everything.
const (
	None Role = iota
	Read
	Submit
	Admin
)

var roleNames = [...]string{None: "none", Read: "read", Submit: "submit", Admin: "admin"}

// String implements fmt.Stringer.
func (r Role) String() string {
	if int(r) < len(roleNames) {
		return roleNames[r]
	}
	return fmt.Sprintf("role(%d)", uint8(r))
}

// ParseRole reads read, submit or admin.
func ParseRole(s string) (Role, error) {
	for r := Read; r <= Admin; r++ {
		if roleNames[r] == s {
			return r, nil
		}
	}
	return None, fmt.Errorf("role %q: must be one of read, submit, admin", s)
}

// May says whether the role is enough for what needs another one.
func (r Role) May(needed Role) bool { return r >= needed }

// Identity is a client that is known.
type Identity struct {
	Name string // for the log; never a secret
	Role Role
}

type identityKey struct{}

// With returns a context of a request by id.
func With(ctx context.Context, id Identity) context.Context {
	return context.WithValue(ctx, identityKey{}, id)
}

// From returns who sends the request of a context. Where nobody asked, it may do nothing.
func From(ctx context.Context) Identity {
	id, _ := ctx.Value(identityKey{}).(Identity)
	return id
}
