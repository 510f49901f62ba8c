package main

import (
	"encoding/json"
	"fmt"
)

// shownSetting is one line of config show.
type shownSetting struct {
	Key    string `json:"key"`
	Value  string `json:"value"`
	Origin string `json:"origin"`
}

// showConfig prints settings: how the other verbs reach the daemon first, then those of the daemon.
func (a *app) showConfig(list []chosen) error {
	t, err := a.target()
	if err != nil {
		return err
	}
	rows := t.rows()
	for _, c := range list {
		rows = append(rows, shownSetting{Key: c.name, Value: c.shown(), Origin: c.origin})
	}
	switch a.output {
	case formatJSON, formatYAML:
		return a.writeValue(map[string]any{"settings": rows})
	case formatJSONL:
		for _, row := range rows {
			if err := a.writeValue(row); err != nil {
				return err
			}
		}
		return nil
	case formatName:
		for _, row := range rows {
			if _, err := fmt.Fprintln(a.stdout, row.Key); err != nil {
				return err
			}
		}
		return nil
	default:
		cells := [][]cell{plain("KEY", "VALUE", "ORIGIN")}
		for _, row := range rows {
			cells = append(cells, plain(row.Key, row.Value, row.Origin))
		}
		return writeTable(a.stdout, cells, a.colored())
	}
}

func (a *app) writeValue(v any) error {
	data, err := json.Marshal(v)
	if err != nil {
		return err
	}
	return writeJSON(a.stdout, a.output, data)
}
