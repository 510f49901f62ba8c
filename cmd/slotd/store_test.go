package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"slotd/actors/store"
	"slotd/actors/store/pebble"
	"slotd/messages"
	slotdv1 "slotd/messages/slotd/v1"
	soltiv1 "slotd/messages/solti/v1"
)

// kept is a data directory with a store in which tasks have run, one each in so many slots; ids are theirs.
func kept(t *testing.T, tasks int) (data string, ids []string) {
	t.Helper()
	data = t.TempDir()
	s, err := pebble.Open(pebble.Config{Dir: filepath.Join(data, storeDir), Version: "1.2.3"})
	if err != nil {
		t.Fatal(err)
	}
	minter := messages.NewMinter("")
	for n := range tasks {
		slot := fmt.Sprintf("slot-%d", n)
		id := minter.Mint(clock, slot)
		ids = append(ids, id)
		put(t, s, &store.Batch{
			Tasks: []*slotdv1.TaskRecord{{
				Id: id, Slot: slot, Role: slotdv1.Role_ROLE_NONE, Phase: slotdv1.Phase_PHASE_FINISHED,
				Attempt: 1, Status: soltiv1.TaskStatus_TASK_STATUS_SUCCEEDED, Reason: "Completed",
			}},
			Specs: []*slotdv1.SpecRecord{{TaskId: id, Spec: &soltiv1.CreateSpec{Slot: slot, TimeoutMs: 5, Kind: command("true")}}},
			Runs:  []*slotdv1.RunRecord{{TaskId: id, Attempt: 1, Status: soltiv1.TaskStatus_TASK_STATUS_SUCCEEDED}},
		})
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	return data, ids
}

func put(t *testing.T, s store.Store, b *store.Batch) {
	t.Helper()
	done := make(chan error, 1)
	s.Commit(b, func(err error) { done <- err })
	if err := <-done; err != nil {
		t.Fatal(err)
	}
}

// tree is every file below a directory but the lock, whose holder signs it.
func tree(t *testing.T, dir string) map[string]string {
	t.Helper()
	all := map[string]string{}
	err := filepath.WalkDir(dir, func(path string, d os.DirEntry, err error) error {
		if err != nil || d.IsDir() || d.Name() == lockFile {
			return err
		}
		data, err := os.ReadFile(path)
		all[path] = string(data)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return all
}

// changeLog changes the last log of a store that was closed, without the zeros behind its end, and returns its name.
func changeLog(t *testing.T, data string, change func(log []byte) []byte) string {
	t.Helper()
	logs, err := filepath.Glob(filepath.Join(data, storeDir, "*.log"))
	if err != nil || len(logs) == 0 {
		t.Fatal(logs, err)
	}
	last := logs[len(logs)-1]
	log, err := os.ReadFile(last)
	if err != nil {
		t.Fatal(err)
	}
	// The mark of its end is a number of 4 bytes, the lowest first.
	log = log[:min(len(log), len(bytes.TrimRight(log, "\x00"))+3)]
	if err := os.WriteFile(last, change(log), 0o600); err != nil {
		t.Fatal(err)
	}
	return filepath.Base(last)
}

func TestAStoreInOrderIsChecked(t *testing.T) {
	data, ids := kept(t, 3)
	if err := os.MkdirAll(filepath.Join(data, "logs", ids[0]), 0o700); err != nil {
		t.Fatal(err)
	}
	before := tree(t, data)
	for _, format := range []string{"table", "json"} {
		w := newWorld(t)
		if code := w.run(t, "store", "check", "--data", data, "-o", format); code != exitOK || w.talk.String() != "" {
			t.Errorf("exit %d, said %q", code, w.talk.String())
		}
		golden(t, "store-check-"+format, bytesless(t, strings.ReplaceAll(w.out.String(), data, "DATA")))
	}
	if diff := cmp.Diff(before, tree(t, data)); diff != "" {
		t.Error(diff)
	}
}

// bytesless hides the size of a store, which is the engine's affair.
func bytesless(t *testing.T, text string) string {
	t.Helper()
	lines := strings.SplitAfter(text, "\n")
	for i, line := range lines {
		for _, field := range []string{"BYTES ", `"bytes":`} {
			if before, _, ok := strings.Cut(line, field); ok {
				lines[i] = before + field + " N\n"
			}
		}
	}
	return strings.Join(lines, "")
}

func TestNoStoreIsAnEmptyStore(t *testing.T) {
	w, data := newWorld(t), t.TempDir()
	if code := w.run(t, "store", "check", "--data", data); code != exitOK {
		t.Errorf("exit %d, said %q", code, w.talk.String())
	}
	want := "STORE    " + data + "/store\nTASKS    0\nFINDING  none\n"
	if diff := cmp.Diff(w.out.String(), want); diff != "" {
		t.Error(diff)
	}
	if entries := tree(t, data); len(entries) != 0 {
		t.Errorf("made %v", entries)
	}
}

func TestWhatDoesNotBelongIsAFinding(t *testing.T) {
	data, ids := kept(t, 1)
	other := messages.NewMinter(ids[0]).Mint(clock, "x")
	if err := os.MkdirAll(filepath.Join(data, "logs", other), 0o700); err != nil {
		t.Fatal(err)
	}
	w := newWorld(t)
	if code := w.run(t, "store", "check", "--data", data, "-o", "json"); code != exitError || !strings.Contains(w.talk.String(), "not in order: 1 finding") {
		t.Errorf("exit %d, said %q", code, w.talk.String())
	}
	var got storeCheck
	if err := json.Unmarshal([]byte(w.out.String()), &got); err != nil {
		t.Fatal(err)
	}
	want := []storeFinding{{"orphaned-log", other, "a log directory without a task"}}
	if diff := cmp.Diff(got.Findings, want); diff != "" {
		t.Error(diff)
	}
}

func TestDamageIsAFindingAndATornTailIsNot(t *testing.T) {
	data, _ := kept(t, 5)
	log := changeLog(t, data, func(log []byte) []byte { return append(log[:len(log)-11], "torn"...) })
	w := newWorld(t)
	if code := w.run(t, "store", "check", "--data", data); code != exitOK || !strings.Contains(w.out.String(), "NOTE     "+log+" was cut off at ") {
		t.Errorf("exit %d, got %s, said %q", code, w.out.String(), w.talk.String())
	}
	changeLog(t, data, func(log []byte) []byte {
		log[len(log)/2] ^= 1
		return log
	})
	before := tree(t, data)
	w = newWorld(t)
	if code := w.run(t, "store", "check", "--data", data); code != exitError || !strings.Contains(w.out.String(), "FINDING  damaged: ") {
		t.Errorf("exit %d, got %s, said %q", code, w.out.String(), w.talk.String())
	}
	w = newWorld(t)
	if code := w.run(t, "store", "export", "--data", data); code != exitError || w.out.String() != "" ||
		!strings.Contains(w.talk.String(), data+"/store is damaged") || !strings.Contains(w.talk.String(), "--salvage") {
		t.Errorf("exit %d, got %s, said %q", code, w.out.String(), w.talk.String())
	}
	if diff := cmp.Diff(before, tree(t, data)); diff != "" {
		t.Error(diff)
	}
}

func TestWhatIsLeftCanBeSalvaged(t *testing.T) {
	data, ids := kept(t, 5)
	changeLog(t, data, func(log []byte) []byte { return log[:len(log)-40] })
	w, file := newWorld(t), filepath.Join(t.TempDir(), "left")
	if code := w.run(t, "store", "export", "--data", data, "--salvage", "-f", file); code != exitError ||
		!strings.Contains(w.talk.String(), "acknowledged commits 5 to 5 are missing") {
		t.Errorf("exit %d, said %q", code, w.talk.String())
	}
	text, err := os.ReadFile(file)
	if err != nil || !strings.Contains(string(text), ids[3]) || strings.Contains(string(text), ids[4]) {
		t.Errorf("%v: %s", err, text)
	}
}

func TestADaemonKeepsItsStoreToItself(t *testing.T) {
	data, _ := kept(t, 1)
	daemon, err := openDataDir(data)
	if err != nil {
		t.Fatal(err)
	}
	for _, verb := range []string{"check", "export", "import"} {
		w := newWorld(t)
		want := fmt.Sprintf("slotd: data directory %s is used by a slotd that runs (pid %d): stop it first, or tell another one with --data\n", data, os.Getpid())
		if code := w.run(t, "store", verb, "--data", data); code != exitError || w.talk.String() != want {
			t.Errorf("%s: exit %d, said %q", verb, code, w.talk.String())
		}
	}
	if err := daemon.close(); err != nil {
		t.Error(err)
	}
}

func TestACheckMakesNoDataDirectory(t *testing.T) {
	data := filepath.Join(t.TempDir(), "none")
	for _, verb := range []string{"check", "export"} {
		w := newWorld(t, "SLOTD_DATA="+data)
		if code := w.run(t, "store", verb); code != exitError || !strings.Contains(w.talk.String(), data) {
			t.Errorf("%s: exit %d, said %q", verb, code, w.talk.String())
		}
		if _, err := os.Stat(data); !os.IsNotExist(err) {
			t.Errorf("%s: %v", verb, err)
		}
	}
}

func TestAnExportBecomesAStore(t *testing.T) {
	data, _ := kept(t, 300)
	before := tree(t, data)
	file, copied := filepath.Join(t.TempDir(), "export"), filepath.Join(t.TempDir(), "new")
	w := newWorld(t)
	if code := w.run(t, "store", "export", "--data", data, "--file", file); code != exitOK || w.out.String() != "" ||
		w.talk.String() != "slotd: exported 300 tasks, 300 runs, 0 keys\n" {
		t.Errorf("exit %d, got %q, said %q", code, w.out.String(), w.talk.String())
	}
	if diff := cmp.Diff(before, tree(t, data)); diff != "" {
		t.Error(diff)
	}
	info, err := os.Stat(file)
	if err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("%v, %v, want mode 0600", info, err)
	}
	w = newWorld(t)
	if code := w.run(t, "store", "import", "--data", copied, "-f", file); code != exitOK || !strings.Contains(w.talk.String(), "imported 300 tasks, 300 runs, 0 keys into ") {
		t.Errorf("exit %d, said %q", code, w.talk.String())
	}
	w = newWorld(t)
	if code := w.run(t, "store", "check", "--data", copied); code != exitOK {
		t.Errorf("exit %d, got %q, said %q", code, w.out.String(), w.talk.String())
	}
	w = newWorld(t)
	if code := w.run(t, "store", "export", "--data", copied, "-q"); code != exitOK || w.talk.String() != "" {
		t.Errorf("exit %d, said %q", code, w.talk.String())
	}
	text, err := os.ReadFile(file)
	if diff := cmp.Diff(w.out.String(), string(text)); diff != "" || err != nil {
		t.Error(diff, err)
	}
}

func TestAnExportReplacesNoFile(t *testing.T) {
	data, _ := kept(t, 1)
	file := filepath.Join(t.TempDir(), "there")
	if err := os.WriteFile(file, []byte("mine"), 0o600); err != nil {
		t.Fatal(err)
	}
	w := newWorld(t)
	if code := w.run(t, "store", "export", "--data", data, "-f", file); code != exitError || !strings.Contains(w.talk.String(), "file exists") {
		t.Errorf("exit %d, said %q", code, w.talk.String())
	}
	if text, err := os.ReadFile(file); err != nil || string(text) != "mine" {
		t.Errorf("%q, %v", text, err)
	}
}

func TestAnImportTakesItsPlaceAsAWholeOrNotAtAll(t *testing.T) {
	data, _ := kept(t, 0) // a daemon was here, and nothing was submitted
	full, _ := kept(t, 2)
	w := newWorld(t)
	if code := w.run(t, "store", "export", "--data", full); code != exitOK {
		t.Fatal(w.talk.String())
	}
	export := w.out.String()
	before := tree(t, data)
	for name, tc := range map[string]struct{ data, text, says string }{
		"cut off":   {data, export[:len(export)-10], "line 4: the archive was cut off"},
		"not empty": {full, export, "is not empty"},
	} {
		w := newWorld(t)
		w.stdin = strings.NewReader(tc.text)
		if code := w.run(t, "store", "import", "--data", tc.data); code != exitError || !strings.Contains(w.talk.String(), tc.says) {
			t.Errorf("%s: exit %d, said %q", name, code, w.talk.String())
		}
	}
	if diff := cmp.Diff(before, tree(t, data)); diff != "" {
		t.Error(diff)
	}
	w = newWorld(t)
	w.stdin = strings.NewReader(export)
	if code := w.run(t, "store", "import", "--data", data); code != exitOK {
		t.Errorf("exit %d, said %q", code, w.talk.String())
	}
	if _, err := os.Stat(filepath.Join(data, importDir)); !os.IsNotExist(err) {
		t.Errorf("%s was left: %v", importDir, err)
	}
	w = newWorld(t)
	if code := w.run(t, "store", "check", "--data", data, "-o", "json"); code != exitOK || !strings.Contains(w.out.String(), `"tasks": 2`) {
		t.Errorf("exit %d, got %s, said %q", code, w.out.String(), w.talk.String())
	}
}

func TestHelpSaysThatAnExportHoldsSecrets(t *testing.T) {
	w := newWorld(t)
	if code := w.run(t, "store", "export", "--help"); code != exitOK || !strings.Contains(w.out.String(), "in clear") {
		t.Errorf("exit %d, got %s", code, w.out.String())
	}
}
