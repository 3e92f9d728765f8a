# shellcheck shell=sh
# Sourced by other scripts, in the folder of the sources: kernel files as the library puts them together.

# Lines "file prelude": what a file begins with behind common.cl.
kernel_preludes=$(sed -n '/define KERNEL_PRELUDE_LIST/,/clang-format on/s/.*X(\(.*\), \(.*\)).*/\1 \2/p' \
    src/runtime/kernels.h)

# parts_with_repeats FILE: what it is made of, in order, some parts more than once.
parts_with_repeats() {
    echo "$kernel_preludes" | sed -n "s/^$1 //p" | while read -r part; do parts_with_repeats "$part"; done
    echo "$1"
}

# kernel_parts FILE: the files it is made of, without .cl, in their order.
kernel_parts() {
    echo common
    parts_with_repeats "$1" | awk '!seen[$0]++'
}

# kernel_text FILE [FOLDER]: the whole of it; parts that FOLDER has are taken from there.
kernel_text() {
    for part in $(kernel_parts "$1"); do
        if [ -f "${2-}/$part.cl" ]; then cat "$2/$part.cl"; else cat "kernels/$part.cl"; fi
    done
}
