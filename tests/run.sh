#!/usr/bin/env bash
# Installs what the tests need and runs them all. Names of tests may be given to run only those.
set -euo pipefail
cd "$(dirname "$0")/.."

# Guests that misbehave on purpose, and the official clients of the protocols that we speak.
tests/guests/build.sh
tests/conformance/clients/install.sh
tests/conformance/schemathesis/install.sh

if command -v cargo-nextest >/dev/null; then
    run() { cargo nextest run --no-fail-fast "$@"; }
    ignored=(--run-ignored only)
else
    run() { cargo test --no-fail-fast "$@"; }
    ignored=(-- --ignored)
fi

run --workspace "$@"
if [ "$#" -eq 0 ]; then
    # Not run by a bare `cargo test`, because the clients have to be installed first.
    run --test conformance "${ignored[@]}"
    # nextest leaves out the examples in documentation.
    cargo test --doc --quiet
fi
