#!/bin/sh
# SPDX-License-Identifier: MIT
# The shared library exports the functions of the public headers, all of them and nothing else.
# Skipped where only a static library was built.
set -u
srcdir=${srcdir:-.}
library=.libs/libcolt5.so
[ -e "$library" ] || { echo "no shared library"; exit 77; }
work=$(mktemp -d) || exit 99
trap 'rm -rf "$work"' EXIT

${NM:-nm} -D --defined-only "$library" | awk '$2 != "A" { sub(/@.*/, "", $3); print $3 }' |
    sort -u >"$work/exported"

# After COLT5_API, the name before the first parenthesis.
find "$srcdir/include" include -name '*.h' -exec cat {} + | awk '
    /^#/ { next }
    /^COLT5_API/ { sub(/^COLT5_API/, ""); declaration = ""; reading = 1 }
    reading {
        declaration = declaration " " $0
        if (index(declaration, "(")) {
            sub(/ *\(.*/, "", declaration)
            sub(/.*[ *]/, "", declaration)
            print declaration
            reading = 0
        }
    }' | sort -u >"$work/declared"

[ -s "$work/declared" ] || { echo "no declaration was found"; exit 1; }
comm -23 "$work/declared" "$work/exported" | sed 's/$/: declared, not exported/' >"$work/wrong"
comm -13 "$work/declared" "$work/exported" | sed 's/$/: exported, not declared/' >>"$work/wrong"
cat "$work/wrong"
echo "$(wc -l <"$work/declared") functions"
[ ! -s "$work/wrong" ]
