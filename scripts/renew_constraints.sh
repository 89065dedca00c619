#!/usr/bin/env bash
# Writes constraints.txt anew: the newest versions that setup.py allows, tried in a virtual environment of their own.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
fresh=$(mktemp -d)
trap 'rm -rf "$fresh"' EXIT
.venv/bin/python -m venv "$fresh"
"$fresh/bin/python" -m pip install --quiet --upgrade setuptools
"$fresh/bin/python" -m pip install --quiet --no-build-isolation --editable '.[dev,gcp]'
{
    sed -n '/^#/p' constraints.txt
    "$fresh/bin/python" -m pip freeze --all --exclude-editable --exclude pip
} >"$fresh/constraints.txt"
mv "$fresh/constraints.txt" constraints.txt
