"""Which attempt comes next. Pure: what happened goes in, a decision comes out."""

from msgspec import Struct

from callmeter.errors import APIConnectionError, APIError, APIStatusError, ContextWindowExceededError
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


class Step(Struct, frozen=True):
    """The next attempt: where, after how long, and why."""

    target: int
    wait_s: float
    reason: str


class Plan(Struct, frozen=True, kw_only=True):
    """The targets of one call in order, with the retries each gets."""

    targets: tuple[Target, ...]
    max_retries: int = 2
    for_long_prompts: int | None = None
    """The target to go to when a prompt is too long; None: no such fallback."""

    def after(self, target: int, tries: int, error: APIError, jitter: float, left_s: float | None) -> Step | None:
        """What to do after `tries` attempts at `target`, the last of which ended in `error`; None: give up.

        `jitter` in 0..1 shortens the backoff by up to a quarter; `left_s` is what remains of the whole call's time.
        """
        step = self.retry(target, tries, error, jitter) or self._fallback(target, error)
        if step is None or (left_s is not None and step.wait_s >= left_s):
            return None
        return step

    def retry(self, target: int, tries: int, error: APIError, jitter: float) -> Step | None:
        """The same again after `tries` attempts, or None where that is of no use or was done often enough."""
        if tries > self.max_retries or not retryable(error):
            return None
        asked = error.retry_after_s
        backoff = min(FIRST_BACKOFF_S * 2 ** (tries - 1), LAST_BACKOFF_S) * (1 - 0.25 * jitter)
        return Step(target, backoff if asked is None else asked, "retry")

    def _fallback(self, target: int, error: APIError) -> Step | None:
        if isinstance(error, ContextWindowExceededError) and self.for_long_prompts is not None:
            return Step(self.for_long_prompts, 0.0, "fallback") if self.for_long_prompts != target else None
        following = target + 1
        if following < len(self.targets) and following != self.for_long_prompts:
            return Step(following, 0.0, "fallback")
        return None


def retryable(error: APIError) -> bool:
    """Whether the same request may succeed if it is sent again: the server's own word first, then the status."""
    if error.retry_after_s is not None and error.retry_after_s > MAX_SERVER_DELAY_S:
        return False
    if error.retryable is not None:
        return error.retryable
    if isinstance(error, APIConnectionError):
        return True
    return isinstance(error, APIStatusError) and (error.status_code in RETRYABLE_STATUSES or error.status_code >= 500)
