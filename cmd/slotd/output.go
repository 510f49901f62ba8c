package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"strings"
	"unicode/utf8"

	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"
	"sigs.k8s.io/yaml"
)

// format is how a verb writes its data.
type format string

const (
	formatTable format = "table"
	formatWide  format = "wide"
	formatJSON  format = "json"
	formatJSONL format = "jsonl"
	formatYAML  format = "yaml"
	formatName  format = "name"
)

func formatNames() []string {
	return []string{
		string(formatTable), string(formatWide), string(formatJSON), string(formatJSONL), string(formatYAML), string(formatName),
	}
}

func parseFormat(s string) (format, error) {
	return format(s), oneOf(s, formatNames())
}

func parseColor(s string) (string, error) {
	return s, oneOf(s, []string{"auto", "always", "never"})
}

// colored says whether tables use color: never without a terminal or against NO_COLOR, unless the caller insists.
func (a *app) colored() bool {
	switch a.color {
	case "always":
		return true
	case "never":
		return false
	}
	forbidden, _ := a.getenv("NO_COLOR")
	term, _ := a.getenv("TERM")
	return forbidden == "" && term != "dumb" && a.tty(a.stdout)
}

// listing is one verb's data in every format. Object is what json and yaml show; items are its rows, each an object of
// its own for jsonl and a name for name.
type listing struct {
	object  proto.Message
	items   []proto.Message
	name    func(i int) string
	header  []string
	row     func(i int) []cell
	narrow  int // columns of a table that is not wide
	nothing string
}

// show writes a listing in the format the caller chose.
func (a *app) show(l listing) error {
	switch a.output {
	case formatJSON, formatYAML:
		return writeObject(a.stdout, a.output, l.object)
	case formatJSONL:
		for _, item := range l.items {
			if err := writeObject(a.stdout, formatJSONL, item); err != nil {
				return err
			}
		}
		return nil
	case formatName:
		for i := range l.items {
			if _, err := fmt.Fprintln(a.stdout, l.name(i)); err != nil {
				return err
			}
		}
		return nil
	default:
		return a.table(l)
	}
}

func (a *app) table(l listing) error {
	if len(l.items) == 0 {
		a.talk("%s", l.nothing)
		return nil
	}
	columns := len(l.header)
	if a.output == formatTable {
		columns = l.narrow
	}
	rows := make([][]cell, 0, len(l.items)+1)
	header := make([]cell, columns)
	for i := range header {
		header[i] = cell{text: l.header[i]}
	}
	rows = append(rows, header)
	for i := range l.items {
		rows = append(rows, l.row(i)[:columns])
	}
	return writeTable(a.stdout, rows, a.colored())
}

// cell is one field of a table. The tint never says anything that the text does not.
type cell struct {
	text string
	tint tint
}

func plain(texts ...string) []cell {
	cells := make([]cell, len(texts))
	for i, text := range texts {
		cells[i].text = text
	}
	return cells
}

type tint string

const (
	red    tint = "31"
	green  tint = "32"
	yellow tint = "33"
	cyan   tint = "36"
)

// writeTable writes left-aligned columns, two spaces apart, no blanks at line ends. An empty cell is shown as "-".
func writeTable(w io.Writer, rows [][]cell, colored bool) error {
	var widths []int
	for _, row := range rows {
		for i := range row {
			row[i].text = oneLine(row[i].text)
			if i == len(widths) {
				widths = append(widths, 0)
			}
			widths[i] = max(widths[i], utf8.RuneCountInString(row[i].text))
		}
	}
	var b bytes.Buffer
	for _, row := range rows {
		for i, c := range row {
			if colored && c.tint != "" {
				fmt.Fprintf(&b, "\x1b[%sm%s\x1b[0m", c.tint, c.text)
			} else {
				b.WriteString(c.text)
			}
			if i < len(row)-1 {
				b.WriteString(strings.Repeat(" ", widths[i]-utf8.RuneCountInString(c.text)+2))
			}
		}
		b.WriteByte('\n')
	}
	_, err := w.Write(b.Bytes())
	return err
}

// oneLine keeps a text from a task's spec or error from breaking the table or reaching the terminal's controls.
func oneLine(text string) string {
	if text == "" {
		return "-"
	}
	return strings.Map(func(r rune) rune {
		if r < ' ' || r >= 0x7f && r < 0xa0 {
			return ' '
		}
		return r
	}, text)
}

// cut shortens a text to so many characters.
func cut(text string, most int) string {
	if utf8.RuneCountInString(text) <= most {
		return text
	}
	return string([]rune(text)[:most-1]) + "…"
}

// encode writes a message as the API does: lowerCamelCase, empty lists and zeros shown, absent fields left out. The
// bytes are the same every time.
func encode(m proto.Message) ([]byte, error) {
	raw, err := protojson.MarshalOptions{EmitDefaultValues: true}.Marshal(m)
	if err != nil {
		return nil, err
	}
	var b bytes.Buffer
	if err := json.Compact(&b, raw); err != nil {
		return nil, err
	}
	return b.Bytes(), nil
}

// writeObject writes one message as json, jsonl or yaml.
func writeObject(w io.Writer, f format, m proto.Message) error {
	data, err := encode(m)
	if err != nil {
		return err
	}
	return writeJSON(w, f, data)
}

// writeJSON writes compact JSON in the given format.
func writeJSON(w io.Writer, f format, data []byte) error {
	var b bytes.Buffer
	switch f {
	case formatYAML:
		text, err := yaml.JSONToYAML(data)
		if err != nil {
			return err
		}
		b.Write(text)
	case formatJSONL:
		b.Write(data)
		b.WriteByte('\n')
	default:
		if err := json.Indent(&b, data, "", "  "); err != nil {
			return err
		}
		b.WriteByte('\n')
	}
	_, err := w.Write(b.Bytes())
	return err
}
