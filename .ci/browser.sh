#!/usr/bin/env bash
# Installs the browser in which the page of a trace is tested, on Debian as root. Where it cannot be installed,
# the tests that need it are skipped, and say so.
set -u
[ "$(id -u)" = 0 ] && command -v apt-get > /dev/null || exit 0
command -v chromium > /dev/null && command -v chromedriver > /dev/null && exit 0
export DEBIAN_FRONTEND=noninteractive
apt-get update -qq > /dev/null 2>&1
packages="chromium chromium-driver"
# shellcheck disable=SC2086
apt-get install -qq -y --no-install-recommends $packages > /dev/null 2>&1 || echo "not installed: $packages"
exit 0
