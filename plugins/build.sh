#!/usr/bin/env bash
# Builds every plugin of this folder into target/plugins/NAME.wasm.
#
# A crate becomes a core module that carries its component type; the gateway
# makes a component of it at load. rustc needs a WebAssembly target for this,
# which is taken from the first place that has one:
#   1. the current toolchain,
#   2. Debian's rustc-web, where it is installed,
#   3. `rustup target add`,
#   4. Debian's rustc-web, installed now (as root only).
# CARGO_TARGET_DIR is honoured. Says nothing unless something is built or wrong.
set -euo pipefail

readonly triple=wasm32-unknown-unknown
readonly debian_packages=(rustc-web rust-web-src lld)

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
target=${CARGO_TARGET_DIR:-$root/target}
[[ $target == /* ]] || target=$PWD/$target
readonly root target
# Not target/ itself: this may run inside a build script, while cargo holds that folder's lock.
readonly build=$target/plugins-build out=$target/plugins

say() { printf 'plugins/build.sh: %s\n' "$*" >&2; }

has_current() {
    local sysroot
    sysroot=$(rustc --print sysroot 2>/dev/null) || return 1
    compgen -G "$sysroot/lib/rustlib/$triple/lib/libstd-*.rlib" >/dev/null
}

has_debian() {
    [[ -x /usr/bin/rustc ]] && command -v wasm-ld >/dev/null || return 1
    [[ -e $(/usr/bin/rustc --print sysroot)/lib/rustlib/src/rust/library/Cargo.lock ]]
}

# Without a network this must fail soon and without noise: the next way may work.
add_by_rustup() {
    command -v rustup >/dev/null || return 1
    local limit=()
    if command -v timeout >/dev/null; then limit=(timeout 300); fi
    ${limit[@]+"${limit[@]}"} rustup target add "$triple" >/dev/null 2>&1 && has_current
}

add_by_apt() {
    command -v apt-get >/dev/null && [[ $(id -u) == 0 ]] || return 1
    say "installing ${debian_packages[*]} by apt-get"
    local apt=(apt-get -qq -o DPkg::Lock::Timeout=300)
    "${apt[@]}" update >/dev/null || say "apt-get update failed; trying with the lists that are there"
    DEBIAN_FRONTEND=noninteractive "${apt[@]}" install --no-install-recommends -y "${debian_packages[@]}" >/dev/null &&
        has_debian
}

use_current() {
    toolchain=current
    # A distribution's rustc brings no linker of its own for this target.
    if ! command -v rust-lld >/dev/null && ! compgen -G "$(rustc --print sysroot)/lib/rustlib/*/bin/rust-lld" >/dev/null; then
        export CARGO_TARGET_WASM32_UNKNOWN_UNKNOWN_LINKER=wasm-ld
    fi
}

# Debian ships the standard library as source only. This compiler is a release,
# so it wants to be told that -Zbuild-std is meant.
use_debian() {
    toolchain=debian
    flags+=(-Zbuild-std=std,panic_abort)
    export RUSTC=/usr/bin/rustc RUSTC_BOOTSTRAP=1
    export CARGO_TARGET_WASM32_UNKNOWN_UNKNOWN_LINKER=wasm-ld
}

flags=()
if has_current; then
    use_current
elif has_debian; then
    use_debian
elif add_by_rustup; then
    use_current
elif add_by_apt; then
    use_debian
else
    say "no WebAssembly target for rustc was found. Any of these brings one:"
    say "  rustup target add $triple"
    say "  apt-get install ${debian_packages[*]}     (Debian 12 and later, as root)"
    say "Or build the gateway without its plugins: EMBERGATE_BUNDLE=none cargo build"
    exit 1
fi

names=()
for manifest in "$root"/plugins/*/Cargo.toml; do
    name=$(basename "$(dirname "$manifest")")
    names+=("$name")
    flags+=(--package "embergate-$name")
done

# Flags meant for the host's processor would break the build for WebAssembly.
unset RUSTFLAGS CARGO_ENCODED_RUSTFLAGS CARGO_BUILD_TARGET RUSTC_WRAPPER RUSTC_WORKSPACE_WRAPPER
# One folder for each toolchain, so that changing it does not mix two compilers' work.
(cd "$root" && cargo build --quiet --lib --profile plugin --target "$triple" \
    --target-dir "$build/$toolchain" "${flags[@]}")

mkdir -p "$out"
for name in "${names[@]}"; do
    made=$build/$toolchain/$triple/plugin/embergate_${name//-/_}.wasm
    installed=$out/$name.wasm
    if ! cmp -s "$made" "$installed"; then
        say "$name.wasm, $(wc -c <"$made" | tr -d ' ') bytes"
    fi
    # Copied even when equal: its date then says that it is newer than its sources.
    cp "$made" "$installed.$$"
    mv -f "$installed.$$" "$installed"
done
