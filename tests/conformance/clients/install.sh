#!/bin/sh
# Installs the real clients, at the versions of the lock files, into target/clients.
# Does nothing when they are there. Usage: install.sh [FOLDER]
set -eu

here=$(cd "$(dirname "$0")" && pwd)
into=${1:-$here/../../../target/clients}
mkdir -p "$into"
into=$(cd "$into" && pwd)

locks() {
    cat "$here/requirements.txt" "$here/package-lock.json"
}

if [ -f "$into/locks" ] && locks | cmp -s - "$into/locks"; then
    exit 0
fi
rm -f "$into/locks"

python3 -m venv "$into/python"
"$into/python/bin/pip" install --quiet --disable-pip-version-check --requirement "$here/requirements.txt"

mkdir -p "$into/node"
cp "$here/package.json" "$here/package-lock.json" "$into/node/"
npm ci --prefix "$into/node" --ignore-scripts --no-audit --no-fund --loglevel=error
# An npm that is interrupted may say that all went well.
test -d "$into/node/node_modules/openai"

locks > "$into/locks"
