#!/bin/sh
# Has one client ask what goes wrong. Usage: failing.sh CLIENT GATEWAY_URL CASE…
# CLIENT is openai_node, or one of those in failing.py.
set -eu

here=$(cd "$(dirname "$0")" && pwd)
. "$here/environment.sh"

case $1 in
openai_node) shift && exec node "$clients/node/failing.mjs" "$@" ;;
*) exec "$python" "$here/failing.py" "$@" ;;
esac
