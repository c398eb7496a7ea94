"""Whose prices hold for an attempt: the caller's own, its `base_model`'s, or those of the host it was sent to."""

from collections.abc import Mapping
from decimal import Decimal
from functools import lru_cache
from ipaddress import ip_address
from typing import Any, Literal, NamedTuple
from urllib.parse import urlsplit

from msgspec.structs import replace

from callmeter.client.providers import BY_NAME, Provider
from callmeter.client.resolve import own_hosts
from callmeter.errors import BadRequestError, ConfigError
from callmeter.pricing import PriceBook
from callmeter.pricing.own import ARGUMENTS, CALL_SECOND, given_prices, own_price
from callmeter.pricing.table import Model
from callmeter.types import Cost, Deployment, Usage


def price_given(row: Provider, model: str, given: Mapping[str, Any]) -> Model | None:
    """The caller's own prices, among a call's arguments or in its `model_info`; arguments win.

    Raises `BadRequestError` naming an argument that is no price.
    """
    if ARGUMENTS.isdisjoint(given) and not given.get("model_info"):
        return None
    try:
        return own_price(model, given_prices(given, given.get("model_info")))
    except ConfigError as error:
        raise BadRequestError(str(error), llm_provider=row.name, model=model) from None


def base_model_of(given: Mapping[str, Any]) -> str:
    """The model whose price holds in place of the deployment's own name, if the call names one."""
    named: str | None = given.get("base_model") or (given.get("model_info") or {}).get("base_model")
    return named or ""


def cost_of(
    book: PriceBook, where: Deployment, usage: Usage, *, at_ns: int, service_tier: str | None, served: str = ""
) -> Cost:
    """What the usage cost at this deployment.

    `served` is the model that the answer names, where the deployment's own name is one of the caller's (Azure).

    An address that is not its provider's has the prices of the provider that the table knows there. A server on this
    machine is taken for a proxy to the provider or a double of it; any other may be anybody's, and a private server is
    never OpenAI.
    """
    region = where.region or None
    if where.own_price is not None:
        return book.price_as(where.own_price, usage, at=at_ns, service_tier=service_tier, region=region)
    model: str = served or where.model
    provider = _billed_by(book, where)
    if where.base_model:
        model, provider = where.base_model, _offering(book, where.base_model, where.provider)
    elif provider is None:
        if not book.registered(model, where.provider):
            return Cost(status="unpriced", reason=_unknown_host(where))
        provider = where.provider
    return book.price(model, usage, provider=provider, at=at_ns, service_tier=service_tier, region=region)


def timed(where: Deployment, usage: Usage, took_ns: int) -> Usage:
    """The usage, with the time the attempt took where the caller's own price is for that."""
    if where.own_price is None or not any(rate.line == CALL_SECOND for rate in where.own_price.rates):
        return usage
    return replace(usage, units={**usage.units, CALL_SECOND: Decimal(max(0, took_ns)).scaleb(-9)})


def _offering(book: PriceBook, model: str, provider: str) -> str | None:
    """Whose `base_model` it is: None for as its prefix says, or for whoever offers it; else the deployment's own."""
    prefix, slash, _ = model.partition("/")
    if slash and book.sells(prefix):
        return None
    return provider if book.model(model, provider) is not None else None


def _billed_by(book: PriceBook, where: Deployment) -> str | None:
    """The provider whose prices hold at the deployment's address; None where nobody is known there."""
    address = _address(where.provider, where.api_base)
    if address.kind == "theirs":
        return where.provider
    known = book.at_host(f"{address.host}:{address.port}") or book.at_host(address.host)
    return known or (where.provider if address.kind == "assumed" else None)


def _unknown_host(where: Deployment) -> str:
    host = _address(where.provider, where.api_base).host
    return (
        f"{host} is no address of {where.provider}'s, so its prices do not hold for {where.model!r} there; "
        "pass base_model=… or input_cost_per_token=…, or give the model's prices to register_model"
    )


class _Address(NamedTuple):
    kind: Literal["theirs", "assumed", "foreign"]
    """The provider's own; somebody's who passes for it unless the table knows better; or anybody's."""
    host: str
    port: int | None


@lru_cache(1024)
def _address(provider: str, api_base: str) -> _Address:
    parts = urlsplit(api_base)
    host = (parts.hostname or "").casefold()
    row = BY_NAME.get(provider)
    own = (urlsplit(row.base_url).hostname or "") if row is not None else ""
    if not host or (row is not None and any(theirs.fullmatch(host) for theirs in own_hosts(provider))):
        return _Address("theirs", host, parts.port)
    # A row without an address, or of servers that people run themselves, goes wherever its caller says.
    runs_here = not own or _is_loopback(own)
    assumed = not own or _is_loopback(host) or host.endswith(DOUBLE) or (runs_here and _is_private(host))
    return _Address("assumed" if assumed else "foreign", host, parts.port)


DOUBLE = ".test"
"""End of names that are for test doubles and nobody's on the Internet. Source: RFC 6761."""

_PRIVATE_NAMES = (".local", ".internal", ".lan", ".home.arpa", ".svc")
"""Ends of names that mean nothing outside the network they are used in. Source: RFC 6762, 8375; Kubernetes' DNS."""


def _is_loopback(host: str) -> bool:
    if host == "localhost" or host.endswith(".localhost"):
        return True
    try:
        address = ip_address(host)
    except ValueError:
        return False
    return address.is_loopback or address.is_unspecified


def _is_private(host: str) -> bool:
    try:
        return ip_address(host).is_private
    except ValueError:
        # One label is the name of a container or of a machine next door.
        return "." not in host or host.endswith(_PRIVATE_NAMES)
