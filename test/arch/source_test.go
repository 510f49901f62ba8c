package arch

import (
	"go/ast"
	"go/parser"
	"go/token"
	"path"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// source is one Go file that a person wrote.
type source struct {
	path string
	ast  *ast.File
	fset *token.FileSet
}

// sources are the Go files of the work tree without generated ones and without tests.
func sources(t *testing.T) []source {
	t.Helper()
	return parse(t, func(p string) bool { return !strings.HasSuffix(p, "_test.go") })
}

// tests are the test files of the work tree.
func tests(t *testing.T) []source {
	t.Helper()
	return parse(t, func(p string) bool { return strings.HasSuffix(p, "_test.go") })
}

func parse(t *testing.T, wanted func(path string) bool) []source {
	t.Helper()
	var all []source
	for _, p := range files(t) {
		if path.Ext(p) != ".go" || !wanted(p) {
			continue
		}
		fset := token.NewFileSet()
		file, err := parser.ParseFile(fset, p, read(t, p), parser.ParseComments|parser.SkipObjectResolution)
		if err != nil {
			t.Fatal(err)
		}
		if !ast.IsGenerated(file) {
			all = append(all, source{path: p, ast: file, fset: fset})
		}
	}
	if len(all) == 0 {
		t.Fatal("no Go file at all")
	}
	return all
}

func (s source) imports() []string {
	var paths []string
	for _, spec := range s.ast.Imports {
		p, err := strconv.Unquote(spec.Path.Value)
		if err != nil {
			panic(err) // it was parsed
		}
		paths = append(paths, p)
	}
	return paths
}

// selectors yields every X.Sel with its line.
func (s source) selectors(yield func(x, sel string, line int)) {
	ast.Inspect(s.ast, func(n ast.Node) bool {
		if sel, ok := n.(*ast.SelectorExpr); ok {
			x := ""
			if ident, ok := sel.X.(*ast.Ident); ok {
				x = ident.Name
			}
			yield(x, sel.Sel.Name, s.fset.Position(sel.Pos()).Line)
		}
		return true
	})
}

// locks are the folders of actors/ whose state is read from any goroutine; of actortest, by the tests that watch actors.
var locks = []string{"actors/logs", "actors/catalog", "actors/events", "actors/store", "actors/actortest"}

// lockExceptions are files of actors/ elsewhere that hold a lock, each with the reason why no actor can own the state.
var lockExceptions = map[string]string{
	"actors/failpoint/on.go": "points are hit from any goroutine; built for tests only",
}

func TestActorsHoldNoLocks(t *testing.T) {
	used := make(map[string]bool)
	for _, file := range sources(t) {
		if !within(file.path, "actors") || within(file.path, locks...) {
			continue
		}
		file.selectors(func(x, sel string, line int) {
			if x != "sync" || sel != "Mutex" && sel != "RWMutex" && sel != "Map" && sel != "Cond" {
				return
			}
			used[file.path] = true
			if lockExceptions[file.path] == "" {
				t.Errorf("%s:%d: sync.%s: state in actors/ has one owner", file.path, line, sel)
			}
		})
	}
	for file := range lockExceptions {
		if !used[file] {
			t.Errorf("%s holds no lock any more: take it off the list", file)
		}
	}
}

// Whatever skips by itself is a promise that can be lost without anyone noticing.
func TestOnlyNeedSkips(t *testing.T) {
	skipping := []string{"Skip", "Skipf", "SkipNow"}
	for _, file := range append(tests(t), sources(t)...) {
		if within(file.path, "test/need") {
			continue
		}
		file.selectors(func(_, sel string, line int) {
			if slices.Contains(skipping, sel) {
				t.Errorf("%s:%d: %s: say what is missing with package need", file.path, line, sel)
			}
		})
	}
	skip := regexp.MustCompile(`(?m)^\s*(\[[^]]*\]\s*)*skip\b`)
	for _, p := range files(t) {
		if ext := path.Ext(p); within(p, "test") && (ext == ".txt" || ext == ".txtar") {
			if hit := skip.Find(read(t, p)); hit != nil {
				t.Errorf("%s: %q: say what is missing with package need", p, hit)
			}
		}
	}
}

// A test that sleeps is slow when it passes and wrong when it fails. Inside a synctest bubble sleeping moves the clock.
func TestTestsDoNotSleepOutsideABubble(t *testing.T) {
	for _, file := range tests(t) {
		if slices.Contains(file.imports(), "testing/synctest") {
			continue
		}
		file.selectors(func(x, sel string, line int) {
			if x == "time" && sel == "Sleep" {
				t.Errorf("%s:%d: time.Sleep: wait on a condition with a deadline", file.path, line)
			}
		})
	}
}

// One word per thing: these have another one here, or say nothing.
func TestNamesUseTheWordsOfTheProject(t *testing.T) {
	forbidden := []string{"job", "jobs", "worker", "workers", "manager", "helper", "helpers", "util", "utils", "common", "impl", "misc"}
	check := func(where, name string) {
		for _, word := range words(name) {
			if slices.Contains(forbidden, word) {
				t.Errorf("%s: %q says %q", where, name, word)
			}
		}
	}
	for _, file := range sources(t) {
		check(file.path, strings.TrimSuffix(path.Base(file.path), ".go"))
		check(file.path, file.ast.Name.Name)
		for _, decl := range file.ast.Decls {
			where := file.fset.Position(decl.Pos()).String()
			switch decl := decl.(type) {
			case *ast.FuncDecl:
				check(where, decl.Name.Name)
			case *ast.GenDecl:
				for _, spec := range decl.Specs {
					if spec, ok := spec.(*ast.TypeSpec); ok {
						check(where, spec.Name.Name)
					}
				}
			}
		}
	}
}

var word = regexp.MustCompile(`[A-Z]+[a-z0-9]*|[a-z0-9]+`)

// words splits a name where its case changes and at underscores, in lower case.
func words(name string) []string {
	return strings.Fields(strings.ToLower(strings.Join(word.FindAllString(name, -1), " ")))
}
