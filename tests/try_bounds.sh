#!/usr/bin/env bash
# The tests against the lowest and the newest releases that setup.cfg allows, each in an environment of its own. Not part of CI:
# it downloads gigabytes. Usage: tests/try_bounds.sh lowest|newest FOLDER
set -euo pipefail
cd "$(dirname "$0")/.."
which=$1 folder=$2
python3 -m venv "$folder"
if [ "$which" = lowest ]; then
    # `name>=1.2,<3` becomes `name==1.2`
    sed -n '/^install_requires/,/^$/p' setup.cfg | sed -n 's/^ *\([a-z0-9_]*\)>=\([0-9.]*\).*/\1==\2/p' >"$folder/lowest.txt"
    "$folder/bin/pip" install --quiet --editable ".[dev]" --constraint "$folder/lowest.txt"
else
    "$folder/bin/pip" install --quiet --upgrade --upgrade-strategy eager --editable ".[dev]"
fi
"$folder/bin/pip" freeze --exclude-editable >"$folder/installed.txt"
"$folder/bin/python" -m pytest -q
echo "versions: $folder/installed.txt"
