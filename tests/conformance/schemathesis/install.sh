#!/bin/sh
# Installs schemathesis, at the versions and hashes of the lock file, into target/schemathesis.
# Does nothing when it is there. Usage: install.sh [FOLDER]
# The lock file: uv pip compile --generate-hashes --universal --python-version 3.11 \
#     --no-header --no-annotate requirements.in > requirements.txt
set -eu

here=$(cd "$(dirname "$0")" && pwd)
into=${1:-$here/../../../target/schemathesis}
mkdir -p "$into"
into=$(cd "$into" && pwd)

if [ -f "$into/locks" ] && cmp -s "$here/requirements.txt" "$into/locks"; then
    exit 0
fi
rm -f "$into/locks"

python3 -m venv --clear "$into/python"
"$into/python/bin/pip" install --quiet --disable-pip-version-check --require-hashes \
    --requirement "$here/requirements.txt"

cp "$here/requirements.txt" "$into/locks"
