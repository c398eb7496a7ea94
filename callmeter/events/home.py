"""The home directory: made or refused, and its lock."""

import errno
import fcntl
import os
import stat
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from callmeter.errors import HomeError, JournalError

PASSING = frozenset({errno.EIO, errno.EMFILE, errno.ENFILE, errno.ENOMEM, errno.ENOSPC, errno.EDQUOT, errno.EINTR})
"""What the system refuses today and may allow in a minute; whatever else it refuses, it will go on refusing."""

LOCK_WAIT_S = 10.0
"""How long to wait for a process that creates or replaces the database."""


def check_home(home: Path, create: bool) -> None:
    """Make the home or refuse it: `JournalError` where it is no directory, a link, or not ours."""
    try:
        if create and not home.is_symlink():
            home.mkdir(mode=0o700, parents=True, exist_ok=True)
        found = os.lstat(home)
    except FileNotFoundError:
        raise JournalError(f"the home {home} does not exist; set CALLMETER_HOME to a directory") from None
    except OSError as error:
        raise refused(error, f"cannot use the home {home}: {error.strerror}; set another CALLMETER_HOME") from None
    if not stat.S_ISDIR(found.st_mode):
        raise HomeError(f"the home {home} is a link or a file; set CALLMETER_HOME to a directory of your own")
    if found.st_uid != os.geteuid():
        raise HomeError(f"the home {home} belongs to user {found.st_uid}; set CALLMETER_HOME to one of your own")
    if found.st_mode & 0o022:
        raise HomeError(f"others may write to the home {home}; run: chmod 700 {home}")


def refused(error: OSError, message: str) -> JournalError:
    """The error for what the system refused: a `HomeError` unless it may pass."""
    return JournalError(message) if error.errno in PASSING else HomeError(message)


def refuse_foreign(path: Path) -> None:
    """Refuse a file that is a link or somebody else's."""
    found = os.lstat(path)
    if not stat.S_ISREG(found.st_mode) or found.st_uid != os.geteuid():
        raise HomeError(f"{path} is a link or belongs to somebody else; move it away or set another CALLMETER_HOME")


def open_lock(path: Path) -> int:
    """A descriptor of the lock file."""
    try:
        return os.open(path, os.O_CREAT | os.O_RDWR | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
    except OSError as error:
        raise refused(error, f"cannot write to {path}: {error.strerror}; set another CALLMETER_HOME") from None


@contextmanager
def locked(fd: int, home: Path, exclusive: bool) -> Iterator[None]:
    """Hold the home's lock: shared to write, exclusive to create or replace the database."""
    deadline = time.monotonic() + LOCK_WAIT_S
    while True:
        try:
            fcntl.flock(fd, (fcntl.LOCK_EX if exclusive else fcntl.LOCK_SH) | fcntl.LOCK_NB)
            break
        except BlockingIOError:
            if time.monotonic() > deadline:
                raise JournalError(f"another process keeps {home} locked; see `callmeter doctor`") from None
            time.sleep(0.001)
        except OSError as error:
            raise HomeError(
                f"the file system of {home} has no working locks ({error.strerror}); "
                "set CALLMETER_HOME to a directory on a local disk"
            ) from None
    try:
        yield
    finally:
        fcntl.flock(fd, fcntl.LOCK_UN)
