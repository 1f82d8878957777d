#!/usr/bin/env bash
# The oldest onnxruntime that is promised (NEEDED in runtime/backends/onnxruntime.py), with the oldest Pillow, in an environment of its own, for
# tests/runtime/backends/test_oldest.py: eval "$(tests/oldest/prepare.sh NEW_FOLDER [PYTHON])". PYTHON is one that its wheels are built for, 3.10 to 3.12.
set -euo pipefail
mkdir -p "$1"
folder=$(cd "$1" && pwd) python=${2:-python3.11}
"$python" -m venv "$folder" >&2
"$folder/bin/python" -m pip install --quiet onnxruntime==1.18.0 'numpy<2' pillow==10.0.0 >&2
echo "export CLIP2EDGE_OLDEST_PYTHON=$folder/bin/python"
