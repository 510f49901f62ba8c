//go:build !failpoints

package failpoint

// Enabled says that the program was built with fail-points.
const Enabled = false

// Hit does nothing.
func Hit(string) {}
