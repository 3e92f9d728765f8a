# SPDX-License-Identifier: MIT
# shellcheck shell=sh disable=SC2034 # sourced
# Sourced by the other scripts: Debian's and Ubuntu's names of what they need.

BUILD_PACKAGES="build-essential autoconf automake libtool pkg-config ocl-icd-opencl-dev
    opencl-headers libclblast-dev libjansson-dev libpng-dev libopenblas-dev pocl-opencl-icd"
TEST_PACKAGES="check clang-format clang-16 rocm-device-libs intel-opencl-icd mesa-opencl-icd
    oclgrind mandoc shellcheck xz-utils"
DEMO_PACKAGES="bible-kjv"

# Installs what is missing, with sudo when not root; silent when nothing is.
need_packages() {
    missing=
    for package in "$@"; do
        dpkg-query -W -f '${db:Status-Status}' "$package" 2>/dev/null | grep -qx installed ||
            missing="$missing $package"
    done
    [ -n "$missing" ] || return 0
    command -v apt-get >/dev/null || {
        echo "this script installs with apt-get; install these by hand:$missing" >&2
        return 1
    }
    echo "installing:$missing"
    as_root=
    [ "$(id -u)" = 0 ] || as_root=sudo
    # shellcheck disable=SC2086 # a list of packages
    (
        $as_root apt-get -qq update
        $as_root env DEBIAN_FRONTEND=noninteractive apt-get -qq install -y \
            --no-install-recommends $missing
    ) >"${TMPDIR:-/tmp}/colt5-install.log" 2>&1 || {
        tail -n 20 "${TMPDIR:-/tmp}/colt5-install.log" >&2
        echo "these could not be installed:$missing" >&2
        return 1
    }
}
