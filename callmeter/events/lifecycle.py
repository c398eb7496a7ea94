"""What has to happen to every writer of the process when it forks and when it ends."""

import atexit
import os
import sys
import threading
import weakref
from typing import Protocol


class Watched(Protocol):
    """A writer, as far as this module knows it."""

    @property
    def lock(self) -> "threading.RLock":
        """Held across a fork, so that the child does not inherit a hand-off in mid-air."""
        ...

    @property
    def is_used(self) -> bool:
        """Whether anything was ever offered to it in this process."""
        ...

    def after_fork_in_child(self) -> None:
        """Begin anew: what waits is the parent's."""
        ...

    def stop(self, timeout_s: float | None = None) -> bool:
        """Write what is left."""
        ...


_watched: "weakref.WeakSet[Watched]" = weakref.WeakSet()
_held: list[Watched] = []


def watch(writer: Watched) -> None:
    """Look after a writer for as long as it lives."""
    _watched.add(writer)


def stop_all() -> None:
    """Write what is left in every writer of this process."""
    for writer in list(_watched):
        if writer.is_used:
            writer.stop()


def end_with_multiprocessing() -> None:
    """A child of `multiprocessing` may end without atexit, but calls its own finalizers, registered once it runs."""
    package, util = sys.modules.get("multiprocessing"), sys.modules.get("multiprocessing.util")
    if package is not None and util is not None and package.parent_process() is not None:
        util.Finalize(None, stop_all, exitpriority=10)


def _before_fork() -> None:
    _held[:] = list(_watched)
    for writer in _held:
        writer.lock.acquire()


def _after_fork_in_parent() -> None:
    for writer in _held:
        writer.lock.release()
    _held.clear()


def _after_fork_in_child() -> None:
    for writer in _held:
        writer.after_fork_in_child()
    _held.clear()


os.register_at_fork(before=_before_fork, after_in_parent=_after_fork_in_parent, after_in_child=_after_fork_in_child)
atexit.register(stop_all)
