#!/usr/bin/env bash
# Build dist/anima-qa.pyz: the program, its dependencies for CPython 3.11 to 3.14, and the built-in guest, in one file.
#
#   ./build_zipapp.sh [--machine x86_64|aarch64] [--output FILE]
#
# The default is this machine's architecture. Equal sources, lock files and Debian packages give equal bytes. Does nothing, and
# takes a moment, when the file is there and nothing that goes into it has changed. Needs Python 3.11 or newer, and a Debian
# system with what the recipe of the built-in guest needs (tools/host-packages.sh).
set -euo pipefail

root=$(cd -- "$(dirname -- "${BASH_SOURCE[0]}")" && pwd -P)
cd -- "$root"
unset PYTHONHOME PYTHONPATH PIP_USER PIP_TARGET PIP_PREFIX PIP_REQUIRE_VIRTUALENV
export PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_NO_INPUT=1
umask 022

machine=$(uname -m) output=
while [ $# -gt 0 ]; do
    case $1 in
        --machine) machine=${2:?--machine needs a name}; shift 2 ;;
        --output) output=${2:?--output needs a path}; shift 2 ;;
        *) echo "build_zipapp: unknown argument '$1'; build_zipapp.sh [--machine x86_64|aarch64] [--output FILE]" >&2; exit 2 ;;
    esac
done
case $machine in
    x86_64 | aarch64) ;;
    *) echo "build_zipapp: there is no build for '$machine' (x86_64 and aarch64 there are)" >&2; exit 2 ;;
esac
name=anima-qa.pyz
[ "$machine" = "$(uname -m)" ] || name=anima-qa-$machine.pyz
output=$(realpath -m -- "${output:-dist/$name}")

cache=$root/.cache/zipapp
mkdir -p "$cache"
exec 9> "$cache/lock"
flock 9

inputs() {  # a digest of all files that go in
    {
        echo "$machine"
        find qa images cloudinit screenshots tools/zipapp build_zipapp.sh pyproject.toml README.md LICENSE -type f \
            ! -name '*.pyc' -print0 | LC_ALL=C sort -z | xargs -0 sha256sum
    } | sha256sum
}
outcome() {  # the packages that the guest was made of, as apt has them now, and the file that came out
    {
        python3 -B tools/zipapp/guest.py "$cache/guest"
        sha256sum < "$output"
    } 2>/dev/null | sha256sum
}
stamp=$cache/$(sha256sum <<< "$output" | cut -c1-16).stamp
going_in=$(inputs)
if [ -f "$stamp" ] && [ "$(cat "$stamp")" = "$going_in$(outcome)" ]; then exit 0; fi
rm -f "$stamp"
rm -rf "$cache"/build-*  # of builds that were killed: the lock is ours

# The tools of the build, locked like what goes in.
venv=$cache/venv
tools=$(cat tools/zipapp/requirements-build.lock <(python3 -V) <(echo "$venv") | sha256sum)
if ! [ -f "$venv/stamp" ] || [ "$(cat "$venv/stamp")" != "$tools" ]; then
    python3 -c 'import sys; sys.exit(sys.version_info < (3, 11))' || {
        echo "build_zipapp: python3 is older than 3.11" >&2
        exit 3
    }
    rm -rf "$venv"
    python3 -m venv "$venv" 9>&-
    "$venv/bin/python" -m pip install --quiet --require-hashes -r tools/zipapp/requirements-build.lock > "$cache/log" 2>&1 9>&- || {
        cat "$cache/log" >&2
        exit 1
    }
    printf '%s\n' "$tools" > "$venv/stamp"
fi

echo "build_zipapp: building ${output#"$root/"}" >&2
"$venv/bin/python" -B tools/zipapp/pack.py --machine "$machine" --cache "$cache" --output "$output" 9>&-
printf '%s\n' "$going_in$(outcome)" > "$stamp"  # what was changed meanwhile is not in it
