#!/usr/bin/env bash
# Makes .venv and installs into it by constraints.txt; does nothing where that is done.
# usage: scripts/setup.sh [EXTRA]    EXTRA: an extra of setup.py, such as dev
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

extra=${1:+[$1]}
stamp=.venv/installed${1:+-$1}
# A virtual environment does not survive a move, so the place is part of the stamp.
wanted="$PWD $(cat setup.py constraints.txt | cksum)"
# What an extra installs includes what goes without it.
for done in .venv/installed-dev "$stamp"; do
    if [ -x .venv/bin/python ] && [ "$(cat "$done" 2>/dev/null)" = "$wanted" ]; then exit 0; fi
done

new_enough() {
    "$1" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null
}
python=
for candidate in python3.11 python3 python; do
    if new_enough "$candidate"; then python=$candidate; break; fi
done
if [ -z "$python" ]; then
    echo "Python 3.11 or newer is needed; there is no such python3.11, python3 or python on the PATH." >&2
    exit 1
fi

if [ "$(cat .venv/place 2>/dev/null)" != "$PWD" ] || ! new_enough .venv/bin/python; then
    echo "Making .venv with $("$python" --version)"
    if ! "$python" -m venv --clear .venv; then
        echo "A virtual environment could not be made; on Debian and Ubuntu: apt install python3-venv" >&2
        exit 1
    fi
    echo "$PWD" >.venv/place
fi
echo "Installing the dependencies; this takes a minute or two the first time"
pip=(.venv/bin/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt)
"${pip[@]}" setuptools
"${pip[@]}" --no-build-isolation --editable ".$extra"
echo "$wanted" >"$stamp"
