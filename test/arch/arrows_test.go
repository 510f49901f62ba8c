package arch

import (
	"encoding/json"
	"errors"
	"io"
	"os/exec"
	"path"
	"slices"
	"strings"
	"testing"

	"slotd/test/need"
)

const module = "slotd"

// unit is what go list says of one package.
type unit struct {
	ImportPath, Dir, Name, Doc string
	GoFiles                    []string
	Imports                    []string
}

// room is the package's path inside the module: actors/slot.
func (u unit) room() string { return strings.TrimPrefix(u.ImportPath, module+"/") }

func units(t *testing.T) []unit {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), need.Tool(t, "go"), "list", "-C", root, "-json=ImportPath,Dir,Name,Doc,GoFiles,Imports", "./...")
	var stderr strings.Builder
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("go list: %v\n%s", err, stderr.String())
	}
	var all []unit
	for dec := json.NewDecoder(strings.NewReader(string(out))); ; {
		var u unit
		if err := dec.Decode(&u); errors.Is(err, io.EOF) {
			break
		} else if err != nil {
			t.Fatal(err)
		}
		all = append(all, u)
	}
	if len(all) < 4 {
		t.Fatalf("go list knows only %d packages", len(all))
	}
	return all
}

// within says whether a path is one of the rooms, or inside of one.
func within(p string, rooms ...string) bool {
	return slices.ContainsFunc(rooms, func(room string) bool { return p == room || strings.HasPrefix(p, room+"/") })
}

// layer says which rooms the packages of one room may import.
type layer struct {
	room string
	may  []string
}

// mayImport is the picture of the layers: the first row whose room holds the importer counts.
//
//	cmd/slotd ──► gateway ──► messages ◄── actors ◄── cmd/slotd
//	test ──► the binary and gateway/client; bench, faults and sim also actors
var mayImport = []layer{
	{"messages", []string{"messages"}},
	{"gateway", []string{"messages", "gateway"}},
	{"actors", []string{"messages", "actors"}},
	{"cmd", []string{"messages", "gateway", "actors", "cmd", "test/bench"}},                 // bench is a verb of the binary too
	{"test/bench", []string{"messages", "gateway/client", "gateway/ask", "actors", "test"}}, // it submits in process as the gateway does
	{"test/faults", []string{"messages", "gateway/client", "actors", "test"}},
	{"test/sim", []string{"messages", "actors", "test"}},
	{"test", []string{"messages", "gateway/client", "test"}},
}

// mustNotImport are libraries that stop at a layer.
var mustNotImport = []struct {
	room, dependency, why string
}{
	{"messages", "github.com/asynkron/protoactor-go", "the messages outlive the runtime"},
	{"messages", "github.com/gin-gonic/gin", "HTTP stops at the gateway"},
	{"actors", "github.com/gin-gonic/gin", "HTTP stops at the gateway"},
	{"actors", "net/http", "HTTP stops at the gateway"},
	{"cmd", "github.com/gin-gonic/gin", "HTTP stops at the gateway"},
}

func TestImportsFollowTheArrows(t *testing.T) {
	for _, u := range units(t) {
		i := slices.IndexFunc(mayImport, func(l layer) bool { return within(u.room(), l.room) })
		if i < 0 {
			t.Errorf("%s stands in no layer", u.ImportPath)
			continue
		}
		for _, imported := range u.Imports {
			if ours, ok := strings.CutPrefix(imported, module+"/"); ok && !within(ours, mayImport[i].may...) {
				t.Errorf("%s must not import %s", u.ImportPath, imported)
			}
			for _, rule := range mustNotImport {
				if within(u.room(), rule.room) && within(imported, rule.dependency) {
					t.Errorf("%s must not import %s: %s", u.ImportPath, imported, rule.why)
				}
			}
		}
	}
}

// A core decides from its arguments alone. Only the files actor*.go of its package talk to the runtime.
func TestCoresKnowNeitherRuntimeNorDiskNorNetwork(t *testing.T) {
	forbidden := []string{"github.com/asynkron/protoactor-go", "os", "net", "io", "log", "context", "sync", "crypto/rand", "github.com/hashicorp/go-hclog"}
	for _, file := range sources(t) {
		if !within(path.Dir(file.path), "actors/slot", "actors/task") || strings.HasPrefix(path.Base(file.path), "actor") {
			continue
		}
		for _, imported := range file.imports() {
			if within(imported, forbidden...) {
				t.Errorf("%s must not import %s: a core does no I/O and starts nothing", file.path, imported)
			}
		}
	}
}

func TestEveryPackageSaysWhatItIs(t *testing.T) {
	written := make(map[string]bool) // by folder: some file of it was typed by a person
	for _, file := range sources(t) {
		written[path.Dir(file.path)] = true
	}
	for _, u := range units(t) {
		if !written[u.room()] || len(u.GoFiles) == 0 {
			continue // generated, and described in its .proto; or tests only
		}
		want := "Package " + u.Name + " "
		if u.Name == "main" {
			want = "Command " + path.Base(u.room()) + " "
		}
		if !strings.HasPrefix(u.Doc, want) {
			t.Errorf("the doc of %s does not begin with %q: %q", u.ImportPath, want, u.Doc)
		}
	}
}
