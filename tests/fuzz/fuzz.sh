#!/bin/sh
# Builds the fuzz targets and lets libFuzzer run them in turn. Usage: fuzz.sh [SECONDS FOR EACH] [TARGET [OPTIONS FOR libFuzzer...]]
# What it learns stays in target/fuzz/corpus, what it finds in target/fuzz/found.
set -eu

here=$(cd "$(dirname "$0")" && pwd)
cd "$here/../.."
seconds=${1:-60}
shift $(($# < 1 ? $# : 1))
targets=${1:-requests components answers sources spans patches}
shift $(($# < 1 ? $# : 1))

# Only our own crates are instrumented: with everything else as it is, nothing but them is built again, and
# wasmtime does not fill the picture.
export EMBERGATE_BUNDLE=none RUSTC_WORKSPACE_WRAPPER="$here/rustc.sh"
cargo build --package embergate-fuzz --bin embergate-fuzz --message-format short
target=${CARGO_TARGET_DIR:-target}
for name in $targets; do
    mkdir -p "$target/fuzz/corpus/$name" "$target/fuzz/found/$name"
    length=4096
    if [ "$name" = components ]; then length=16384; fi
    FUZZ_TARGET=$name "$target/debug/embergate-fuzz" -max_total_time="$seconds" -timeout=30 -max_len=$length \
        -print_final_stats=1 -dict="$here/words/$name.dict" -artifact_prefix="$target/fuzz/found/$name/" "$@" \
        "$target/fuzz/corpus/$name" "$here/seeds/$name"
done
