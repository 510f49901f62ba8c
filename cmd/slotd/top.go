package main

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/spf13/cobra"

	"slotd/gateway/client"
	"slotd/messages"
	slotdv1 "slotd/messages/slotd/v1"
	soltiv1 "slotd/messages/solti/v1"
)

func (a *app) topVerb() *cobra.Command {
	interval := time.Second
	cmd := &cobra.Command{
		Use:   "top",
		Short: "Watch slots, holders, queues and rates",
		Long: "Watch slots, holders, queues and rates, on a terminal refreshed in place until q or Ctrl-C. Elsewhere, and\n" +
			"with -o json (jsonl, yaml, name), one snapshot is printed. Slots with the longest queues come first.",
		Args: cobra.NoArgs,
	}
	bind(cmd.Flags(), &interval, "interval", "", "1s", "duration", "refresh so often, at least 100ms", parseInterval)
	cmd.RunE = a.verb(func(ctx context.Context, _ []string) error {
		c, err := a.connect()
		if err != nil {
			return err
		}
		defer c.Close()
		first, err := look(ctx, c)
		if err != nil {
			return err
		}
		if a.output != formatTable && a.output != formatWide {
			return a.showSnapshot(first)
		}
		term, _ := a.getenv("TERM")
		if term == "dumb" || !a.tty(a.stdout) {
			_, err := fmt.Fprint(a.stdout, strings.Join(a.topLines(c, snapshot{}, first, a.colored()), "\n")+"\n")
			return err
		}
		return a.watch(ctx, c, first, interval)
	})
	return cmd
}

func parseInterval(s string) (time.Duration, error) {
	d, err := parseDuration(s)
	if err == nil && d < 100*time.Millisecond {
		err = errors.New("must be at least 100ms")
	}
	return d, err
}

// snapshot is the node at one moment.
type snapshot struct {
	node  *slotdv1.IntrospectResponse
	slots []*slotdv1.SlotView
	tasks map[string]*soltiv1.TaskData // those that are not terminal, by id, at most a page
}

func look(ctx context.Context, c *client.Client) (s snapshot, err error) {
	if s.node, err = c.Introspection(ctx); err != nil {
		return s, err
	}
	if s.slots, err = c.Slots(ctx); err != nil {
		return s, err
	}
	slices.SortStableFunc(s.slots, func(a, b *slotdv1.SlotView) int {
		return cmp.Or(cmp.Compare(len(b.GetQueue()), len(a.GetQueue())), cmp.Compare(a.GetSlot(), b.GetSlot()))
	})
	active := false
	page, err := c.List(ctx, client.Filter{Terminal: &active, Limit: messages.MaxLimit})
	s.tasks = make(map[string]*soltiv1.TaskData, len(page.GetTasks()))
	for _, task := range page.GetTasks() {
		s.tasks[task.GetMetadata().GetId()] = task
	}
	return s, err
}

// Sequences of a terminal: its other screen and no cursor, and back; the upper left corner; the end of a line and of all.
const (
	enterScreen = "\x1b[?1049h\x1b[?25l"
	leaveScreen = "\x1b[?25h\x1b[?1049l"
	toCorner    = "\x1b[H"
	endOfLine   = "\x1b[K\r\n"
	endOfScreen = "\x1b[K\x1b[J"
)

// watch refreshes the view until q or a signal. A daemon that does not answer any more is told, and asked again.
func (a *app) watch(ctx context.Context, c *client.Client, now snapshot, interval time.Duration) (err error) {
	keys, restore, err := a.keys()
	if err != nil {
		return err
	}
	if _, err := fmt.Fprint(a.stdout, enterScreen); err != nil {
		return errors.Join(err, restore())
	}
	defer func() {
		_, left := fmt.Fprint(a.stdout, leaveScreen)
		err = errors.Join(err, left, restore())
	}()
	tick := time.NewTicker(interval)
	defer tick.Stop()
	var (
		before snapshot
		lost   error
	)
	for {
		if err := a.drawTop(a.topLines(c, before, now, a.colored()), lost); err != nil {
			return err
		}
		select {
		case key := <-keys:
			if key == 'q' || key == 'Q' || key == 3 {
				return nil
			}
			continue
		case <-ctx.Done():
			var s *signaledError
			if errors.As(context.Cause(ctx), &s) && s.signal == syscall.SIGINT {
				return nil // Ctrl-C is the way out, not a failure
			}
			return context.Cause(ctx)
		case <-tick.C:
		}
		next, err := look(ctx, c)
		if lost = err; err == nil {
			before, now = now, next
		}
	}
}

// drawTop writes what fits on the terminal.
func (a *app) drawTop(lines []string, lost error) error {
	stdout := a.stdout
	if over, ok := stdout.(*overlay); ok {
		stdout = over.below
	}
	columns, rows := sizeOf(stdout)
	if lost != nil {
		lines = append([]string{oneLine("no answer, shown is the last one: " + lost.Error())}, lines...)
	}
	var b strings.Builder
	b.WriteString(toCorner)
	for i, line := range lines[:min(len(lines), rows)] {
		if i > 0 {
			b.WriteString(endOfLine)
		}
		b.WriteString(clip(line, columns-1))
	}
	b.WriteString(endOfScreen)
	_, err := fmt.Fprint(a.stdout, b.String())
	return err
}

