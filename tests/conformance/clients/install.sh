#!/bin/sh
# Installs the real clients, at the versions of the lock files, into target/clients.
# Does nothing when they are there. Usage: install.sh [FOLDER]
set -eu

here=$(cd "$(dirname "$0")" && pwd)
into=${1:-$here/../../../target/clients}
mkdir -p "$into"
into=$(cd "$into" && pwd)

# What is installed is known by the files that say what to install, this one among them.
locks() {
    cat "$here/requirements.txt" "$here/package-lock.json" "$here/install.sh"
}

if [ -f "$into/locks" ] && locks | cmp -s - "$into/locks"; then
    exit 0
fi
# Removed first and written last: what an interrupted run leaves behind does not count.
rm -rf "$into/locks" "$into/python" "$into/node" "$into/tiktoken"

python3 -m venv "$into/python"
python=$into/python/bin/python
"$python" -m pip install --quiet --disable-pip-version-check --require-hashes \
    --requirement "$here/requirements.txt"

# LangChain numbers words by a table that tiktoken would fetch from the internet. A crate
# that Embergate is built with has it, and tiktoken looks for it under the hash of its address.
table=$(cd "$here" && cargo metadata --format-version 1 --locked | "$python" -c '
import json, pathlib, sys
packages = json.load(sys.stdin)["packages"]
crate = next(package for package in packages if package["name"] == "tiktoken-rs")
print(pathlib.Path(crate["manifest_path"]).parent / "assets" / "cl100k_base.tiktoken")')
mkdir -p "$into/tiktoken"
cp "$table" "$into/tiktoken/9b5ad71b2ce5302211f9c61530b329a4922fc6a4"

mkdir -p "$into/node"
cp "$here/package.json" "$here/package-lock.json" "$into/node/"
npm ci --prefix "$into/node" --ignore-scripts --no-audit --no-fund --loglevel=error

# An installer that is interrupted may say that all went well. The table is read with every
# way to the internet closed: tiktoken fetches another one when the hash is not the right one.
(cd "$into" && "$python" -c 'import langchain_ollama, langchain_openai, ollama, openai')
https_proxy=http://127.0.0.1:1 TIKTOKEN_CACHE_DIR=$into/tiktoken "$python" -c '
import tiktoken
assert tiktoken.get_encoding("cl100k_base").encode("hello world") == [15339, 1917]'
(cd "$into/node" && node --input-type=module -e 'import "openai"')

locks > "$into/locks"
