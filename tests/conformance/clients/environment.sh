# For the scripts beside it, which read it in: where the installed clients are, and what they need.
clients=${EMBERGATE_CLIENTS:-$here/../../../target/clients}
clients=$(cd "$clients" && pwd)
python=$clients/python/bin/python
export PYTHONDONTWRITEBYTECODE=1
export TIKTOKEN_CACHE_DIR="$clients/tiktoken"
# Nothing may be asked but what the arguments name.
export NO_PROXY='*' LANGSMITH_TRACING=false
# Node looks for packages beside the script, so the scripts go to the packages.
cp "$here"/*.mjs "$clients/node/"
