#!/bin/sh
# Builds the fuzz target and lets libFuzzer run it. Usage: fuzz.sh [SECONDS] [OPTIONS FOR libFuzzer...]
# What it learns stays in target/fuzz/corpus, what it finds in target/fuzz/found.
set -eu

here=$(cd "$(dirname "$0")" && pwd)
cd "$here/../.."
seconds=${1:-60}
shift $(($# < 1 ? $# : 1))

# Only our own crates are instrumented: with everything else as it is, nothing but them is built again, and
# wasmtime does not fill the picture.
export EMBERGATE_BUNDLE=none RUSTC_WORKSPACE_WRAPPER="$here/rustc.sh"
cargo build --package embergate-fuzz --bin embergate-fuzz --message-format short
target=${CARGO_TARGET_DIR:-target}
mkdir -p "$target/fuzz/corpus" "$target/fuzz/found"
exec "$target/debug/embergate-fuzz" -max_total_time="$seconds" -timeout=30 -max_len=4096 -print_final_stats=1 \
    -dict="$here/words.dict" -artifact_prefix="$target/fuzz/found/" "$@" "$target/fuzz/corpus" "$here/seeds"
