"""What follows from a failure: how often it is retried, and whether its deployment rests. Pure."""

from collections.abc import Mapping
from typing import Any, TypeVar

import msgspec
from msgspec import Struct

from callmeter import errors
from callmeter.errors import APIError, ConfigError

DEFAULT_ALLOWED_FAILS = 3
DEFAULT_COOLDOWN_S = 5.0

MOST_FAILS = 0.5
"""The part of the last minute's calls that may fail without a cooldown."""

FEWEST_CALLS = 5
"""Calls in the last minute that are enough to judge by."""

LONGEST_ASKED_S = 120.0
"""A cooldown that the server asks for by Retry-After is no longer than this."""

_KINDS: tuple[tuple[str, type[APIError]], ...] = (
    ("ContentPolicyViolationError", errors.ContentPolicyViolationError),
    ("BadRequestError", errors.BadRequestError),
    ("AuthenticationError", errors.AuthenticationError),
    ("TimeoutError", errors.Timeout),
    ("RateLimitError", errors.RateLimitError),
    ("BadGatewayError", errors.BadGatewayError),
    ("ServiceUnavailableError", errors.ServiceUnavailableError),
    ("InternalServerError", errors.InternalServerError),
    ("NotFoundError", errors.NotFoundError),
)
"""The kinds of failure that policies name; the first that an error is an instance of is its kind."""


class RetryPolicy(Struct, frozen=True, kw_only=True):
    """Retries by kind of failure; None: as `num_retries` says. Names are those of existing code."""

    BadRequestErrorRetries: int | None = None
    AuthenticationErrorRetries: int | None = None
    TimeoutErrorRetries: int | None = None
    RateLimitErrorRetries: int | None = None
    ContentPolicyViolationErrorRetries: int | None = None
    InternalServerErrorRetries: int | None = None
    ServiceUnavailableErrorRetries: int | None = None
    BadGatewayErrorRetries: int | None = None
    NotFoundErrorRetries: int | None = None
    DefaultRetries: int | None = None
    """For every kind that is not named."""


class AllowedFailsPolicy(Struct, frozen=True, kw_only=True):
    """How many failures of a kind a deployment may have in a minute; the next begins a cooldown."""

    BadRequestErrorAllowedFails: int | None = None
    AuthenticationErrorAllowedFails: int | None = None
    TimeoutErrorAllowedFails: int | None = None
    RateLimitErrorAllowedFails: int | None = None
    ContentPolicyViolationErrorAllowedFails: int | None = None
    InternalServerErrorAllowedFails: int | None = None
    ServiceUnavailableErrorAllowedFails: int | None = None
    BadGatewayErrorAllowedFails: int | None = None
    NotFoundErrorAllowedFails: int | None = None


P = TypeVar("P", RetryPolicy, AllowedFailsPolicy)


def policy_of(kind: type[P], given: Any, name: str) -> P | None:
    """A policy out of what was given: one of ours, a mapping, or the peer's object. Raises `ConfigError` naming it."""
    if given is None or isinstance(given, kind):
        return given
    plain = given.model_dump(exclude_none=True) if hasattr(given, "model_dump") else given
    unknown = set(plain).difference(kind.__struct_fields__) if isinstance(plain, Mapping) else ()
    if unknown:
        raise ConfigError(f"{name} has no {sorted(unknown)[0]!r}; it has {', '.join(kind.__struct_fields__)}")
    try:
        return msgspec.convert(plain, kind)
    except msgspec.ValidationError as error:
        raise ConfigError(f"{name} is {given!r:.200}: {error}") from None


def kind_of(error: APIError) -> str:
    """The name by which policies know the failure; empty for a kind they do not."""
    return next((name for name, kind in _KINDS if isinstance(error, kind)), "")


def retries_for(policy: RetryPolicy | None, error: APIError) -> int | None:
    """How many retries the policy gives this failure; None where it says nothing."""
    if policy is None:
        return None
    named: int | None = getattr(policy, f"{kind_of(error)}Retries", None)
    return policy.DefaultRetries if named is None else named


def fails_for(policy: AllowedFailsPolicy | None, error: APIError) -> int | None:
    """How many failures like this one the policy allows in a minute; None where it says nothing."""
    named: int | None = getattr(policy, f"{kind_of(error)}AllowedFails", None)
    return named


class Rules(Struct, frozen=True, kw_only=True):
    """When deployments cool down, and for how long."""

    allowed_fails: int | None = None
    """None: nobody has said, and the default rules hold."""
    policy: AllowedFailsPolicy | None = None
    cooldown_s: float = DEFAULT_COOLDOWN_S
    off: bool = False


class Record(Struct, frozen=True):
    """A deployment's last minute, this failure included."""

    ended: int
    failed: int
    alike: int
    """Failures of this one's kind."""


def blames(error: BaseException) -> bool:
    """Whether a failure says something about the deployment, and not about the request or its caller."""
    if isinstance(error, errors.BadRequestError | errors.UnprocessableEntityError):
        return False
    return isinstance(error, APIError)


def cooldown_s(
    error: APIError, record: Record, rules: Rules, allowed_fails: int | None = None, own_s: float | None = None
) -> float:
    """How long the deployment is to rest after this failure; 0: not at all.

    `allowed_fails` and `own_s` are the deployment's own settings. With a policy for this kind of failure, or a number
    of allowed failures that somebody chose, the failure that exceeds it begins a cooldown. Without, a refused key, a
    missing model, a timeout and a rate limit do at once; other failures when more than `MOST_FAILS` of the last
    minute's calls failed, at least `FEWEST_CALLS` calls or more than `DEFAULT_ALLOWED_FAILS` failures being there to
    judge by. The server's Retry-After is kept where it is longer than the usual time.
    """
    if rules.off or own_s == 0 or not _fails(error, record, rules, allowed_fails):
        return 0.0
    usual = rules.cooldown_s if own_s is None else own_s
    asked = error.retry_after_s or 0.0
    return max(usual, min(asked, LONGEST_ASKED_S))


AT_ONCE = frozenset({401, 402, 403, 404, 408, 429})


def _fails(error: APIError, record: Record, rules: Rules, allowed_fails: int | None) -> bool:
    of_kind = fails_for(rules.policy, error)
    if of_kind is not None:
        return record.alike > of_kind
    if not blames(error):
        return False
    allowed = rules.allowed_fails if allowed_fails is None else allowed_fails
    if allowed is not None:
        return record.failed > allowed
    if error.status_code in AT_ONCE or isinstance(error, errors.Timeout):
        return True
    enough = record.ended >= FEWEST_CALLS or record.failed > DEFAULT_ALLOWED_FAILS
    return enough and record.failed > MOST_FAILS * record.ended
