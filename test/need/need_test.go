package need

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// probe stands in for a test and keeps its fate. Skipf and Fatalf end a real test's goroutine; here they panic.
type probe struct {
	testing.TB
	fate string
}

type ended struct{}

func (p *probe) Helper()               {}
func (p *probe) Name() string          { return "TestProbe" }
func (p *probe) Skipf(string, ...any)  { p.fate = "skipped"; panic(ended{}) }
func (p *probe) Fatalf(string, ...any) { p.fate = "failed"; panic(ended{}) }

func fate(t *testing.T, f func(testing.TB)) (fate string) {
	t.Helper()
	p := &probe{TB: t, fate: "went on"}
	defer func() {
		if r := recover(); r != nil && r != (ended{}) {
			panic(r)
		}
		fate = p.fate
	}()
	f(p)
	return p.fate
}

func TestAbsenceSkipsUnlessPromised(t *testing.T) {
	absent := func(tb testing.TB) { Tool(tb, "no-such-program-anywhere") }
	present := func(tb testing.TB) { Tool(tb, "go") }
	for _, c := range []struct {
		name, promise, want string
		f                   func(testing.TB)
	}{
		{"absent on a newcomer's machine", "", "skipped", absent},
		{"absent where promised", "1", "failed", absent},
		{"present on a newcomer's machine", "", "went on", present},
		{"present where promised", "1", "went on", present},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Setenv(promised, c.promise)
			t.Setenv(skips, filepath.Join(t.TempDir(), "skips"))
			if got := fate(t, c.f); got != c.want {
				t.Errorf("got %s, want %s", got, c.want)
			}
		})
	}
}

func TestReasonsOfSkipsAreKept(t *testing.T) {
	path := filepath.Join(t.TempDir(), "skips")
	t.Setenv(promised, "")
	t.Setenv(skips, path)
	for range 2 {
		fate(t, func(tb testing.TB) { That(tb, false, "a second moon") })
	}
	got, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if want := strings.Repeat("TestProbe needs a second moon\n", 2); string(got) != want {
		t.Errorf("got %q, want %q", got, want)
	}
}
