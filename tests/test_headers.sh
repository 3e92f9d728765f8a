#!/bin/sh
# SPDX-License-Identifier: MIT
# Every public header compiles alone, as C99 and as C++, and colt5.h includes them all.
# Wants srcdir, CC and CPPFLAGS (make check sets them); CXX is taken when there is one.
set -u
srcdir=${srcdir:-.}
includes="-Iinclude -I$srcdir/include ${CPPFLAGS:-}"
work=$(mktemp -d) || exit 99
trap 'rm -rf "$work"' EXIT
failed=0

headers=$(cd "$srcdir/include" && find colt5 -name '*.h' ! -name version.h | sort)
headers="$headers colt5/version.h"

for header in $headers; do
    [ "$header" = colt5/colt5.h ] || grep -q "^#include <$header>" "$srcdir/include/colt5/colt5.h" || {
        echo "colt5.h does not include $header"
        failed=1
    }
    echo "#include <$header>" >>"$work/each.txt"
    printf '#include <%s>\n#include <%s>\ntypedef int unit;\n' "$header" "$header" >"$work/unit.c"
    cp "$work/unit.c" "$work/unit.cc"
    # shellcheck disable=SC2086 # lists of options
    ${CC:-cc} -std=c99 -pedantic-errors -Wall -Wextra -Wstrict-prototypes -Werror $includes \
        -fsyntax-only "$work/unit.c" || { echo "$header: not C99"; failed=1; }
done

cxx=${CXX:-c++}
if command -v "$cxx" >/dev/null 2>&1; then
    # One unit a header is slow in C++: all of them, in both orders.
    for order in sort 'sort -r'; do
        $order "$work/each.txt" >"$work/all.cc"
        # shellcheck disable=SC2086
        $cxx -std=c++11 -pedantic-errors -Wall -Wextra -Werror $includes -fsyntax-only \
            "$work/all.cc" || { echo "not C++11 ($order)"; failed=1; }
    done
else
    echo "no C++ compiler: C99 alone was checked"
fi
exit $failed
