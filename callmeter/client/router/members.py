"""The entries of a model list: each a place where the calls of one model group can go."""

import hashlib
import logging
import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import msgspec
from msgspec import Struct

from callmeter.client.providers import BY_NAME
from callmeter.client.resolve import NOTHING, provider_of
from callmeter.errors import BadRequestError, ConfigError
from callmeter.pricing import default_book
from callmeter.types import Secret

log = logging.getLogger("callmeter")

LAST = 2**31
"""The order of a deployment that names none: after all that do."""

ENVIRON = "os.environ/"
"""Begins a value that stands in the environment variable named after it."""


class Member(Struct, frozen=True, kw_only=True, eq=False):
    """One deployment of a model group, with what the router has to know of it."""

    id: str
    """`model_info.id`, else a hash of the group and of the arguments as they were written: the same in every run."""
    group: str
    model: str
    """The model to call, prefix and all; where the group is a pattern, `*` stands for what its `*` stands for."""
    params: Mapping[str, Any] = {}
    """The arguments it brings to a call, but for the model."""
    info: Mapping[str, Any] = {}
    """`model_info` of the entry, with the id."""
    order: int = LAST
    """Of the deployments that are free, those with the lowest are taken."""
    weight: float | None = None
    rpm: int | None = None
    """Requests it may be sent in any minute."""
    tpm: int | None = None
    """Tokens, in and out, it may use in any minute."""
    parallel: int | None = None
    """Calls it may have in flight."""
    tags: frozenset[str] = frozenset()
    region: str = ""
    cooldown_s: float | None = None
    allowed_fails: int | None = None
    retries: int | None = None
    window: int | None = None
    """Tokens its prompts may have, where the entry says so."""

    @property
    def limited(self) -> bool:
        """Whether it has limits of its own."""
        return self.rpm is not None or self.tpm is not None or self.parallel is not None

    @property
    def open_params(self) -> dict[str, Any]:
        """The arguments that go into its requests, without credentials."""
        return {name: value for name, value in self.params.items() if name not in SECRETS and name != "model_info"}

    def shown(self, called: str = "") -> dict[str, Any]:
        """The entry as it is listed, under another group's name if one is given; credentials are `Secret`s."""
        params: dict[str, Any] = {"model": self.model}
        for name, value in self.params.items():
            if name != "model_info":
                params[name] = Secret(value) if name in SECRETS and isinstance(value, str) else value
        for field, key in _SHOWN:
            value = getattr(self, field)
            if value is not None and value != LAST and value not in ("", frozenset()):
                params[key] = sorted(value) if isinstance(value, frozenset) else value
        return {"model_name": called or self.group, "litellm_params": params, "model_info": dict(self.info)}


_SHOWN = (
    ("order", "order"),
    ("weight", "weight"),
    ("rpm", "rpm"),
    ("tpm", "tpm"),
    ("parallel", "max_parallel_requests"),
    ("tags", "tags"),
    ("region", "region_name"),
    ("cooldown_s", "cooldown_time"),
    ("allowed_fails", "allowed_fails"),
    ("retries", "max_retries"),
)
"""Fields that an entry's arguments say, with the arguments' names."""

OURS = frozenset({"model", "num_retries", *(key for _, key in _SHOWN)})
"""Arguments that are the router's and no call's."""


REGIONS = ("region_name", "region", "aws_region_name", "vertex_location", "vertex_ai_location", "watsonx_region_name")
"""Arguments that say where a deployment is, the one that says it outright first."""


def members_of(
    model_list: Iterable[Any],
    defaults: Mapping[str, Any] = NOTHING,
    *,
    skip_invalid: bool = False,
    environ: Mapping[str, str] = os.environ,
) -> tuple[Member, ...]:
    """The entries of a model list. `defaults` are arguments of those that do not say otherwise.

    Raises `ConfigError` naming the entry and what is wrong with it, or with `skip_invalid` warns and leaves it out.
    """
    found: list[Member] = []
    taken: dict[str, int] = {}
    for at, entry in enumerate(model_list):
        try:
            member = member_of(entry, f"model_list[{at}]", defaults, environ)
        except ConfigError as error:
            if not skip_invalid:
                raise
            log.warning("%s; the entry is left out, since ignore_invalid_deployments is set", error)
            continue
        # Two entries may be the same to the letter; each is a deployment all the same.
        taken[member.id] = seen = taken.get(member.id, 0) + 1
        found.append(member if seen == 1 else _numbered(member, seen))
    return tuple(found)


def _numbered(member: Member, number: int) -> Member:
    info = {**member.info, "id": f"{member.id}-{number}"}
    return msgspec.structs.replace(member, id=info["id"], info=info, params={**member.params, "model_info": info})


