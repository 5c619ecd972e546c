#!/usr/bin/env bash
# Build the wheel and the source distribution into dist/, check them, and try what users install them with.
#
#   tools/packages.sh [pip] [pipx] [uv] [short]     by default: the first three
#
# Each installs the wheel into an empty environment, and runs anima-qa from there: --version, check, --licenses, a conversation over
# MCP, doctor, examples/hello.yaml. "short" is for the tests: pip takes the wheels of the single file, no machine boots, and dist/
# stays as it is. Needs the build's tools (./build_zipapp.sh makes them), and the package index that pip knows.
set -euo pipefail

root=$(cd -- "$(dirname -- "${BASH_SOURCE[0]}")/.." && pwd -P)
cd -- "$root"
unset PYTHONHOME PYTHONPATH
export PIP_DISABLE_PIP_VERSION_CHECK=1 SOURCE_DATE_EPOCH=1700000000
ways=("$@")
[ $# -gt 0 ] || ways=(pip pipx uv)

python=$root/.cache/zipapp/venv/bin/python
[ -x "$python" ] || { echo "packages: the build's tools are not there: run ./build_zipapp.sh" >&2; exit 2; }
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

dist=$root/dist
[ "${ways[*]}" != short ] || dist=$work/dist
rm -f "$dist"/*.whl "$dist"/*.tar.gz
"$python" -m hatchling build --directory "$dist"
wheel=$(realpath "$dist"/*.whl)
python3 -m venv "$work/twine"
"$work/twine/bin/pip" install --quiet 'twine>=6'
"$work/twine/bin/twine" check --strict "$dist"/*.whl "$dist"/*.tar.gz

# What is built from the source distribution is the wheel.
mkdir "$work/source"
tar -xzf "$dist"/*.tar.gz -C "$work/source" --strip-components=1
(cd "$work/source" && "$python" -m hatchling build --target wheel --directory "$work/again" > /dev/null)
cmp "$wheel" "$work/again/$(basename "$wheel")"

smoke_short() {  # $1: the program
    (
        cd "$work"
        "$1" --version
        "$1" check "$root/examples/hello.yaml"
        "$1" --licenses > licenses.log
        grep "^  pydantic " licenses.log
        python3 "$root/tools/mcp_conversation.py" --no-machine "$1" mcp
    )
}

smoke() {  # $1: the program
    smoke_short "$1"
    (
        cd "$work"
        "$1" doctor > /dev/null
        python3 "$root/tools/mcp_conversation.py" "$1" mcp
        "$1" run --out "$work/results" "$root/examples/hello.yaml" | tail -n 1
    )
}

for way in "${ways[@]}"; do
    echo "--- $way"
    case $way in
        pip)
            python3 -m venv "$work/pip"
            "$work/pip/bin/pip" install --quiet "$wheel"
            smoke "$work/pip/bin/anima-qa"
            ;;
        pipx)
            python3 -m venv "$work/pipx-tool"
            "$work/pipx-tool/bin/pip" install --quiet pipx
            PIPX_HOME=$work/pipx PIPX_BIN_DIR=$work/pipx-bin "$work/pipx-tool/bin/pipx" install --quiet "$wheel"
            smoke "$work/pipx-bin/anima-qa"
            ;;
        uv)
            python3 -m venv "$work/uv-tool"
            "$work/uv-tool/bin/pip" install --quiet uv
            UV_TOOL_DIR=$work/uv UV_TOOL_BIN_DIR=$work/uv-bin "$work/uv-tool/bin/uv" tool install --quiet "$wheel"
            smoke "$work/uv-bin/anima-qa"
            ;;
        short)
            "$python" -m venv "$work/short"
            version=$("$python" -c 'import sys; print("%d.%d" % sys.version_info[:2])')
            locked=("$root/.cache/zipapp/wheels/$(uname -m)/$version"-*/)
            "$work/short/bin/pip" install --quiet --no-index "${locked[@]/#/--find-links=}" "$wheel"
            smoke_short "$work/short/bin/anima-qa"
            ;;
        *) echo "packages: unknown way '$way' (pip, pipx, uv or short)" >&2; exit 2 ;;
    esac
done
