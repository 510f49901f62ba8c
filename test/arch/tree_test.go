package arch

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"slotd/test/need"
)

// root is the repository, seen from this folder.
const root = "../.."

// files lists the work tree, slash-separated and relative to the root.
func files(t *testing.T) []string {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), need.Tool(t, "git"), "-C", root, "ls-files", "-z", "--cached", "--others", "--exclude-standard")
	out, err := cmd.Output()
	need.That(t, err == nil, "a git work tree")
	var paths []string
	for path := range strings.SplitSeq(strings.TrimSuffix(string(out), "\x00"), "\x00") {
		if _, err := os.Stat(filepath.Join(root, path)); err == nil { // a deleted file is listed until it is committed
			paths = append(paths, path)
		}
	}
	slices.Sort(paths)
	paths = slices.Compact(paths)
	if len(paths) < 20 {
		t.Fatalf("git lists only %d files", len(paths))
	}
	return paths
}

func read(t *testing.T, path string) []byte {
	t.Helper()
	data, err := os.ReadFile(filepath.Join(root, path))
	if err != nil {
		t.Fatal(err)
	}
	return data
}

var generatedMark = regexp.MustCompile(`(?m)^// Code generated .* DO NOT EDIT\.$`)

func TestTopLevelIsFixed(t *testing.T) {
	allowed := []string{
		"actors", "cmd", "gateway", "messages", "test",
		".ci", ".dockerignore", ".gitattributes", ".gitignore", ".golangci.yml", "CHANGELOG.md", "CONTRIBUTING.md",
		"Dockerfile", "LICENSE", "Makefile", "README.md", "SECURITY.md", "go.mod", "go.sum",
	}
	for _, path := range files(t) {
		if top, _, _ := strings.Cut(path, "/"); !slices.Contains(allowed, top) {
			t.Errorf("%s: %s has no place at the top level", path, top)
		}
	}
}

// Data, recorded stories and prose may be long; what people read as code may not.
func TestNoCodeFileIsOver500Lines(t *testing.T) {
	code := []string{".go", ".proto", ".sh", ".js", ".css"}
	for _, path := range files(t) {
		if !slices.Contains(code, filepath.Ext(path)) {
			continue
		}
		data := read(t, path)
		if lines := bytes.Count(data, []byte("\n")); lines > 500 && !generatedMark.Match(data) {
			t.Errorf("%s has %d lines: one idea a file", path, lines)
		}
	}
}

// The brackets keep the patterns from matching themselves.
func TestNoFileTalksOfWhereItWasMade(t *testing.T) {
	forbidden := map[string]*regexp.Regexp{
		"a path of one machine":                       regexp.MustCompile(`/[w]ork/|/[f]arm/|/[r]oot/go|/[.]library\b`),
		"a number of a tracker":                       regexp.MustCompile(`(?i)\b[i]ssue #?[0-9]+\b`),
		"a page outside the tree":                     regexp.MustCompile(`\b(CONTRACT|DESIGN|STYLE|FIELD|PROTOACTOR)[.]md\b`),
		"something left for later":                    regexp.MustCompile(`\b([T]ODO|[F]IXME|[X]XX|[H]ACK)\b`),
		"who or what typed it":                        regexp.MustCompile(`(?i)\b([c]hatgpt|[c]laude|[c]opilot|[A]I[- ](generated|written|assisted)|language [m]odel)\b`),
		"a linter that was silenced without a reason": regexp.MustCompile(`//[n]olint(:[a-z,]+)?\s*$`),
	}
	for _, path := range files(t) {
		if path == "go.sum" {
			continue
		}
		data := read(t, path)
		if bytes.IndexByte(data, 0) >= 0 {
			continue // not text
		}
		n := 0
		for line := range bytes.Lines(data) {
			n++
			for what, pattern := range forbidden {
				if hit := pattern.Find(bytes.TrimSpace(line)); hit != nil {
					t.Errorf("%s:%d: %q is %s", path, n, hit, what)
				}
			}
		}
	}
}
