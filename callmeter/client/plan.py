"""Which attempt comes next. A plan is pure: what happened goes in, a decision comes out. A way remembers."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Protocol

from msgspec import Struct

from callmeter.client.effects import Flow
from callmeter.client.mock import Mock
from callmeter.errors import APIConnectionError, APIError, APIStatusError, ContextWindowExceededError
from callmeter.events.model import Attempt
from callmeter.types import Call, Deployment

MAX_SERVER_DELAY_S = 120.0
"""A server that asks for more than this is not waited for. Source: openai-python, `_calculate_retry_timeout`."""

FIRST_BACKOFF_S = 0.5
LAST_BACKOFF_S = 8.0

RETRYABLE_STATUSES = frozenset({408, 409, 429, 498})


class Target(Struct, frozen=True):
    """A deployment and the call as it is to be made there (a fallback may bring its own messages)."""

    call: Call
    deployment: Deployment
    mock: Mock | None = None
    """What answers in place of the provider."""


class Step(Struct, frozen=True):
    """The next attempt: where, after how long, and why."""

    target: int
    wait_s: float
    reason: str


class Plan(Struct, frozen=True):
    """How many targets one call has, in order, and the retries each gets."""

    targets: int = 1
    max_retries: int = 2
    for_long_prompts: int | None = None
    """The target to go to when a prompt is too long; None: no such fallback."""

    def after(self, target: int, tries: int, error: APIError, jitter: float, left_s: float | None) -> Step | None:
        """What to do after `tries` attempts at `target`, the last of which ended in `error`; None: give up.

        `jitter` in 0..1 shortens the backoff by up to a quarter; `left_s` is what remains of the whole call's time.
        """
        step = self._retry(target, tries, error, jitter) or self._fallback(target, error)
        if step is None or (left_s is not None and step.wait_s >= left_s):
            return None
        return step

    def _retry(self, target: int, tries: int, error: APIError, jitter: float) -> Step | None:
        if tries > self.max_retries or not retryable(error):
            return None
        return Step(target, pause_s(tries, error, jitter), "retry")

    def _fallback(self, target: int, error: APIError) -> Step | None:
        if isinstance(error, ContextWindowExceededError) and self.for_long_prompts is not None:
            return Step(self.for_long_prompts, 0.0, "fallback") if self.for_long_prompts != target else None
        following = target + 1
        if following < self.targets and following != self.for_long_prompts:
            return Step(following, 0.0, "fallback")
        return None


def pause_s(tries: int, error: APIError, jitter: float) -> float:
    """Seconds to wait before a target that failed `tries` times is tried again: what it asked for, else a backoff."""
    if error.retry_after_s is not None:
        return error.retry_after_s
    backoff: float = min(FIRST_BACKOFF_S * 2 ** (tries - 1), LAST_BACKOFF_S)
    return backoff * (1 - 0.25 * jitter)


def retryable(error: APIError) -> bool:
    """Whether the same request may succeed if it is sent again: the server's own word first, then the status."""
    if error.retry_after_s is not None and error.retry_after_s > MAX_SERVER_DELAY_S:
        return False
    if error.retryable is not None:
        return error.retryable
    if isinstance(error, APIConnectionError):
        return True
    return isinstance(error, APIStatusError) and (error.status_code in RETRYABLE_STATUSES or error.status_code >= 500)


class Turn(Struct, frozen=True):
    """The next attempt: where it goes, and why it is made."""

    target: Target
    reason: str = "first"
    """`first`, `retry` or `fallback`."""
    because: str = ""
    """What led to it: the failure before it, or why another was passed over."""
    group: str = ""
    """The router's group that the deployment was chosen from."""
    waited_s: float = 0.0
    """How long it took until the deployment was free."""
    ended: Callable[[Attempt, BaseException | None, float | None], None] | None = None
    """Told once how the attempt went, its exception and the seconds to a stream's first chunk. It never blocks."""


class Way(Protocol):
    """One call's way from attempt to attempt."""

    @property
    def max_retries(self) -> int: ...

    @property
    def retries(self) -> int:
        """How often the target whose turn it was last has been tried again."""
        ...

    def first(self) -> Target | Sequence[Mapping[str, Any]]:
        """Where the call goes first; where that is decided attempt by attempt, all that may answer, as arguments
        without credentials.

        Raises the error that there is in making it.
        """
        ...

    def turn(self) -> Flow[Turn]:
        """The next attempt. Raises the error with which the call ends where there is nobody to ask."""
        ...

    def after(self, error: APIError, jitter: float, left_s: float | None) -> float | None:
        """Seconds to wait before the attempt that follows this failure; None where none does.

        `jitter` and `left_s` are those of `Plan.after`.
        """
        ...

    def last_words(self, error: APIError) -> None:
        """Add to the error with which the call ends what its reader should know of the way."""
        ...


class Listed:
    """The way along a plan. Each target is made when its turn comes: one that cannot be made is passed over."""

    def __init__(self, plan: Plan, make: Callable[[int], Target]) -> None:
        self._plan = plan
        self._make = make
        self._at = 0
        self._tries = 0
        self._reason = "first"
        self._because = ""

    @property
    def max_retries(self) -> int:
        """The plan's."""
        return self._plan.max_retries

    @property
    def retries(self) -> int:
        """See `Way`."""
        return max(0, self._tries - 1)

    def first(self) -> Target:
        """See `Way`."""
        return self._make(0)

    def turn(self) -> Flow[Turn]:
        """See `Way`."""
        yield from ()
        while True:
            self._tries += 1
            try:
                return Turn(self._make(self._at), self._reason, self._because)
            except APIError as error:
                if self.after(error, 0.0, None) is None:
                    raise

    def after(self, error: APIError, jitter: float, left_s: float | None) -> float | None:
        """See `Way`."""
        step = self._plan.after(self._at, self._tries, error, jitter, left_s)
        if step is None:
            return None
        if step.target != self._at:
            self._at, self._tries = step.target, 0
        self._reason, self._because = step.reason, cause(error)
        return step.wait_s

    def last_words(self, error: APIError) -> None:
        """Nothing: the error says it all."""


def cause(error: APIError) -> str:
    """A failure in a few words."""
    return f"{type(error).__name__} ({error.status_code})"
