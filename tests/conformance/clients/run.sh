#!/bin/sh
# Runs every real client against a gateway, and compares its vectors with those that the upstream
# behind the gateway gives when it is asked directly; ends with 1 if any of them saw something wrong.
# Usage: run.sh GATEWAY_URL MODEL UPSTREAM_URL [UPSTREAM_MODEL]
# The upstream has to speak Ollama's API; the model has to be one of which a prefix is a vector.
set -eu

here=$(cd "$(dirname "$0")" && pwd)
. "$here/environment.sh"

failed=0
for client in openai_python ollama_python langchain_with_openai langchain_with_ollama curl_command; do
    "$python" "$here/$client.py" "$@" || failed=1
done
node "$clients/node/openai_node.mjs" "$@" || failed=1
exit $failed
