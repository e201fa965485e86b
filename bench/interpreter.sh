#!/usr/bin/env bash
# Prints the Python to measure on, with everything installed: one that is compiled with profile-guided optimisation, as
# that of the image is. Version managers leave it out, which makes a call about a tenth dearer.
#
# Usage: bench/interpreter.sh PYTHON_OF_THE_PROJECT [PYTHON]
set -euo pipefail
cd "$(dirname "$0")/.."

own=$1
chosen=${2:-}
venv=.cache/bench/python

# Distributions build theirs so, and do not tell.
is_optimised() {
  "$1" -c 'import sys, sysconfig
sys.exit(sys.base_prefix != "/usr" and "--enable-optimizations" not in (sysconfig.get_config_var("CONFIG_ARGS") or ""))'
}

is_usable() {
  "$1" -c 'import ensurepip, sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null
}

if [ -z "$chosen" ] && ! is_optimised "$own" && [ -x /usr/bin/python3 ]; then
  if ! is_usable /usr/bin/python3 && [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null; then
    { apt-get update -qq && apt-get install -y -qq --no-install-recommends python3-venv; } >&2 || true
  fi
  if is_usable /usr/bin/python3; then
    chosen=/usr/bin/python3
  else
    echo "Measured on an interpreter without profile-guided optimisation, since there is no other one." >&2
  fi
fi
if [ -z "$chosen" ]; then
  echo "$own"
  exit
fi

PYTHONPATH=tests "$own" -m pythons.environment "$chosen" "$venv"
