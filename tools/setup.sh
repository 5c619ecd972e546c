#!/usr/bin/env bash
# Make this checkout ready: host packages, and the Python environment in .venv with anima-qa installed editable.
#
#   tools/setup.sh [run|test]
#
# "run" (the default) is what running scripts needs, "test" adds the linters and what the tests drive. Says nothing when there
# is nothing to do, which takes well below a second; shows what pip said only when it fails.
set -euo pipefail

root=$(cd -- "$(dirname -- "${BASH_SOURCE[0]}")/.." && pwd -P)
venv=$root/.venv
stamp=$venv/anima-qa.stamp
purpose=${1:-run}
case $purpose in
    run) target=$root ;;
    test) target="${root}[dev]" ;;
    *) echo "setup: unknown purpose '$purpose' (run or test)" >&2; exit 2 ;;
esac

# Settings of the caller's Python must not leak into the environment that is made here.
unset PYTHONHOME PYTHONPATH PIP_USER PIP_TARGET PIP_PREFIX PIP_REQUIRE_VIRTUALENV
export PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_NO_INPUT=1

"$root/tools/host-packages.sh" "$purpose"
if [ "$purpose" = test ]; then "$root/tools/mcp-clients.sh" > /dev/null; fi

# An environment belongs to its place (scripts have absolute paths in them) and to what pyproject.toml asked for.
digest=$(sha256sum < "$root/pyproject.toml" | cut -c1-64)
ready() {
    [ -f "$stamp" ] || return 1
    { read -r was_digest && read -r was_purpose && read -r was_root; } < "$stamp" || return 1
    [ "$was_digest" = "$digest" ] && [ "$was_root" = "$root" ] || return 1
    [ "$was_purpose" = test ] || [ "$was_purpose" = "$purpose" ] || return 1
    "$venv/bin/python" -I -c 'import qa' 2>/dev/null  # fails when its Python has gone or is another version now
}
ready && exit 0

mkdir -p "$root/.cache"
exec 9> "$root/.cache/setup.lock"
flock 9
ready && exit 0  # another setup was quicker

# The first Python that is new enough and complete: a hand-built one (pyenv) may lack modules whose headers were missing.
suits='import sys, ctypes, ensurepip, lzma, ssl, venv, zlib; sys.exit(sys.version_info < (3, 11))'
find_python() {
    local candidate
    for candidate in python3 python3.14 python3.13 python3.12 python3.11 /usr/bin/python3; do
        if "$candidate" -c "$suits" >/dev/null 2>&1; then echo "$candidate"; return; fi
    done
    echo "setup: found no complete Python 3.11 or newer (with ssl, venv, ensurepip, ctypes, lzma)" >&2
    echo "On Debian install it with: apt-get install python3 python3-venv" >&2
    return 3
}

log=$root/.cache/setup.log
: > "$log"
loudly() {  # run a command, and show what it said only when it fails
    if ! "$@" >> "$log" 2>&1 9>&-; then
        echo "setup: this failed: $*" >&2
        tail -n 30 "$log" >&2
        exit 1
    fi
}

if ! "$venv/bin/python" -I -m pip --version >/dev/null 2>&1 || { [ -f "$stamp" ] && [ "$(sed -n 3p "$stamp")" != "$root" ]; }; then
    python=$(find_python)
    echo "setup: making the Python environment in .venv with $("$python" -V)" >&2
    rm -rf "$venv"
    loudly "$python" -m venv "$venv"
fi
rm -f "$stamp"
echo "setup: installing anima-qa and its dependencies into .venv" >&2
loudly "$venv/bin/python" -m pip install --progress-bar off --editable "$target"
loudly "$venv/bin/anima-qa" --version
printf '%s\n%s\n%s\n' "$digest" "$purpose" "$root" > "$stamp.new"
mv "$stamp.new" "$stamp"
