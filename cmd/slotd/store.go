package main

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"syscall"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
)

func (a *app) storeVerb() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "store",
		Short: "Check, export or import the store of a daemon that is not running",
		Long: "Check, export or import the store in a data directory. No daemon may use the directory meanwhile;\n" +
			"check and export change nothing in the store.",
		Args: cobra.ArbitraryArgs,
		RunE: unknownVerb,
	}
	cmd.AddCommand(a.storeCheckVerb(), a.storeExportVerb(), a.storeImportVerb())
	return cmd
}

// dataFlags adds what tells the data directory, as `slotd serve` would see it.
func (a *app) dataFlags(fs *pflag.FlagSet) {
	for _, s := range settings(a.getenv) {
		if s.name == "data" {
			configFlags(fs, []setting{s})
		}
	}
}

// offline is a data directory that no daemon uses until it is closed.
type offline struct {
	path string
	lock *dataDir // nil: its file system is read-only, nobody can use it
}

// takeOffline takes the data directory that the flags tell, for reading alone or, when it may be made, for an import.
func (a *app) takeOffline(fs *pflag.FlagSet, importing bool) (*offline, error) {
	cfg, _, err := a.loadConfig(fs)
	if err != nil {
		return nil, err
	}
	path := cfg.Node.DataDir
	if _, err := os.Stat(path); err != nil && !importing {
		return nil, fmt.Errorf("data directory: %w; --data tells another one", err)
	}
	lock, err := openDataDir(path)
	if inUse, ok := errors.AsType[*inUseError](err); ok {
		return nil, fmt.Errorf("data directory %s is used by a slotd that runs%s: stop it first, or tell another one with --data", path, inUse.pid)
	}
	if errors.Is(err, syscall.EROFS) && !importing {
		return &offline{path: path}, nil
	}
	if err != nil {
		return nil, err
	}
	return &offline{path: path, lock: lock}, nil
}

func (o *offline) store() string { return filepath.Join(o.path, storeDir) }

// logs are the names of the directories among the logs.
func (o *offline) logs() ([]string, error) {
	entries, err := os.ReadDir(filepath.Join(o.path, "logs"))
	if errors.Is(err, os.ErrNotExist) {
		return nil, nil
	}
	var names []string
	for _, e := range entries {
		if e.IsDir() {
			names = append(names, e.Name())
		}
	}
	return names, err
}

func (o *offline) close() error {
	if o.lock == nil {
		return nil
	}
	return o.lock.close()
}
