"""One test's recording in use: what is asked is looked up, or answered by the provider and kept."""

import threading
from collections import defaultdict, deque
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Literal

from msgspec.structs import replace

from callmeter.errors import NoRecordingError
from callmeter.testing import recordings
from callmeter.testing.recordings import Asked, Exchange, Reply
from callmeter.wire import WireRequest

Record = Literal["none", "new", "all"]
"""What is asked of the provider: nothing; what is not recorded yet; everything anew."""


class Tape:
    """Takes down one answer. Counts as recorded once it is over: an answer that broke off is not kept."""

    def __init__(self, request: WireRequest) -> None:
        self.asked = recordings.asked(request)
        self.exchange: Exchange | None = None
        self._hidden = recordings.credentials_of(request)

    def end(self, status: int, headers: Mapping[str, str], pieces: Iterable[bytes], *, cut: bool = False) -> None:
        """The answer is over, or its reader has stopped."""
        reply = recordings.replied(status, headers, pieces, self._hidden)
        self.exchange = Exchange(self.asked, replace(reply, cut=cut))


class Cassette:
    """The recording in a file, for as long as a test runs. Each answer is given once, in the order of the file."""

    def __init__(self, path: Path, record: Record) -> None:
        self.path = path
        self.record = record
        self.missing: list[str] = []
        """What was asked and not recorded."""
        self._known = [] if record == "all" else recordings.read(path)
        self._waiting: dict[bytes, deque[Exchange]] = defaultdict(deque)
        for exchange in self._known:
            self._waiting[exchange.request.fingerprint].append(exchange)
        self._played: list[Exchange] = []
        self._tapes: list[Tape] = []
        self._lock = threading.Lock()

    @property
    def replayed(self) -> int:
        """How many answers it gave."""
        return len(self._played)

    def find(self, request: WireRequest) -> Reply | None:
        """The recorded answer to a request; None where the provider is to be asked.

        Raises `NoRecordingError` where it is not.
        """
        wanted = recordings.asked(request)
        with self._lock:
            waiting = self._waiting.get(wanted.fingerprint)
            if waiting:
                self._played.append(waiting.popleft())
                return self._played[-1].reply
            if self.record != "none":
                return None
            self.missing.append(self._told(wanted))
        raise NoRecordingError(self.missing[-1])

    def tape(self, request: WireRequest) -> Tape:
        """What takes down the provider's answer to a request."""
        tape = Tape(request)
        with self._lock:
            self._tapes.append(tape)
        return tape

    def save(self, *, complete: bool) -> None:
        """Write down what is new, if anything is. What was not asked for by a complete run is left out then."""
        fresh = [tape.exchange for tape in self._tapes if tape.exchange is not None]
        if fresh:
            recordings.write(self.path, [*(self._played if complete else self._known), *fresh])

    def _told(self, wanted: Asked) -> str:
        asks = f"{wanted.method} {wanted.url}"
        like = [exchange.request for exchange in self._known if exchange.request.url == wanted.url]
        if not self._known:
            why = f"{self.path} does not exist" if not self.path.exists() else f"{self.path} is empty"
        elif not like:
            why = f"{self.path} has none for this address"
        elif any(each.fingerprint == wanted.fingerprint for each in like):
            times = sum(each.fingerprint == wanted.fingerprint for each in like)
            why = f"it was recorded {times} {'time' if times == 1 else 'times'} and is asked once more"
        else:
            differences = (recordings.first_difference(each.body, wanted.body) for each in like)
            why = f"it differs from the recorded ones; {max(differences, key=len)}"
        return (
            f"no recording of {asks}: {why}. Record it with `pytest --callmeter-record=new` (`=all` records the whole "
            "test anew); that asks the provider, and needs a key"
        )
