#!/usr/bin/env bash
# The tests against the lowest and the newest releases that setup.cfg allows, each in an environment of its own. Not part of CI:
# it downloads gigabytes. Usage: tests/try_bounds.sh lowest|newest FOLDER [what pytest takes, such as the files to run]
set -euo pipefail
cd "$(dirname "$0")/.."
declare -A resolution=([lowest]=lowest-direct [newest]=highest)
which=$1 folder=$2
shift 2
python3 -m venv "$folder"
"$folder/bin/pip" install --quiet uv  # pip knows no lowest
"$folder/bin/uv" pip install --quiet --python "$folder/bin/python" --resolution "${resolution[$which]}" --editable ".[dev]"
"$folder/bin/uv" pip freeze --quiet --python "$folder/bin/python" --exclude-editable >"$folder/installed.txt"
echo "versions: $folder/installed.txt"
"$folder/bin/python" -m pytest -q "$@"
