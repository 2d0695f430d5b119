#!/usr/bin/env bash
# Builds one plugin in three languages, into target/languages/{rust,python,javascript}.wasm.
#
# componentize-py is installed into target/languages/componentize-py and componentize-qjs into
# target/languages/componentize-qjs, at the versions of the lock files beside this one: some 100 MB
# from their package registries. Names of languages may be given to build only those:
#   tests/bench/languages/build.sh python
# Wants python3 with venv for Python, npm for JavaScript, and what tests/guests/build.sh wants for
# Rust. CARGO_TARGET_DIR is honoured.
set -euo pipefail

readonly world=both-roles-plugin

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
root=$(cd "$here/../../.." && pwd)
target=${CARGO_TARGET_DIR:-$root/target}
[[ $target == /* ]] || target=$PWD/$target
readonly here root target
readonly out=$target/languages

say() { printf 'tests/bench/languages/build.sh: %s\n' "$*" >&2; }

want() {
    command -v "$1" >/dev/null && return
    say "there is no $1, which the plugin in $2 is built with: $3"
    exit 1
}

# Runs the rest of its arguments, unless $1 was installed by the same lock file $2 before.
install_once() {
    local into=$1 lock=$2
    shift 2
    if [[ -f $into/lock ]] && cmp -s "$lock" "$into/lock"; then return; fi
    say "installing $(basename "$into")"
    # Removed first and written last: what an interrupted run leaves behind does not count.
    rm -rf "$into"
    mkdir -p "$into"
    if ! "$@"; then
        rm -rf "$into"
        say "$(basename "$into") cannot be installed: see above; it takes the network, once"
        exit 1
    fi
    cp "$lock" "$into/lock"
}

# Takes the place of the one before only when it is whole.
finish() {
    mv -f "$out/$1.unfinished" "$out/$1.wasm"
    say "$1.wasm, $(wc -c <"$out/$1.wasm" | tr -d ' ') bytes"
}

rust() {
    "$root/tests/guests/build.sh" embergate-plain "$out/rust.unfinished"
    finish rust
}

install_python() {
    python3 -m venv "$out/componentize-py" &&
        "$out/componentize-py/bin/pip" install --quiet --disable-pip-version-check --retries 0 \
            --require-hashes --requirement "$here/python/requirements.txt"
}

python() {
    want python3 Python "install Python 3.10 or newer, with venv"
    install_once "$out/componentize-py" "$here/python/requirements.txt" install_python
    # Built from a copy, because compiled modules are put beside the sources.
    mkdir -p "$out/python-source"
    cp "$here/python/app.py" "$out/python-source/"
    "$out/componentize-py/bin/componentize-py" --wit-path "$root/wit" --world "$world" \
        componentize --python-path "$out/python-source" --output "$out/python.unfinished" app >/dev/null
    finish python
}

install_javascript() {
    # Not `npm ci`: it stops at builds for other systems that are named and were never published.
    cp "$here/javascript/package.json" "$here/javascript/package-lock.json" "$out/componentize-qjs/" &&
        npm install --prefix "$out/componentize-qjs" --fetch-retries=0 --ignore-scripts --no-audit --no-fund \
            --loglevel=error >/dev/null
}

javascript() {
    want npm JavaScript "install Node.js 18 or newer"
    install_once "$out/componentize-qjs" "$here/javascript/package-lock.json" install_javascript
    "$out/componentize-qjs/node_modules/.bin/componentize-qjs" --wit "$root/wit" --world "$world" --sync \
        --js "$here/javascript/app.js" --output "$out/javascript.unfinished" >/dev/null
    finish javascript
}

mkdir -p "$out"
[[ $# != 0 ]] || set -- rust python javascript
for language; do
    case $language in
    rust | python | javascript) "$language" ;;
    *)
        say "there is no plugin in $language: rust, python or javascript"
        exit 2
        ;;
    esac
done
