package actors

import "github.com/asynkron/protoactor-go/actor"

// StartWith is Start with options for all actors of the node: the middleware with which tests look on, or let actors
// fail.
func StartWith(cfg Config, options ...actor.PropsOption) (*Tree, error) {
	return start(cfg, options...)
}
