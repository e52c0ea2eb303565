#!/usr/bin/env bash
# safetensors 0.8.0: several metadata keys are written in an order that differs from process to process.
#
# Common wrong guess: a file format without timestamps gives the same bytes for the same tensors and the same metadata,
# so a checksum of the file names its content.
# What happens: with three metadata keys, fresh processes write different files. With one key the bytes are always the
# same. Whoever wants reproducible files writes one key that holds JSON with sorted keys, or hashes the tensors.
#
# Seen with safetensors 0.8.0 and NumPy 2.4.6 on Python 3.11, 12 processes each:
#   one metadata key: 1 file; three metadata keys: several different files
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check "safetensors==0.8.0" "numpy==2.4.6"
cat > "$folder/write.py" <<'PY'
import hashlib
import sys

import numpy as np
from safetensors.numpy import save

metadata = {name: "1" for name in sys.argv[1].split(",")}
print(hashlib.sha256(save({"x": np.zeros(2, np.float32)}, metadata=metadata)).hexdigest())
PY
distinct() { for _ in $(seq 12); do "$folder/venv/bin/python" "$folder/write.py" "$1"; done | sort -u | wc -l; }
one=$(distinct a)
three=$(distinct a,b,c)
"$folder/venv/bin/python" -c 'from importlib.metadata import version; print("safetensors", version("safetensors"))'
echo "one metadata key: $one file; three metadata keys: $three different files"
if [[ $one != 1 || $three -lt 2 ]]; then echo "this has changed" >&2; exit 1; fi
