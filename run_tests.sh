#!/usr/bin/env bash
# Everything that needs no Java: style, types, tests. Installs what it needs into .venv.
# usage: ./run_tests.sh [options of pytest]
#        ./run_tests.sh engines [options of pytest]    the streaming job, with a real broker, Prism and Flink: needs Java,
#                                                      Maven and Go, and installs the rest into .engines
#        ./run_tests.sh dataflow [options of pytest]   what Dataflow takes: needs Java and Maven, and installs the rest
#                                                      into .engines and .venv/dataflow
set -uo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")" || exit 1
scripts/setup.sh dev || exit 1

if [ "${1:-}" = engines ]; then
    shift
    scripts/install_engines.sh kafka prism flink || exit 1
    # Each process has a broker and a cluster of its own. With one, half of the time everybody waits for a session to end.
    PROFILECAST_ENGINES=1 exec .venv/bin/pytest tests/engines --numprocesses 2 --dist loadfile "$@"
fi

if [ "${1:-}" = dataflow ]; then
    shift
    scripts/install_engines.sh kafka && scripts/setup_dataflow.sh || exit 1
    PROFILECAST_DATAFLOW=1 exec .venv/dataflow/bin/python -m pytest tests/pipeline/test_streaming_graph.py "$@"
fi

failed=()
check() {
    echo "== $*"
    ".venv/bin/$@" || [ "$1 $?" = "pytest 5" ] || failed+=("$*") # 5: none was asked for
}
check ruff check
check ruff format --check
check mypy
check pytest -m "not alone" --numprocesses 4 --dist worksteal "$@"
check pytest -m alone "$@"

if [ ${#failed[@]} -gt 0 ]; then
    printf 'FAILED: %s\n' "${failed[@]}" >&2
    exit 1
fi
