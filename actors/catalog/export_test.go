package catalog

// Waiting is the number of tasks that somebody waits for.
func (c *Catalog) Waiting() int {
	c.mu.RLock()
	defer c.mu.RUnlock()
	return len(c.waiting)
}
