#!/bin/sh
# Sends a gateway what schemathesis makes up from its own OpenAPI document; ends with 1 if any answer
# is not as the document says. Usage: run.sh GATEWAY_URL [SECONDS] [OPTIONS FOR schemathesis...]
# With EMBERGATE_KEY set to a key, the gateway has [[key]] tables, and must refuse who sends none or another.
set -eu

here=$(cd "$(dirname "$0")" && pwd)
installed=${EMBERGATE_SCHEMATHESIS:-$here/../../../target/schemathesis}
installed=$(cd "$installed" && pwd)
url=$1
seconds=${2:-30}
shift $(($# < 2 ? $# : 2))

if [ -n "${EMBERGATE_KEY:-}" ]; then
    set -- --header "Authorization: Bearer $EMBERGATE_KEY" "$@"
fi
export PYTHONDONTWRITEBYTECODE=1
# Leaves nothing behind: hypothesis would keep its examples in the current folder.
cd "$installed"
exec env PYTHONPATH="$here" "$installed/python/bin/st" --config-file "$here/schemathesis.toml" run "$url/openapi.json" \
    --max-time "$seconds" --no-color "$@"