// topLines are the view; rates are those since the earlier snapshot, if there is one.
func (a *app) topLines(c *client.Client, before, now snapshot, colored bool) []string {
	n := now.node
	at := time.UnixMilli(n.GetNow())
	kept := uint64(0)
	for _, count := range n.GetTasks() {
		kept += count
	}
	lines := []string{
		fmt.Sprintf("%s  up %s  %s", oneLine(n.GetNode()), age(at.Sub(time.UnixMilli(n.GetStartedAt()))), c.Addr()),
		fmt.Sprintf("tasks     %d active  %d queued  %d kept", n.GetTasksActive(), n.GetQueued(), kept),
		fmt.Sprintf("attempts  %d running  %d waiting  %d started", n.GetAttemptsRunning(), n.GetAttemptsWaiting(), n.GetAttemptsStarted()),
	}
	if before.node != nil {
		lines = append(lines, rateLine(before.node, n))
	}
	if latencies := latencyText(n); latencies != "" {
		lines = append(lines, latencies)
	}
	store := n.GetStore().GetKind()
	if !n.GetStore().GetWritable() {
		store += " not writable: " + n.GetStore().GetProblem()
	}
	lines = append(lines, fmt.Sprintf("store     %s  heap %s  goroutines %d", oneLine(store), bytesText(n.GetHeapBytes()), n.GetGoroutines()), "")
	return append(lines, slotLines(now, at, colored)...)
}

func rateLine(before, now *slotdv1.IntrospectResponse) string {
	seconds := float64(max(1, now.GetNow()-before.GetNow())) / 1000
	rate := func(earlier, later uint64) string {
		if later < earlier { // the node was started anew
			earlier = 0
		}
		return fmt.Sprintf("%.1f/s", float64(later-earlier)/seconds)
	}
	b, n := before.GetDecisions(), now.GetDecisions()
	return fmt.Sprintf("rates     %s admitted  %s queued  %s replaced  %s refused  %s attempts",
		rate(b.GetAdmitted(), n.GetAdmitted()), rate(b.GetQueued(), n.GetQueued()), rate(b.GetReplaced(), n.GetReplaced()),
		rate(b.GetDropped()+b.GetQueueFull(), n.GetDropped()+n.GetQueueFull()), rate(before.GetAttemptsStarted(), now.GetAttemptsStarted()))
}

func latencyText(n *slotdv1.IntrospectResponse) string {
	var parts []string
	for _, name := range []string{"submit_to_running", "commit", "cancel_to_dead"} {
		if l := n.GetLatencies()[name]; l.GetCount() > 0 {
			micros := func(us uint64) string { return (time.Duration(us) * time.Microsecond).String() }
			parts = append(parts, fmt.Sprintf("%s p50 %s p99 %s", strings.ReplaceAll(name, "_", " "), micros(l.GetP50()), micros(l.GetP99())))
		}
	}
	if len(parts) == 0 {
		return ""
	}
	return "latency   " + strings.Join(parts, "  ")
}

func bytesText(n uint64) string {
	return fmt.Sprintf("%.1fMiB", float64(n)/(1<<20))
}

// slotLines are a table of the slots in use.
func slotLines(s snapshot, at time.Time, colored bool) []string {
	if len(s.slots) == 0 {
		return []string{"no slot is in use"}
	}
	rows := [][]cell{plain("SLOT", "WAITING", "HOLDER", "STATE", "AGE", "COMMAND")}
	for _, slot := range s.slots {
		task := s.tasks[slot.GetHolder()]
		row := plain(slot.GetSlot(), fmt.Sprint(len(slot.GetQueue())), slot.GetHolder(), slot.GetPhase(), "", "")
		if task != nil {
			row[3] = cell{text: stateText(task, at), tint: phaseTint(task.GetStatus().GetPhase())}
			row[4].text = age(at.Sub(time.UnixMilli(task.GetMetadata().GetCreatedAt())))
			row[5].text = cut(oneLine(commandText(task.GetSpec())), 60)
		}
		if slot.GetPhase() == "retiring" {
			row[3] = cell{text: "stopping", tint: yellow}
		}
		rows = append(rows, row)
	}
	var b strings.Builder
	_ = writeTable(&b, rows, colored) // a Builder takes everything
	return strings.Split(strings.TrimSuffix(b.String(), "\n"), "\n")
}

// showSnapshot prints one snapshot for a program; name is the slots.
func (a *app) showSnapshot(s snapshot) error {
	if a.output == formatName {
		for _, slot := range s.slots {
			if _, err := fmt.Fprintln(a.stdout, slot.GetSlot()); err != nil {
				return err
			}
		}
		return nil
	}
	node, err := encode(s.node)
	if err != nil {
		return err
	}
	slots := make([]json.RawMessage, len(s.slots))
	for i, slot := range s.slots {
		if slots[i], err = encode(slot); err != nil {
			return err
		}
	}
	return a.writeValue(map[string]any{"introspection": json.RawMessage(node), "slots": slots})
}

// keys delivers what is typed, key by key, until restore is called; nothing when stdin is no terminal.
func (a *app) keys() (typed <-chan byte, restore func() error, err error) {
	file, ok := a.stdin.(*os.File)
	if !ok || !a.tty(a.stdin) {
		return nil, func() error { return nil }, nil
	}
	return readKeys(file)
}
