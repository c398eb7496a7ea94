"""Puts a price table under a home, and takes it back: see `installed.py` for what lies there.

Whatever happens on the way, a power loss included, `current.json` names a table that is whole.
"""

import fcntl
import hashlib
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from callmeter.errors import PriceTableError
from callmeter.pricing.document import Document, encoded, issued
from callmeter.pricing.installed import Entry, State, sound, state
from callmeter.pricing.shelf import POINTER


def install(root: Path, document: Document) -> Entry:
    """Make a checked document the table in use, and keep the one that was. Raises `PriceTableError` if it cannot."""
    issued(document.version)
    with _changing(root):
        before = _state_or_none(root)
        if before.current is not None and before.current.version > document.version:
            raise PriceTableError(
                f"version {before.current.version} was installed in {root} in the meantime, newer than "
                f"{document.version}; nothing was changed"
            )
        entry = _written(root, document)
        _point(root, State(current=entry, previous=before.current))
        _clear(root)
    return entry


def rollback(root: Path) -> State:
    """Exchange the table in use and the one before it. Raises `PriceTableError` where there was none before."""
    with _changing(root):
        before = state(root)
        if before == State():
            raise PriceTableError(f"no price table was ever installed in {root}, so there is none to go back to")
        if before.previous is not None:
            sound(root, before.previous)
        after = State(current=before.previous, previous=before.current)
        _point(root, after)
    return after


def _state_or_none(root: Path) -> State:
    """What is installed; nothing where the pointer is damaged, since installing mends that."""
    try:
        return state(root)
    except PriceTableError:
        return State()


def _written(root: Path, document: Document) -> Entry:
    bodies: dict[str, Any] = {"index.json": document.index(), "sources.json": document.sources}
    bodies |= {f"{slug}.json": table for slug, table in document.providers.items()}
    folder = Path(tempfile.mkdtemp(prefix=f"{document.version}-", dir=root))
    files = {}
    try:
        for name, value in bodies.items():
            body = encoded(value)
            _write(folder / name, body)
            files[name] = hashlib.sha256(body).hexdigest()
        _sync_folder(folder)
    except BaseException:
        shutil.rmtree(folder, ignore_errors=True)
        raise
    return Entry(version=document.version, made_at=document.made_at, folder=folder.name, files=files)


def _point(root: Path, after: State) -> None:
    """Replace the pointer, in one step that survives a loss of power."""
    new = root / f".{POINTER}.new"
    _write(new, encoded(after))
    os.replace(new, root / POINTER)
    _sync_folder(root)


def _clear(root: Path) -> None:
    """Remove tables that neither are in use nor were just before."""
    found = state(root)
    kept = {entry.folder for entry in (found.current, found.previous) if entry is not None}
    for path in root.iterdir():
        if path.is_dir() and path.name not in kept and path.name.partition("-")[0].isdecimal():
            shutil.rmtree(path, ignore_errors=True)


def _write(path: Path, body: bytes) -> None:
    with path.open("wb") as file:
        file.write(body)
        file.flush()
        os.fsync(file.fileno())


def _sync_folder(path: Path) -> None:
    fd = os.open(path, os.O_RDONLY)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)


@contextmanager
def _changing(root: Path) -> Iterator[None]:
    """One process changes what is installed, the others wait."""
    try:
        root.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        root.mkdir(mode=0o700, exist_ok=True)
        fd = os.open(root / ".lock", os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, 0o600)
    except OSError as error:
        raise PriceTableError(
            f"cannot write to {root}: {error.strerror}; make it writable, or set CALLMETER_HOME to another directory"
        ) from None
    try:
        fcntl.flock(fd, fcntl.LOCK_EX)
        yield
    except OSError as error:
        raise PriceTableError(
            f"cannot install a price table in {root}: {error.strerror}; nothing was changed"
        ) from None
    finally:
        os.close(fd)
