#!/usr/bin/env bash
# Install what is missing, then run the linters, the type check and all tests. Arguments go to pytest.
#
# tests/surfaces drive the single file, which is built before them if anything that goes into it has changed.
# Stops at the first stage that fails and says which; else the last lines are pytest's own summary.
set -euo pipefail
root=$(cd -- "$(dirname -- "${BASH_SOURCE[0]}")" && pwd -P)
cd -- "$root"
unset PYTHONHOME PYTHONPATH
if [ "${CI:-}" = true ]; then export PYTHONUNBUFFERED=1; fi  # so that the log of a job that is killed has all there was

stage() {
    local name=$1
    shift
    printf -- '--- %s\n' "$name"
    local status=0
    "$@" || status=$?
    if [ "$status" -ne 0 ]; then
        echo "test.sh: the stage \"$name\" failed (status $status), later ones were not run" >&2
        exit "$status"
    fi
}

stage setup tools/setup.sh test
stage "ruff format" .venv/bin/python -m ruff format --check .
stage "ruff check" .venv/bin/python -m ruff check .
stage mypy .venv/bin/python -m mypy
if [ $# -eq 0 ] || [[ "$*" == *surfaces* ]]; then
    stage "the single file" ./build_zipapp.sh
    export ANIMA_QA_PROGRAM=$root/dist/anima-qa.pyz
fi
printf -- '--- pytest\n'
exec .venv/bin/python -m pytest "$@"
