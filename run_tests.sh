#!/usr/bin/env bash
# Everything that needs no Java: style, types, tests. Installs what it needs into .venv.
# usage: ./run_tests.sh [options of pytest]
set -uo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")" || exit 1
scripts/setup.sh dev || exit 1

failed=()
check() {
    echo "== $*"
    ".venv/bin/$@" || failed+=("$*")
}
check ruff check
check ruff format --check
check mypy
check pytest --numprocesses 4 --dist worksteal "$@"

if [ ${#failed[@]} -gt 0 ]; then
    printf 'FAILED: %s\n' "${failed[@]}" >&2
    exit 1
fi
