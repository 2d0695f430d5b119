#!/bin/sh
# Runs every real client against a gateway; ends with 1 if any of them saw something wrong.
# Usage: run.sh GATEWAY_URL MODEL [REFERENCE_URL [REFERENCE_MODEL]]
set -eu

here=$(cd "$(dirname "$0")" && pwd)
clients=${EMBERGATE_CLIENTS:-$here/../../../target/clients}
clients=$(cd "$clients" && pwd)

failed=0
export PYTHONDONTWRITEBYTECODE=1
"$clients/python/bin/python" "$here/openai_python.py" "$@" || failed=1
"$clients/python/bin/python" "$here/ollama_python.py" "$@" || failed=1
# Node looks for packages beside the script, so the script goes to the packages.
cp "$here/openai_node.mjs" "$clients/node/"
node "$clients/node/openai_node.mjs" "$@" || failed=1
exit $failed
