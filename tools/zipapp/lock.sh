#!/usr/bin/env bash
# Write the lock files anew: the newest versions that pyproject.toml and requirements-build.in allow, with the digests of all
# their files, for every Python and architecture at once; one version of each package for all Pythons, since they share a tree. What was locked stays as it is unless --upgrade is given.
set -euo pipefail

here=$(cd -- "$(dirname -- "${BASH_SOURCE[0]}")" && pwd -P)
root=$(cd -- "$here/../.." && pwd -P)
uv_version=0.13.8
venv=$root/.cache/zipapp/lock-venv

if ! [ -x "$venv/bin/uv" ] || [ "$("$venv/bin/uv" --version | cut -d' ' -f2)" != "$uv_version" ]; then
    python3 -m venv --clear "$venv"
    "$venv/bin/pip" install --quiet --disable-pip-version-check "uv==$uv_version"
fi

lock() {
    local source=$1 target=$2
    shift 2
    "$venv/bin/uv" pip compile --quiet --universal --fork-strategy fewest --python-version 3.11 --generate-hashes --no-annotate \
        --custom-compile-command tools/zipapp/lock.sh "$@" -o "$target" "$source"
}

cd -- "$root"
lock pyproject.toml tools/zipapp/requirements.lock "$@"
lock tools/zipapp/requirements-build.in tools/zipapp/requirements-build.lock "$@"
