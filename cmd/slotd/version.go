package main

import (
	"context"
	"encoding/json"
	"runtime"
	"runtime/debug"
	"time"

	"github.com/spf13/cobra"

	slotdv1 "slotd/messages/slotd/v1"
)

// apiVersion is the version of the task API that this build speaks.
const apiVersion = "solti.v1"

// versionPatience is how long the daemon is given to tell its version.
const versionPatience = 2 * time.Second

func (a *app) versionVerb() *cobra.Command {
	var own bool
	cmd := &cobra.Command{
		Use:   "version",
		Short: "Show the version of this program and of the daemon",
		Args:  cobra.NoArgs,
	}
	cmd.Flags().BoolVar(&own, "client", false, "only this program's; asks no daemon")
	cmd.RunE = a.verb(func(ctx context.Context, _ []string) error {
		builds := []*slotdv1.VersionResponse{buildVersion()}
		roles := []string{"client"}
		if !own {
			daemon, err := a.daemonVersion(ctx)
			if err != nil {
				a.talk("%v", err)
			} else {
				builds, roles = append(builds, daemon), append(roles, "daemon")
			}
		}
		if a.output == formatJSON || a.output == formatYAML {
			return a.showVersions(roles, builds)
		}
		return a.show(listing{
			items:  asMessages(builds),
			name:   func(i int) string { return builds[i].GetVersion() },
			header: []string{"ROLE", "VERSION", "COMMIT", "GO", "API"},
			narrow: 5,
			row: func(i int) []cell {
				b := builds[i]
				return plain(roles[i], b.GetVersion(), b.GetCommit(), b.GetGo(), b.GetApi())
			},
			nothing: "no version",
		})
	})
	return cmd
}

// showVersions prints one object with a build under each role.
func (a *app) showVersions(roles []string, builds []*slotdv1.VersionResponse) error {
	object := make(map[string]json.RawMessage, len(roles))
	for i, role := range roles {
		data, err := encode(builds[i])
		if err != nil {
			return err
		}
		object[role] = data
	}
	return a.writeValue(object)
}

func (a *app) daemonVersion(ctx context.Context) (*slotdv1.VersionResponse, error) {
	c, err := a.connect()
	if err != nil {
		return nil, err
	}
	defer c.Close()
	ctx, cancel := context.WithTimeout(ctx, versionPatience)
	defer cancel()
	return c.Version(ctx)
}

// buildVersion is what the Go toolchain knows of this build.
func buildVersion() *slotdv1.VersionResponse {
	v := &slotdv1.VersionResponse{Version: "devel", Go: runtime.Version(), Api: apiVersion}
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return v
	}
	if info.Main.Version != "" && info.Main.Version != "(devel)" {
		v.Version = info.Main.Version
	}
	for _, s := range info.Settings {
		if s.Key == "vcs.revision" {
			v.Commit = s.Value
		}
	}
	return v
}
