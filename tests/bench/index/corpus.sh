#!/bin/sh
# Fetches the corpus that indexing is measured on, the HTML files of Debian's package rust-doc, into
# target/bench/rust-doc. Does nothing when they are there.
set -eu

here=$(cd "$(dirname "$0")" && pwd)
into=$here/../../../target/bench/rust-doc

if [ -f "$into/complete" ]; then
    exit 0
fi
if ! command -v apt-get >/dev/null; then
    echo "the corpus comes from Debian's packages, and there is no apt-get: unpack rust-doc's HTML into $into" >&2
    exit 1
fi
rm -rf "$into"
mkdir -p "$into/package" "$into/html"
cd "$into/package"
apt-get download rust-doc 2>/dev/null || { apt-get update && apt-get download rust-doc; }
dpkg-deb --extract rust-doc_*.deb .
cd usr/share/doc/rust-doc/html
find . -type f -name '*.html' -print0 | tar cf - --null --files-from=- | tar xf - -C "$into/html"
rm -rf "$into/package"
touch "$into/complete"
