#!/usr/bin/env bash
# Install the MCP clients that the tests drive the server with, and the Node.js that they need; print their folder.
#
#   tools/mcp-clients.sh
#
# They lie in the cache outside of this tree, under a name made of what package-lock.json asks for: nothing is done twice.
set -euo pipefail

here=$(cd -- "$(dirname -- "${BASH_SOURCE[0]}")/mcp-clients" && pwd -P)
cache=${ANIMA_QA_TEST_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/anima-qa}
digest=$(sha256sum < "$here/package-lock.json" | cut -c1-12)
folder=$cache/mcp-clients/$digest
if [ -d "$folder" ]; then
    echo "$folder"
    exit 0
fi
command -v npm >/dev/null || { echo "mcp-clients: npm is not installed" >&2; exit 3; }

echo "mcp-clients: installing the MCP inspector and its Node.js" >&2
mkdir -p "$cache/mcp-clients"
work=$(mktemp -d "$cache/mcp-clients/.new-XXXXXX")
trap 'rm -rf "$work"' EXIT
cp "$here/package.json" "$here/package-lock.json" "$work"
# Another Node.js than ours runs npm, and complains that it is too old for what it installs.
if ! (cd "$work" && npm ci --ignore-scripts --no-fund --no-audit) > "$work/log" 2>&1; then
    tail -n 30 "$work/log" >&2
    exit 1
fi
mkdir "$work/bin"
for node in "$work"/node_modules/node-linux-*/bin/node; do
    ln -s "../${node#"$work"/}" "$work/bin/node"
done
for program in mcp-inspector conformance; do
    ln -s "../node_modules/.bin/$program" "$work/bin/$program"
done
chmod 755 "$work"
mv -T "$work" "$folder" 2>/dev/null || [ -d "$folder" ]  # another one was quicker
echo "$folder"
