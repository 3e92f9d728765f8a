#!/bin/sh
# SPDX-License-Identifier: MIT
# make installcheck: a client of the installed library, found through pkg-config and through CMake,
# in C99 and C++, and run on a model that the installed program makes.
# Wants srcdir, DESTDIR, bindir, libdir, CC (and CXX) as make knows them.
set -eu
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
destdir=${DESTDIR:-}
: "${srcdir:?}" "${bindir:?}" "${libdir:?}"
export PKG_CONFIG_PATH="$destdir$libdir/pkgconfig" PKG_CONFIG_SYSROOT_DIR="$destdir"
export LD_LIBRARY_PATH="$destdir$libdir${LD_LIBRARY_PATH:+:$LD_LIBRARY_PATH}"
export XDG_CACHE_HOME="$work/cache" POCL_CACHE_DIR="${POCL_CACHE_DIR:-$work/pocl}"
mkdir -p "$work/cache" "$POCL_CACHE_DIR"
cc=${CC:-cc} cxx=${CXX:-c++}

static=
[ -e "$destdir$libdir/libcolt5.so" ] || static=--static
cflags=$(pkg-config --cflags colt5)
# shellcheck disable=SC2086 # --static or nothing
libs=$(pkg-config --libs $static colt5)
echo "pkg-config: $cflags $libs"

# shellcheck disable=SC2086 # lists of options
$cc -std=c99 -pedantic -Wall -Wextra -Werror $cflags "$srcdir/examples/encode.c" $libs \
    -o "$work/encode"
if command -v "$cxx" >/dev/null; then
    cat >"$work/client.cc" <<'END'
#include <colt5/colt5.h>
#include <cstdio>
#include <cstring>
int main()
{
    std::puts(colt5_version());
    return std::strcmp(colt5_version(), COLT5_VERSION) != 0;
}
END
    # shellcheck disable=SC2086
    $cxx -std=c++11 -pedantic -Wall -Wextra -Werror $cflags "$work/client.cc" $libs -o "$work/client"
    "$work/client"
fi

if command -v cmake >/dev/null; then
    mkdir "$work/cmake"
    cat >"$work/cmake/CMakeLists.txt" <<END
cmake_minimum_required(VERSION 3.10)
project(client C)
find_package(colt5 REQUIRED CONFIG)
add_executable(encode "$(cd "$srcdir" && pwd)/examples/encode.c")
target_link_libraries(encode PRIVATE colt5::colt5)
END
    cmake -S "$work/cmake" -B "$work/cmake/build" -DCMAKE_PREFIX_PATH="$destdir$libdir/cmake" \
        -DCMAKE_C_COMPILER="${cc%% *}"
    cmake --build "$work/cmake/build"
fi

code=0
"$destdir$bindir/colt5" init "$srcdir/examples/text_encoder.json" --seed 1 \
    --output "$work/model" || code=$?
if [ $code = 3 ]; then
    echo "no OpenCL device: the clients were built, not run"
    exit 0
fi
[ $code = 0 ]
"$destdir$bindir/colt5" train --preset tiny --data "$destdir$bindir/colt5" --steps 1 \
    --output "$work/trained" >/dev/null
for client in "$work/encode" "$work/cmake/build/encode"; do
    [ -x "$client" ] || continue
    numbers=$("$client" "$work/model" "In the beginning was the Word" | wc -w)
    [ "$numbers" = 64 ] || { echo "$client gave $numbers numbers, not 64"; exit 1; }
done
echo "clients in C99, C++ and CMake: fine"
