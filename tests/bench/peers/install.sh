#!/bin/sh
# Installs what the gateway is measured against: LiteLLM and the pattern that it replaces, into
# target/bench/peers. Does nothing when they are there. nginx comes from the system's packages.
set -eu

here=$(cd "$(dirname "$0")" && pwd)
into=$here/../../../target/bench/peers

if [ -f "$into/lock" ] && cmp -s "$here/requirements.txt" "$into/lock"; then
    exit 0
fi
rm -rf "$into"
mkdir -p "$into"
python3 -m venv "$into"
"$into/bin/pip" install --quiet --disable-pip-version-check --require-hashes \
    --requirement "$here/requirements.txt"
test -x "$into/bin/litellm"
cp "$here/requirements.txt" "$into/lock"

if ! command -v nginx >/dev/null && [ ! -x /usr/sbin/nginx ]; then
    if [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null; then
        apt-get install --yes --no-install-recommends nginx-light
    else
        echo "nginx is not installed, so its lines of the table have no figure: apt-get install nginx-light" >&2
    fi
fi
