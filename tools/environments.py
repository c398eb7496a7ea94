"""Virtual environments of their own for programs that are not ours: peers of benchmarks, servers that tests talk to."""

import subprocess
import sys
from collections.abc import Iterable
from pathlib import Path


def interpreter(venv: Path, *installs: Iterable[str]) -> Path:
    """The interpreter of an environment, which is made if it is not there or was made of something else.

    Each of `installs` is what one run of `pip install` is given. Raises `CalledProcessError` where one fails.
    """
    python, stamp = venv.absolute() / "bin" / "python", venv / ".installed"
    wanted = "\n".join(" ".join(each) for each in installs)
    if stamp.exists() and stamp.read_text() == wanted:
        return python
    print(f"making {venv.absolute()} …", file=sys.stderr)
    subprocess.run([sys.executable, "-m", "venv", "--clear", str(venv)], check=True)
    for packages in installs:
        subprocess.run([str(python), "-m", "pip", "install", "--quiet", *packages], check=True)
    # Some packages ship files that are not meant for this Python.
    subprocess.run([str(python), "-m", "compileall", "-q", str(venv / "lib")], check=False, capture_output=True)
    stamp.write_text(wanted)
    return python
