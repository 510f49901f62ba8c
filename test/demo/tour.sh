#!/bin/sh
# A tour of slotd against a daemon of its own, on free ports, with a data directory that goes with it. Every command is
# printed before its output. The tour fails when a command does not exit as it should.
#
# usage: tour.sh PATH-OF-SLOTD
set -eu

[ -x "${1:-}" ] || { echo "usage: $0 PATH-OF-SLOTD" >&2; exit 2; }
PATH="$(cd "$(dirname "$1")" && pwd):$PATH"
for name in $(env | sed -n 's/^\(SLOTD_[A-Z_]*\)=.*/\1/p'); do
	unset "$name"
done
dir=$(mktemp -d "${TMPDIR:-/tmp}/slotd-demo.XXXXXX")
daemon=

# leave ends the daemon, whose tasks end with it, and removes what it kept.
leave() {
	if [ -n "$daemon" ]; then
		kill -TERM "$daemon" 2>/dev/null || true
		wait "$daemon" || true
	fi
	rm -rf "$dir"
}
trap leave EXIT
trap 'exit 129' HUP
trap 'exit 130' INT
trap 'exit 143' TERM

say() { printf '\n# %s\n' "$1"; }

# check fails the tour unless a command has exited as it should.
check() {
	[ "$2" -eq 0 ] || echo "(exit code $2)"
	[ "$1" -eq "$2" ] || { echo "the tour expected exit code $1" >&2; exit 1; }
}

# show runs a command that exits with $1.
show() {
	printf '$ %s\n' "$2"
	got=0
	eval "$2" || got=$?
	check "$1" "$got"
}

# submit runs a command that prints the id of a task, and keeps the id.
submit() {
	printf '$ %s\n' "$1"
	got=0
	id=$(eval "$1") || got=$?
	echo "$id"
	check 0 "$got"
}

say 'A node: one line tells its addresses.'
echo '$ slotd serve --http 127.0.0.1:0 --grpc 127.0.0.1:0 --data DIR &'
slotd serve --http 127.0.0.1:0 --grpc 127.0.0.1:0 --data "$dir/data" >"$dir/ready" 2>"$dir/log" &
daemon=$!
until grep -q '^slotd ready' "$dir/ready"; do
	kill -0 "$daemon" 2>/dev/null || { cat "$dir/log" >&2; exit 1; }
	sleep 0.1
done
cat "$dir/ready"
SLOTD_ADDR="http://$(sed -n 's/.* http=\([^ ]*\).*/\1/p' "$dir/ready")"
export SLOTD_ADDR

say 'Submit, follow, exit as the command does.'
show 3 "slotd run -- sh -c 'echo out; echo err >&2; exit 3'"

say 'Submit now, follow the output later, from its first line on.'
submit "slotd submit --slot count -- sh -c 'for i in 1 2 3; do echo line \$i; sleep 0.2; done'"
show 0 "slotd logs -f $id"

say 'Retry with backoff until the budget of retries is used up.'
show 1 "slotd run --restart on-failure --max-retries 2 --backoff first=200ms,factor=2,jitter=none -- sh -c 'echo attempt \$SLOTD_ATTEMPT; exit 1'"

say 'An attempt has a time limit.'
show 124 "slotd run --timeout 500ms -- sleep 60"

say 'A slot has one holder. What meets a busy slot is refused,'
submit "slotd submit --slot build -- sh -c 'echo first; sleep 300'"
show 4 "slotd submit --slot build -- echo refused"

say 'or queued behind the holder,'
submit "slotd submit --slot build --admission queue -- echo 'my turn'"
queued=$id

say 'or replaces it; the queue keeps its order.'
submit "slotd submit --slot build --admission replace -- sh -c 'echo newer; sleep 300 & wait'"
show 0 "slotd wait --for running $id"
show 0 "slotd ls --slot build"
show 0 "slotd slots"

say 'Cancel answers when the whole process tree is dead. Then it is the turn of the queue.'
show 0 "slotd cancel $id"
show 0 "slotd runs $id"
show 143 "slotd wait $id"
show 0 "slotd wait $queued"
show 0 "slotd logs $queued"

say 'SIGTERM stops the node; it waits for what it has to stop, and says so.'
submit "slotd submit --slot last -- sleep 300"
show 0 "slotd wait --for running $id"
echo '$ kill -TERM %1'
kill -TERM "$daemon"
got=0
wait "$daemon" || got=$?
daemon=
grep -v 'running as root' "$dir/log" || true
check 0 "$got"
