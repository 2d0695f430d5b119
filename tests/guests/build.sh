#!/usr/bin/env bash
# Builds the hostile guest into target/guests/hostile.wasm, by the ways of plugins/build.sh.
# Another package of the workspace may be named, and the file that it is built into:
#   tests/guests/build.sh embergate-hostile-guest target/guests/hostile.wasm
# CARGO_TARGET_DIR is honoured.
set -euo pipefail

readonly triple=wasm32-unknown-unknown

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
target=${CARGO_TARGET_DIR:-$root/target}
[[ $target == /* ]] || target=$PWD/$target
package=${1:-embergate-hostile-guest} out=${2:-$target/guests/hostile.wasm}
build=$target/guests-build
flags=(--quiet --lib --profile plugin --target "$triple" --package "$package")

sysroot=$(rustc --print sysroot)
if compgen -G "$sysroot/lib/rustlib/$triple/lib/libstd-*.rlib" >/dev/null; then
    build+=/current
else
    # Debian's rustc-web: the standard library comes as source, so it is built as well.
    export RUSTC=/usr/bin/rustc RUSTC_BOOTSTRAP=1 CARGO_TARGET_WASM32_UNKNOWN_UNKNOWN_LINKER=wasm-ld
    build+=/debian
    flags+=(-Zbuild-std=std,panic_abort)
fi
unset RUSTFLAGS CARGO_ENCODED_RUSTFLAGS CARGO_BUILD_TARGET RUSTC_WRAPPER RUSTC_WORKSPACE_WRAPPER
(cd "$root" && cargo build --target-dir "$build" "${flags[@]}")

mkdir -p "$(dirname "$out")"
cp "$build/$triple/plugin/${package//-/_}.wasm" "$out"
