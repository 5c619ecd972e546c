#!/usr/bin/env bash
# Install what is missing, then boot the built-in guest and run examples/hello.yaml in it. Arguments go to "anima-qa run".
set -euo pipefail
root=$(cd -- "$(dirname -- "${BASH_SOURCE[0]}")" && pwd -P)
unset PYTHONHOME PYTHONPATH
"$root/tools/setup.sh" run
exec "$root/.venv/bin/anima-qa" run "$root/examples/hello.yaml" "$@"
