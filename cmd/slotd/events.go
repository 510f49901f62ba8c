package main

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"slotd/gateway/client"
	slotdv1 "slotd/messages/slotd/v1"
)

func (a *app) eventsVerb() *cobra.Command {
	var opt client.EventOptions
	cmd := &cobra.Command{
		Use:   "events",
		Short: "Follow what becomes of tasks and slots",
		Long: "Follow what becomes of tasks and slots, a line each, from now on or from a known event on, until Ctrl-C\n" +
			"(exit code 130). A connection that breaks is taken up again without a loss; where events are missing all\n" +
			"the same, because they are no longer kept or the daemon was started anew, it says so. -o json or jsonl\n" +
			"prints the events themselves, one a line, with the id that --after takes; -o wide shows it too.",
		Args: cobra.NoArgs,
	}
	fs := cmd.Flags()
	bind(fs, &opt.Slot, "slot", "", "", "name", "only of this slot and its tasks", parseSlot)
	fs.StringVar(&opt.Task, "task", "", "only of the task with this id")
	bind(fs, &opt.Selector, "selector", "l", "", "expr", "only of tasks whose labels match, such as app=web,tier in (a,b)", parseSelector)
	fs.StringVar(&opt.After, "after", "", "go on after the event with this id")
	a.complete(cmd, "slot", a.slotNames)
	a.complete(cmd, "task", a.taskIDs(0))
	for _, flag := range []string{"selector", "after"} {
		a.complete(cmd, flag, cobra.NoFileCompletions)
	}
	cmd.RunE = a.verb(func(ctx context.Context, _ []string) error {
		if a.output == formatYAML || a.output == formatName {
			return usagef("--output %q: events are text (table, wide), json or jsonl", a.output)
		}
		if cmd.Flags().Changed("after") && opt.After == "" {
			return usagef("--after cannot be empty: give the id of an event, or leave it out")
		}
		c, err := a.connect()
		if err != nil {
			return err
		}
		defer c.Close()
		if cmd.Flags().Changed("task") {
			if opt.Task, err = c.Resolve(ctx, opt.Task); err != nil {
				return err
			}
		}
		for event, err := range c.Events(ctx, opt) {
			if err != nil {
				return err
			}
			if err := a.showEvent(event); err != nil {
				return fmt.Errorf("write the events: %w", err)
			}
		}
		return nil
	})
	return cmd
}

// showEvent writes one event at once.
func (a *app) showEvent(e *slotdv1.Event) error {
	if a.output == formatJSON || a.output == formatJSONL {
		data, err := client.MarshalTransition(e)
		if err != nil {
			return err
		}
		_, err = a.stdout.Write(append(data, '\n'))
		return err
	}
	switch kind := e.GetKind().(type) {
	case *slotdv1.Event_Task:
		return a.eventLine(e.GetId(), taskEventLine(kind.Task))
	case *slotdv1.Event_Slot:
		return a.eventLine(e.GetId(), slotEventLine(kind.Slot))
	case *slotdv1.Event_Gap:
		missing := "events are missing here: they were of an earlier life of the daemon, or of another one"
		if n := kind.Gap.GetSkipped(); n > 0 {
			missing = counted(n, "event") + " of the node missing here: no longer kept"
		}
		a.say("%s; look at tasks and slots anew", missing)
	}
	return nil
}

// eventLine is what a line shows. Columns have a fixed width, as nobody knows what comes next.
type eventLine struct {
	time     int64
	of       string
	slot, id string
	phase    cell
	details  []string
}

func (a *app) eventLine(id string, l eventLine) error {
	if a.output == formatWide {
		l.details = append(l.details, "id "+id)
	}
	phase := fmt.Sprintf("%-9s", oneLine(l.phase.text))
	if a.colored() && l.phase.tint != "" {
		phase = fmt.Sprintf("\x1b[%sm%s\x1b[0m", l.phase.tint, phase)
	}
	text := fmt.Sprintf("%s  %s  %-16s  %-30s  %s",
		time.UnixMilli(l.time).UTC().Format("2006-01-02T15:04:05.000Z"), l.of, oneLine(l.slot), oneLine(l.id), phase)
	if len(l.details) > 0 {
		text += "  " + oneLine(strings.Join(l.details, ", "))
	}
	_, err := fmt.Fprintln(a.stdout, strings.TrimRight(text, " "))
	return err
}

func taskEventLine(e *slotdv1.TaskEvent) eventLine {
	l := eventLine{
		time: e.GetTime(), of: "task", slot: e.GetSlot(), id: e.GetTaskId(),
		phase: cell{text: phaseName(e.GetPhase()), tint: phaseTint(e.GetPhase())},
	}
	if e.GetDeleted() {
		l.phase = cell{text: "Deleted"}
		return l
	}
	if n := e.GetAttempt(); n > 0 {
		l.details = append(l.details, fmt.Sprintf("attempt %d", n))
	}
	l.details = appendText(l.details, "", e.GetReason())
	if e.Signal == nil {
		l.details = appendText(l.details, "exit ", exitText(e.ExitCode, nil))
	} else {
		l.details = append(l.details, signalText(e.GetSignal()))
	}
	switch {
	case e.GetTerminal():
		l.details = append(l.details, "terminal")
	case e.NextAttemptAt != nil:
		wait := time.UnixMilli(e.GetNextAttemptAt()).Sub(time.UnixMilli(e.GetTime()))
		l.details = append(l.details, "next attempt after "+max(0, wait).String())
	}
	return l
}

func slotEventLine(e *slotdv1.SlotEvent) eventLine {
	l := eventLine{time: e.GetTime(), of: "slot", slot: e.GetSlot(), id: e.GetTaskId(), phase: cell{text: e.GetPhase()}}
	if e.GetPhase() == "occupied" {
		l.phase.tint = cyan
	}
	l.details = appendText(l.details, "", e.GetReason())
	l.details = appendText(l.details, "replacement ", e.GetReplacement())
	if n := e.GetQueued(); n > 0 {
		l.details = append(l.details, fmt.Sprintf("%d queued", n))
	}
	return l
}

func appendText(list []string, label, text string) []string {
	if text == "" {
		return list
	}
	return append(list, label+text)
}
