package task

import (
	"fmt"
	"os"
	"strings"
	"testing"
)

// TestArchitecturePageShowsTheEdges keeps the page's picture of this machine true.
func TestArchitecturePageShowsTheEdges(t *testing.T) {
	page, err := os.ReadFile("../ARCHITECTURE.md")
	if err != nil {
		t.Fatal(err)
	}
	var table strings.Builder
	for from := range Finished {
		var to []string
		for _, p := range edges[from] {
			to = append(to, p.String())
		}
		fmt.Fprintf(&table, "%-8s → %s\n", from, strings.Join(to, ", "))
	}
	if !strings.Contains(string(page), "```\n"+table.String()+"```\n") {
		t.Errorf("ARCHITECTURE.md lacks this table:\n%s", table.String())
	}
}
