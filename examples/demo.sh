#!/usr/bin/env bash
# Indexes a folder with the embedded model into a throw-away store, and searches it.
#
#   examples/demo.sh [FOLDER]      the example corpus when left out
#
# BIN names the gateway's binary. Nothing else has to be installed or running.
set -euo pipefail
cd "$(dirname "$0")/.."

bin=${BIN:-target/release/embergate}
corpus=examples/corpus
folder=${1:-$corpus}
# A folder of its own: the demo touches neither your data nor your configuration.
work=${DEMO_DIR:-target/demo}
collection=$(basename "$(cd "$folder" && pwd)" | tr -c 'A-Za-z0-9_.\n-' '-')

say() { printf '\n%s\n' "$*"; }
# Shows a command as one would type it, then runs it.
run() {
    printf '$ embergate'
    for word in "$@"; do
        case $word in *' '*) printf ' "%s"' "$word" ;; *) printf ' %s' "$word" ;; esac
    done
    echo
    "$bin" --config "$work/embergate.toml" "$@"
}

mkdir -p "$work"
printf '[store]\npath = "data"\n' >"$work/embergate.toml"

say "1. Index $folder: every file goes through WebAssembly plugins, is cut into chunks, embedded and stored."
run index "$folder" --collection "$collection"

if [ "$folder" = "$corpus" ]; then
    say "2. Ask three questions, the last one in Turkish."
    while IFS=$'\t' read -r question _; do
        [ -n "$question" ] || continue
        echo
        run search "$question" --collection "$collection" --limit 3
    done <examples/searches.txt
fi

cat <<END

What to type next:
  $bin --config $work/embergate.toml search "your question" --collection $collection
  make demo DOCS=some/folder        the same with your own documents
  $bin serve            OpenAI's and Ollama's embeddings APIs on http://127.0.0.1:8642
  $bin --help

With Ollama running, name its model in embergate.toml, and everything above uses it:
  [[upstream]]
  name = "ollama"
  kind = "ollama"
  url = "http://127.0.0.1:11434"

  [[model]]
  name = "qwen3-embedding:0.6b"
  upstreams = ["ollama"]
END
