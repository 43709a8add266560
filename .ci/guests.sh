#!/usr/bin/env bash
# Installs the compilers and emulators with which kernels are tested for aarch64 and for Windows, on Debian as
# root. What cannot be installed is left out: the tests that need it are skipped, and say so.
set -u
[ "$(id -u)" = 0 ] && command -v apt-get > /dev/null || exit 0
export DEBIAN_FRONTEND=noninteractive
installed() { apt-get install -qq -y --no-install-recommends "$@" > /dev/null 2>&1; }
apt-get update -qq > /dev/null 2>&1
for packages in "qemu-user g++-aarch64-linux-gnu" "wine64 g++-mingw-w64-x86-64-posix"; do
    # shellcheck disable=SC2086
    installed $packages || echo "not installed: $packages"
done
exit 0
