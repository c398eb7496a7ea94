"""Time and ids that a test owns."""

from itertools import count


class FixedClock:
    """A clock that moves only when told to. Wall and monotonic time move together."""

    def __init__(self, wall_ns: int = 1_750_000_000_000_000_000, mono_ns: int = 1_000_000_000) -> None:
        self._wall_ns = wall_ns
        self._mono_ns = mono_ns

    def wall_ns(self) -> int:
        """Nanoseconds since the epoch, UTC."""
        return self._wall_ns

    def mono_ns(self) -> int:
        """Nanoseconds since some fixed instant."""
        return self._mono_ns

    def advance(self, seconds: float) -> None:
        """Let time pass."""
        step = round(seconds * 1e9)
        self._wall_ns += step
        self._mono_ns += step


class FixedIds:
    """Ids in order: `000…1`, `000…2`, as 32 hex digits."""

    def __init__(self, first: int = 1) -> None:
        self._next = count(first).__next__

    def __call__(self) -> str:
        return f"{self._next():032x}"
