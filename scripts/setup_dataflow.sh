#!/usr/bin/env bash
# Makes .venv/dataflow, which has what .venv has, and what Beam wants for Dataflow besides; does nothing where that is
# done. It is not in .venv itself: Beam imports it wherever it is, which makes every command half as slow again to start.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

stamp=.venv/dataflow/installed
wanted="$PWD $(cat setup.py constraints.txt | cksum)"
[ "$(cat "$stamp" 2>/dev/null)" = "$wanted" ] && exit 0
echo "Installing what Beam wants for Dataflow; this takes a minute or two"
.venv/bin/python -m venv --clear .venv/dataflow
packages() { "$1" -c 'import sysconfig; print(sysconfig.get_path("purelib"))'; }
packages .venv/bin/python >"$(packages .venv/dataflow/bin/python)/those_of_venv.pth"
.venv/dataflow/bin/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt \
    'apache-beam[gcp]'
echo "$wanted" >"$stamp"