def member_of(
    entry: Any,
    where: str = "deployment",
    defaults: Mapping[str, Any] = NOTHING,
    environ: Mapping[str, str] = os.environ,
) -> Member:
    """One entry: a mapping with `model_name`, `litellm_params` and `model_info`, or an object with these attributes.

    Raises `ConfigError` beginning with `where`.
    """
    plain = _mapping(entry)
    group = plain.get("model_name")
    if not isinstance(group, str) or not group:
        raise ConfigError(f"{where} has no model_name; it is the name that calls ask for, as in 'gpt-4o'")
    where = f"{where} ({group!r})"
    written = _mapping(plain.get("litellm_params") or {})
    if not isinstance(written.get("model"), str) or not written["model"]:
        raise ConfigError(f"{where} has no litellm_params.model; it looks like 'openai/gpt-4o'")
    info = _mapping(plain.get("model_info") or {})
    beside = {name: plain[name] for name in ("rpm", "tpm") if plain.get(name) is not None}
    given = {**defaults, **beside, **_found(written, where, environ)}
    number = _Numbers(given, where)
    info["id"] = str(info.get("id") or _hashed(group, {**written, **beside}))
    params = {name: _hidden(name, value) for name, value in given.items() if name not in OURS}
    _check_provider(given["model"], params.get("custom_llm_provider"), where)
    return Member(
        id=info["id"],
        group=group,
        model=given["model"],
        params={**params, "model_info": info},
        info=info,
        order=LAST if (order := number("order", int)) is None else order,
        weight=number("weight", float),
        rpm=number("rpm", int),
        tpm=number("tpm", int),
        parallel=number("max_parallel_requests", int, least=1),
        tags=frozenset(map(str, given.get("tags") or ())),
        region=next((str(given[name]) for name in REGIONS if given.get(name)), ""),
        cooldown_s=number("cooldown_time", float, info),
        allowed_fails=number("allowed_fails", int, info),
        retries=number("num_retries", int) if given.get("num_retries") is not None else number("max_retries", int),
        window=_Numbers(info, f"{where}: model_info")("max_input_tokens", int),
    )


def _check_provider(model: str, custom: Any, where: str) -> None:
    """A provider that nobody knows is better told now than by a call."""
    if "*" not in model:
        try:
            provider_of(model, custom, default_book().owner)
        except BadRequestError as error:
            raise ConfigError(f"{where}: {error.message.partition(': ')[2]}") from None


def _mapping(value: Any) -> dict[str, Any]:
    """A mapping, or an object's fields that are set: people hand in the peer's own objects as well."""
    if isinstance(value, Mapping):
        return dict(value)
    if hasattr(value, "model_dump"):
        return dict(value.model_dump(exclude_none=True))
    if hasattr(value, "__dict__"):
        return {name: field for name, field in vars(value).items() if field is not None}
    raise ConfigError(f"{value!r:.80} is no entry of a model list; it looks like {EXAMPLE}")


EXAMPLE = '{"model_name": "fast", "litellm_params": {"model": "openai/gpt-4o-mini"}}'


def _found(written: Mapping[str, Any], where: str, environ: Mapping[str, str]) -> dict[str, Any]:
    """The arguments with `os.environ/NAME` replaced; what is in no variable is left to the provider's own defaults."""
    found = {}
    for name, value in written.items():
        if isinstance(value, str) and value.startswith(ENVIRON):
            variable = value.removeprefix(ENVIRON)
            value = environ.get(variable)
            if not value:
                log.warning("%s: %s is in the environment variable %s, which is not set", where, name, variable)
                continue
        if value is not None:
            found[name] = value
    return found


class _Numbers:
    """Reads numbers out of what was given, refusing what is none."""

    def __init__(self, given: Mapping[str, Any], where: str) -> None:
        self._given = given
        self._where = where

    def __call__(
        self, name: str, kind: Callable[[Any], Any], elsewhere: Mapping[str, Any] | None = None, *, least: float = 0
    ) -> Any:
        value = self._given.get(name)
        if value is None and elsewhere is not None:
            value = elsewhere.get(name)
        if value is None:
            return None
        try:
            number = kind(value)
        except (TypeError, ValueError, OverflowError):
            number = None
        if number is None or not least <= number < float("inf") or (kind is int and number != float(value)):
            what = "whole number" if kind is int else "number"
            raise ConfigError(f"{self._where}: {name} is {value!r}; it takes a {what} of at least {least:g}")
        return number


SECRETS = frozenset(
    {"api_key"}.union(
        keyword
        for row in BY_NAME.values()
        for variable in row.variables.values()
        if variable.secret
        for keyword in variable.keywords
    )
)
"""Arguments that are credentials."""


def _hidden(name: str, value: Any) -> Any:
    """An API key as a `Secret`; other credentials are hidden where they are shown."""
    return Secret(value) if name == "api_key" and isinstance(value, str) else value


def _hashed(group: str, written: Mapping[str, Any]) -> str:
    body = msgspec.json.encode([group, written], order="sorted", enc_hook=_stable)
    return hashlib.blake2b(body, digest_size=16, person=b"callmeter-member").hexdigest()


def _stable(value: Any) -> Any:
    """What tells one value from another in every run alike."""
    if isinstance(value, Secret):
        return value.reveal()
    if isinstance(value, set | frozenset | Sequence):
        return sorted(map(str, value))
    return getattr(value, "__qualname__", None) or type(value).__qualname__
