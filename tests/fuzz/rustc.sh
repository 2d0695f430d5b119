#!/bin/sh
# Stands between cargo and rustc for our own crates: what libFuzzer needs to see where a run went.
set -eu

# A build script runs by itself, without libFuzzer.
case " $* " in *" build_script_"*) exec "$@" ;; esac
exec "$@" --cfg fuzzing -Cpasses=sancov-module -Cllvm-args=-sanitizer-coverage-level=4 \
    -Cllvm-args=-sanitizer-coverage-inline-8bit-counters -Cllvm-args=-sanitizer-coverage-pc-table \
    -Cllvm-args=-sanitizer-coverage-trace-compares -Ccodegen-units=1
