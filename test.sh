#!/usr/bin/env bash
# Install what is missing, then run the linters, the type check and all tests. Arguments go to pytest.
#
# tests/surfaces drive the single file, which is built before them if anything that goes into it has changed.
# Stops at the first stage that fails and says which; else the last lines are pytest's own summary. Without arguments pytest runs
# twice at once, since one processor would wait for guests otherwise: all tests in Python, and beside them those that drive the
# program, which take about as long, and whose output comes when both are done.
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

guests() {  # at once: each is built by one processor; the large ones by the single file, whose recipes are files of one user alone
    local builds=() build status=0 guest program
    for guest in builtin debian desktop; do
        program=$ANIMA_QA_PROGRAM
        [ "$guest" != builtin ] || program=.venv/bin/anima-qa  # the file brings one, and would build none
        "$program" image build "$guest" > /dev/null 2> >(grep -v '%)$' >&2) &
        builds+=($!)
    done
    for build in "${builds[@]}"; do wait "$build" || status=$?; done
    return "$status"
}

stage setup tools/setup.sh test
stage "ruff format" .venv/bin/python -m ruff format --check .
stage "ruff check" .venv/bin/python -m ruff check .
stage mypy .venv/bin/python -m mypy
if [ $# -eq 0 ] || [[ "$*" == *surfaces* ]]; then
    stage "the single file" ./build_zipapp.sh
    export ANIMA_QA_PROGRAM=$root/dist/anima-qa.pyz
fi
if [ $# -eq 0 ]; then
    stage "the guest images" guests
fi
printf -- '--- pytest\n'
if [ $# -gt 0 ]; then
    exec .venv/bin/python -m pytest "$@"
fi
beside=$(mktemp)
.venv/bin/python -m pytest --durations=10 tests/surfaces > "$beside" 2>&1 &
second=$!
.venv/bin/python -m pytest --durations=10 tests --ignore=tests/surfaces &  # bash takes signals only while it waits for such
first=$!
end_both() { kill -INT "$first" "$second" 2>/dev/null || true; wait "$first" || true; wait "$second" || true; }  # they clean up
trap 'end_both; cat "$beside"; rm -f "$beside"' EXIT
trap 'exit 130' INT
trap 'exit 143' TERM
trap 'exit 129' HUP
first_status=0 second_status=0
wait "$first" || first_status=$?
printf -- '--- pytest, what ran beside\n'
wait "$second" || second_status=$?
[ "$first_status" -ne 0 ] || first_status=$second_status
exit "$first_status"
