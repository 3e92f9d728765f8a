#!/bin/sh
# SPDX-License-Identifier: MIT
# Makes ./configure in a git clone. Needs autoconf, automake, libtool and pkg-config.
set -e
cd "$(dirname "$0")"
autoreconf --install --force --warnings=all
