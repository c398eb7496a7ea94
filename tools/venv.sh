# Sourced by ./demo and ./test: makes .venv on first use and installs this checkout with the extras in $1.
# Works offline once it has succeeded: nothing is fetched until pyproject.toml changes.

extras=$1
python=${PYTHON:-python3}
venv=.venv
stamp=$venv/.installed-$extras

if ! "$python" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then
  echo "callmeter needs Python 3.11 or newer; '$python' is $("$python" --version 2>&1). Set PYTHON to a newer one." >&2
  exit 1
fi
if [ ! -x "$venv/bin/python" ]; then
  "$python" -m venv "$venv" || { echo "cannot make $venv: is the venv module installed (python3-venv)?" >&2; exit 1; }
fi
want=$(cksum < pyproject.toml)
if [ "$(cat "$stamp" 2>/dev/null)" != "$want" ]; then
  echo "installing callmeter[$extras] into $venv …" >&2
  "$venv/bin/python" -m pip install --quiet --disable-pip-version-check --editable ".[$extras]" 2> "$venv/pip.log" || {
    tail -n 20 "$venv/pip.log" >&2
    echo "the packages could not be installed; the whole log is in $venv/pip.log" >&2
    exit 1
  }
  echo "$want" > "$stamp"
fi
