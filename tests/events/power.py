"""A disk that loses its power: every write to the journal is recorded, and any crash is played back into copies.

What a file was told to keep (`fsync`) is kept. Of what was written since, each write is kept, lost or torn, in any
combination: a drive may reorder as it likes between two syncs.
"""

import random
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import apsw


class Op(NamedTuple):
    """One thing done to a file: bytes written at an offset, a length set (`data` is None), or a sync (`at` is -1)."""

    file: str
    at: int
    data: bytes | None = None


class Recording(apsw.VFS):
    """SQLite's own access to files, with every write noted."""

    def __init__(self) -> None:
        super().__init__("recording", "unix", makedefault=True)
        self.ops: list[Op] = []
        self.over = False

    def xOpen(self, name: Any, flags: list[int]) -> "RecordedFile":
        return RecordedFile(name, flags, self.ops)

    def xDelete(self, filename: str, syncdir: bool) -> None:
        assert self.over, f"{filename} is deleted: a crash model without deletions does not fit"
        super().xDelete(filename, syncdir)


class RecordedFile(apsw.VFSFile):
    """One open file of a recording."""

    def __init__(self, name: Any, flags: list[int], ops: list[Op]) -> None:
        super().__init__("unix", name, flags)
        self._ops = ops
        self._name = Path(name.filename() if isinstance(name, apsw.URIFilename) else str(name)).name

    def xWrite(self, data: bytes, offset: int) -> None:
        super().xWrite(data, offset)
        self._ops.append(Op(self._name, offset, bytes(data)))

    def xTruncate(self, newsize: int) -> None:
        super().xTruncate(newsize)
        self._ops.append(Op(self._name, newsize))

    def xSync(self, flags: int) -> None:
        super().xSync(flags)
        self._ops.append(Op(self._name, -1))


@contextmanager
def recorded() -> Iterator[list[Op]]:
    """Everything SQLite writes meanwhile, in order."""
    vfs = Recording()
    try:
        yield vfs.ops
    finally:
        vfs.over = True  # a connection that was left open closes, and deletes its log, whenever it is collected
        vfs.unregister()


def after_power_loss(before: Path, ops: list[Op], to: Path, rng: random.Random) -> int:
    """Make `to` a disk as it may be found when power failed after `ops`; how many writes it lost or tore."""
    to.mkdir(mode=0o700)
    spoiled = 0
    for path in sorted({path.name for path in before.iterdir()} | {op.file for op in ops}):
        source = before / path
        content = bytearray(source.read_bytes() if source.exists() else b"")
        mine = [op for op in ops if op.file == path]
        synced = max((n for n, op in enumerate(mine) if op.at == -1), default=-1)
        for n, op in enumerate(mine):
            if n > synced and rng.random() < 0.5:
                spoiled += 1
                op = _torn(op, rng)
            _apply(op, content)
        (to / path).write_bytes(content)
        (to / path).chmod(0o600)
    return spoiled


def _torn(op: Op, rng: random.Random) -> Op:
    if op.data is None or rng.random() < 0.5:
        return op._replace(at=-1, data=None)
    return op._replace(data=op.data[: rng.randrange(len(op.data))])


def _apply(op: Op, content: bytearray) -> None:
    if op.at == -1:
        return
    if op.data is None:
        del content[op.at :]
        return
    content.extend(bytes(max(0, op.at - len(content))))
    content[op.at : op.at + len(op.data)] = op.data
