#!/usr/bin/env bash
# Runs every fuzz target of the module for a time each, one after the other, and fails when one finds something.
# Targets are what `go test -list` names, so that a new one takes part without a word here.
#
#	test/fuzz/run.sh TIME [PACKAGE…]	TIME as in -fuzztime: 5s, 1h, 1000x
#
# What is found is written to the testdata/fuzz of the package, where plain `go test` runs it from then on.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."

time=${1:?how long, such as 5s}
shift
GO=${GO:-go}

binaries=$(mktemp -d)
trap 'rm -rf "$binaries"' EXIT

count=0
failed=()
while read -r dir package; do
	# One build serves all targets of a package; -fuzz makes it report coverage.
	binary="$binaries/$count.test"
	"$GO" test -c -fuzz=. -o "$binary" "$package"
	while read -r target; do
		count=$((count + 1))
		echo "--- $package $target"
		if ! (cd "$dir" && "$binary" -test.run='^$' -test.fuzz="^$target\$" -test.fuzztime="$time" -test.fuzzminimizetime=1s \
			-test.fuzzcachedir="$binaries/corpus/$package" -test.timeout=0); then
			failed+=("$package $target")
		fi
	done < <("$binary" -test.list '^Fuzz' | grep '^Fuzz')
	rm -f "$binary"
done < <("$GO" list -f '{{range .TestGoFiles}}{{$.Dir}}/{{.}} {{$.Dir}} {{$.ImportPath}}{{"\n"}}{{end}}{{range .XTestGoFiles}}{{$.Dir}}/{{.}} {{$.Dir}} {{$.ImportPath}}{{"\n"}}{{end}}' "${@:-./...}" |
	while read -r file dir package; do if grep -q '^func Fuzz' "$file"; then echo "$dir $package"; fi; done | sort -u)

if ((count == 0)); then
	echo "there is no fuzz target" >&2
	exit 1
fi
if ((${#failed[@]})); then
	printf 'FOUND SOMETHING: %s\n' "${failed[@]}" >&2
	exit 1
fi
echo "$count targets, $time each: nothing found"
