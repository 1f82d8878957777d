#!/usr/bin/env bash
# Environments for tests/export/bundle/test_loaders.py: eval "$(tests/loaders/prepare.sh NEW_FOLDER [PYTHON])", then pytest -m slow tests/export/bundle/test_loaders.py
# PYTHON has the project's own environment (default: python); torch, numpy, Pillow and onnxruntime are shared with it.
set -euo pipefail
mkdir -p "$1"
folder=$(cd "$1" && pwd) python=${2:-python}

# optimum-onnx 0.1 wants transformers 4, and with it an older hub client; newer diffusers and torchao do not go with those.
site=$("$python" -c 'import sysconfig; print(sysconfig.get_paths()["purelib"])')
mkdir "$folder/shared"
for entry in "$site"/*; do
    case ${entry##*/} in
        transformers* | huggingface_hub* | tokenizers* | diffusers* | torchao* | accelerate* | timm* | open_clip*) ;;
        pip* | setuptools* | clip2edge* | *editable* | *.pth) ;;
        *) ln -s "$entry" "$folder/shared/" ;;
    esac
done
"$python" -m venv "$folder/optimum" >&2
echo "$folder/shared" >"$("$folder/optimum/bin/python" -c 'import sysconfig; print(sysconfig.get_paths()["purelib"])')/shared.pth"
"$folder/optimum/bin/python" -m pip install --quiet --no-deps \
    optimum==2.1.0 optimum-onnx==0.1.0 transformers==4.57.6 huggingface_hub==0.36.2 tokenizers==0.22.2 >&2
echo "export CLIP2EDGE_OPTIMUM_PYTHON=$folder/optimum/bin/python"

if command -v npm >/dev/null; then # its engines come as binaries in the packages: no script need run
    npm install --prefix "$folder/node" --ignore-scripts --no-audit --no-fund --no-package-lock --silent \
        @huggingface/transformers@4.3.1 >&2
    echo "export CLIP2EDGE_NODE_MODULES=$folder/node/node_modules"
fi
