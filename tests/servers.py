"""Servers of others, as processes that tests talk to."""

import os
import re
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def running(
    command: Sequence[str | Path], folder: Path, *, ends: Sequence[int] = (0,), **environ: str
) -> Iterator[subprocess.Popen[str]]:
    """A server, ended by SIGTERM as a deployment ends it; it has to end by itself, with one of these codes.

    What it says goes to `server.log` in the folder, which is where it runs.
    """
    with (folder / "server.log").open("w+") as log:
        server = subprocess.Popen(
            command, env={**os.environ, **environ}, cwd=folder, stdout=log, stderr=subprocess.STDOUT, text=True
        )
        try:
            yield server
            server.terminate()
            assert server.wait(60) in ends, (folder / "server.log").read_text()
        finally:
            server.kill()
            server.wait()


def said(folder: Path, pattern: str, server: subprocess.Popen[str]) -> re.Match[str]:
    """Wait until the server's log says something."""
    log = folder / "server.log"
    while (found := re.search(pattern, log.read_text())) is None:
        assert server.poll() is None, log.read_text()
        os.sched_yield()
    return found
