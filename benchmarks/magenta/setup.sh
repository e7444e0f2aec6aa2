#!/bin/sh
# Install Magenta into an environment of its own: sh benchmarks/magenta/setup.sh [FOLDER]
# PYTHON=... takes another interpreter than python3.11. The last line printed is what --magenta wants.
set -eu

folder=${1:-${XDG_CACHE_HOME:-$HOME/.cache}/seqvae/magenta}
"${PYTHON:-python3.11}" -m venv "$folder"
"$folder/bin/python" -m pip install --quiet --disable-pip-version-check --no-deps \
    -r "$(dirname "$0")/requirements.txt"
"$folder/bin/python" -W ignore -c 'import magenta.models.music_vae.music_vae_generate' 2>/dev/null ||
    { echo "setup.sh: Magenta was installed into $folder, but cannot be imported" >&2; exit 1; }
echo "$folder/bin/python"
