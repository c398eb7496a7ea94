"""Bytes a token, learned from calls whose provider did count: what an estimate of the others rests on. Pure.

For each provider and model two things are learned: the answers' text and the prompts' request bodies. What is kept is
a count by size class, 2 % apart, so thousands of calls take a few hundred bytes; old ones fade. Bytes stand for
characters: a character that UTF-8 spends three bytes on makes about three times as many tokens.
"""

from bisect import bisect_right
from collections.abc import Iterable, Mapping

import msgspec
from msgspec import Struct

LEAST_TOKENS = 20
"""Shorter texts say more about rounding than about the tokenizer."""

LEAST_OBSERVED = 20
"""So many calls make a ratio."""

MOST_OBSERVED = 5_000
"""Beyond this every count is halved: a prompt that changes is followed."""

MOST_KEYS = 1_000
"""Models that are learned of in one process."""

BAND_PER_CENT = 5
"""The band leaves out so many of the calls on either side."""

_MILLI = 1000


def _edges() -> tuple[int, ...]:
    """Size classes from 0.5 to 64 bytes a token, in thousandths of a byte, each 2 % above the one before."""
    edges = [500]
    while edges[-1] < 64_000:
        edges.append(edges[-1] + max(1, edges[-1] // 50))
    return tuple(edges)


_EDGES = _edges()


class Ratio(Struct, frozen=True):
    """Thousandths of a byte a token: the middle of what was observed, and the band that most of it lies in."""

    typical: int
    least: int
    most: int

    def tokens(self, size: int) -> tuple[int, int, int]:
        """About how many tokens text of `size` bytes is, and the band: `low <= typical <= high <= size`.

        None of the three falls when text is added.
        """
        low, typical, high = (-(-size * _MILLI // per) for per in (self.most, self.typical, self.least))
        return min(size, low), min(size, typical), min(size, high)


class Learned(Struct, frozen=True):
    """What is known of a model; None where too little was observed."""

    answer: Ratio | None = None
    prompt: Ratio | None = None


NOTHING_LEARNED = Learned()


class _Histogram(Struct):
    """How many texts fell into each size class."""

    counts: dict[int, int] = {}
    total: int = 0

    def add(self, place: int, count: int) -> None:
        """Count `count` texts into a class."""
        self.counts[place] = self.counts.get(place, 0) + count
        self.total += count
        if self.total > MOST_OBSERVED:
            # A list of them first: another thread may count one in meanwhile.
            self.counts = {place: half for place, n in list(self.counts.items()) if (half := n // 2)}
            self.total = sum(self.counts.values())

    def ratio(self) -> Ratio | None:
        """The observed ratio, its band widened to whole classes."""
        if self.total < LEAST_OBSERVED:
            return None
        places = sorted(self.counts.items())
        aside = self.total * BAND_PER_CENT // 100
        low, high = _reached(places, aside), _reached(reversed(places), aside)
        middle = _reached(places, self.total // 2)
        return Ratio(typical=_EDGES[middle], least=_EDGES[low], most=_EDGES[min(high + 1, len(_EDGES) - 1)])


def _reached(places: Iterable[tuple[int, int]], aside: int) -> int:
    """The first class in which more than `aside` texts have been passed."""
    passed = reached = 0
    for place, count in places:
        passed, reached = passed + count, place
        if passed > aside:
            break
    return reached


class _Model(Struct):
    answer: _Histogram = msgspec.field(default_factory=_Histogram)
    prompt: _Histogram = msgspec.field(default_factory=_Histogram)


class Calibration:
    """Learns, and tells what it learned. Any thread may do either; an observation lost between two does no harm."""

    def __init__(self) -> None:
        self._models: dict[tuple[str, str], _Model] = {}
        self._learned: dict[tuple[str, str], Learned] = {}

    def answer(self, provider: str, model: str, size: int, tokens: int, count: int = 1) -> None:
        """`count` answers whose text of `size` bytes the provider counted as `tokens`, hidden reasoning left out."""
        self._observe(provider, model, size, tokens, count, is_answer=True)

    def prompt(self, provider: str, model: str, size: int, tokens: int, count: int = 1) -> None:
        """`count` prompts whose request body of `size` bytes the provider counted as `tokens`."""
        self._observe(provider, model, size, tokens, count, is_answer=False)

    def of(self, provider: str, model: str) -> Learned:
        """What is known of a model."""
        key = (provider, model)
        if key not in self._models:
            return NOTHING_LEARNED
        learned = self._learned.get(key)
        if learned is None:
            about = self._models[key]
            learned = self._learned[key] = Learned(about.answer.ratio(), about.prompt.ratio())
        return learned

    def _observe(self, provider: str, model: str, size: int, tokens: int, count: int, *, is_answer: bool) -> None:
        if tokens < LEAST_TOKENS or not _EDGES[0] * tokens <= size * _MILLI < _EDGES[-1] * tokens:
            return
        key = (provider, model)
        about = self._models.get(key)
        if about is None:
            if len(self._models) >= MOST_KEYS:
                return
            about = self._models.setdefault(key, _Model())
        histogram = about.answer if is_answer else about.prompt
        histogram.add(bisect_right(_EDGES, size * _MILLI // tokens) - 1, count)
        self._learned.pop(key, None)

    def encode(self) -> bytes:
        """Everything learned, small enough to be kept in a file."""
        rows = [(provider, model, about) for (provider, model), about in list(self._models.items())]
        return msgspec.json.encode(rows)

    @classmethod
    def decode(cls, body: bytes) -> "Calibration":
        """What `encode` gave. Raises `ValueError` for anything else."""
        made = cls()
        try:
            for provider, model, about in msgspec.json.decode(body, type=list[tuple[str, str, _Model]]):
                for histogram in (about.answer, about.prompt):
                    _check(histogram)
                made._models[provider, model] = about
        except msgspec.DecodeError as error:
            raise ValueError(f"this is no calibration: {error}") from None
        return made


def _check(histogram: _Histogram) -> None:
    counts: Mapping[int, int] = histogram.counts
    if any(not 0 <= place < len(_EDGES) or n < 0 for place, n in counts.items()) or histogram.total != sum(
        counts.values()
    ):
        raise ValueError("this is no calibration: its counts do not add up")
