package subprocess

import (
	"testing"

	"github.com/hashicorp/go-hclog"
)

func TestStatIsReadWhateverTheName(t *testing.T) {
	const rest = " S 2 3 4 1025 5 4194560 1 2 3 4 5 6 7 8 20 0 1 0 987654 1000 10\n"
	want := stat{pid: 7, state: 'S', parent: 2, group: 3, session: 4, tty: 1025, start: 987654}
	for _, name := range []string{"(sh)", "(a b)", "(x) R 9 9 9 (y)", "())", "(\n)"} {
		if got, err := parseStat(7, []byte("7 "+name+rest)); err != nil || got != want {
			t.Errorf("%s: got %+v, %v, want %+v", name, got, err, want)
		}
	}
	for _, text := range []string{"", "7 (sh)", "7 (sh) S 1 2", "7 (sh) S x 3 4 1025 5 6 7 8 9 1 2 3 4 5 6 7 8 9 1 2"} {
		if s, err := parseStat(7, []byte(text)); err == nil {
			t.Errorf("%q was read as %+v", text, s)
		}
	}
}

func TestOwnGroupIsFoundOnEveryKindOfHost(t *testing.T) {
	const hybrid = "36 30 0:33 / /sys/fs/cgroup/freezer rw - cgroup cgroup rw,freezer\n" +
		"40 30 0:37 / /sys/fs/cgroup/unified rw,relatime shared:9 - cgroup2 cgroup2 rw\n"
	for _, test := range []struct{ name, mounts, position, want string }{
		{"pure", "30 23 0:26 / /sys/fs/cgroup rw - cgroup2 cgroup2 rw\n", "0::/system.slice/slotd.service\n", "/sys/fs/cgroup/system.slice/slotd.service"},
		{"hybrid", hybrid, "8:pids:/a\n0::/\n", "/sys/fs/cgroup/unified"},
		{"part of the hierarchy", "30 23 0:26 /docker/abc /sys/fs/cgroup rw - cgroup2 cgroup rw\n", "0::/docker/abc/x\n", "/sys/fs/cgroup/x"},
		{"blank in the path", `30 23 0:26 / /mnt/my\040groups rw - cgroup2 cgroup2 rw` + "\n", "0::/a b\n", "/mnt/my groups/a b"},
		{"second mount fits", "30 23 0:26 /other /a rw - cgroup2 x rw\n31 23 0:26 / /b rw - cgroup2 x rw\n", "0::/me\n", "/b/me"},
		{"another part", "30 23 0:26 /docker/abc /sys/fs/cgroup rw - cgroup2 cgroup rw\n", "0::/docker/abcd\n", ""},
		{"outside the namespace", "30 23 0:26 /.. /sys/fs/cgroup rw - cgroup2 cgroup rw\n", "0::/../x\n", "/sys/fs/cgroup/x"},
		{"version 1 only", "36 30 0:33 / /sys/fs/cgroup/pids rw - cgroup cgroup rw,pids\n", "8:pids:/a\n", ""},
		{"not mounted", "36 30 0:33 / / rw - ext4 /dev/vda rw\n", "0::/\n", ""},
		{"cut short", "30 23\n", "0::/\n", ""},
	} {
		t.Run(test.name, func(t *testing.T) {
			got, err := locateGroup(test.mounts, test.position)
			if got != test.want || (err == nil) != (test.want != "") {
				t.Errorf("got %q, %v, want %q", got, err, test.want)
			}
		})
	}
}

func TestConfigIsValidatedAtOnce(t *testing.T) {
	err := Config{Dir: "relative", Tree: "bush", Env: map[string]string{"A=B": ""}}.Validate()
	want := "dir \"relative\" is not an absolute path\ntree \"bush\" is neither cgroup nor scan\nenv \"A=B\" cannot be an environment variable"
	if err == nil || err.Error() != want {
		t.Errorf("got %v, want %s", err, want)
	}
	if _, err := New(Config{Dir: "relative"}, hclog.NewNullLogger()); err == nil {
		t.Error("New took what Validate refuses")
	}
}

func TestInfoCarriesTheLabels(t *testing.T) {
	r := open(t, Config{Name: "host", Labels: map[string]string{"zone": "a", "runner": "forged"}})
	info := r.Info()
	if info.Name != "host" || info.Kind != "subprocess" || info.Labels["runner"] != "host" || info.Labels["zone"] != "a" || len(info.Limits) > 0 {
		t.Errorf("info %+v", info)
	}
	if info.Tree != string(TreeCgroup) && info.Tree != string(TreeScan) {
		t.Errorf("tree %q", info.Tree)
	}
}
