#!/usr/bin/env bash
# Installs what the tests need and runs them all. Names of tests may be given to run only those.
set -euo pipefail
cd "$(dirname "$0")/.."

# Guests that misbehave on purpose, and the official clients of the protocols that we speak.
tests/guests/build.sh
tests/conformance/clients/install.sh

if command -v cargo-nextest >/dev/null; then
    cargo nextest run --workspace --no-fail-fast "$@"
else
    cargo test --workspace --no-fail-fast "$@"
fi
# nextest does not run the examples in documentation.
[ "$#" -gt 0 ] || cargo test --doc --quiet
