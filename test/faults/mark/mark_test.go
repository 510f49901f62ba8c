package mark

import (
	"os"
	"os/exec"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
)

func TestReaderYieldsEachMarkOnceAndOnlyWhole(t *testing.T) {
	path := filepath.Join(t.TempDir(), "marks")
	r := Reader{Path: path}
	if got, err := r.Next(); len(got) != 0 || err != nil {
		t.Fatalf("of no file: %v, %v", got, err)
	}
	pad, err := OpenPad(path)
	if err != nil {
		t.Fatal(err)
	}
	for i := range 3 {
		if err := pad.Write(Mark{Kind: Start, Slot: "s", Task: "t", Attempt: uint32(i)}); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := pad.file.WriteString(`{"kind":"end"`); err != nil {
		t.Fatal(err)
	}
	got, err := r.Next()
	if err != nil || len(got) != 3 || got[2].Attempt != 2 || got[0].Boot == 0 || got[0].Boot > got[1].Boot {
		t.Fatalf("got %v, %v", got, err)
	}
	if _, err := pad.file.WriteString(",\"attempt\":7}\n"); err != nil {
		t.Fatal(err)
	}
	if got, err := r.Next(); err != nil || !reflect.DeepEqual(got, []Mark{{Kind: End, Attempt: 7}}) {
		t.Fatalf("got %v, %v", got, err)
	}
}

func TestWhoEntersSeesWhoLives(t *testing.T) {
	dir := t.TempDir()
	other := exec.CommandContext(t.Context(), "cat")
	if _, err := other.StdinPipe(); err != nil { // keeps it alive
		t.Fatal(err)
	}
	if err := other.Start(); err != nil {
		t.Fatal(err)
	}
	enter := func(task string, attempt uint32, pid int) []string {
		t.Helper()
		born, err := Born(pid)
		if err != nil {
			t.Fatal(err)
		}
		living, err := Enter(dir, Mark{Slot: "s", Task: task, Attempt: attempt, PID: pid, Born: born})
		if err != nil {
			t.Fatal(err)
		}
		return living
	}
	if got := enter("a", 1, other.Process.Pid); got != nil {
		t.Errorf("the first met %v", got)
	}
	if got := enter("a", 1, os.Getpid()); got != nil {
		t.Errorf("a process met %v of its own attempt", got)
	}
	if got := enter("a", 2, os.Getpid()); len(got) != 2 || !strings.HasPrefix(got[1], "a/1 pid ") {
		t.Errorf("the next attempt met %v, want both of the one before", got)
	}
	if err := other.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	if err := other.Wait(); err == nil {
		t.Fatal("it was not killed")
	}
	if got := enter("b", 1, os.Getpid()); len(got) != 2 { // a/1 and a/2 of this very process
		t.Errorf("after the death of one, the next met %v", got)
	}
}

func TestAPidOfAnotherTimeIsNotAlive(t *testing.T) {
	born, err := Born(os.Getpid())
	if err != nil {
		t.Fatal(err)
	}
	if !Alive(os.Getpid(), born) || Alive(os.Getpid(), born+1) || Alive(0, born) {
		t.Error("a process is its pid and its start")
	}
}
