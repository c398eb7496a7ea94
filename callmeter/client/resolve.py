"""From the caller's model name to a deployment: which provider, which address, whose key."""

import os
import re
from collections.abc import Callable, Mapping, Sequence
from difflib import get_close_matches
from functools import lru_cache
from types import MappingProxyType
from typing import Any
from urllib.parse import urlsplit

import msgspec
from msgspec.structs import replace

from callmeter.client.codecs import load
from callmeter.client.credentials import signer_for
from callmeter.client.operations import OPERATIONS
from callmeter.client.providers import BY_NAME, CHATTED, PROVIDERS, Provider
from callmeter.errors import AuthenticationError, BadRequestError
from callmeter.types import Deployment, Secret
from callmeter.wire import Signer

NOTHING: Mapping[str, Any] = MappingProxyType({})

SOME_KEY = Secret("some key")
"""Stands for a key of the caller's own, which is in nobody's memory but the caller's."""

Owner = Callable[[str], str | None]
"""The provider that is known to offer a bare model name, or None."""


def provider_of(model: str, custom: str | None, owner: Owner) -> tuple[Provider, str]:
    """The provider's row and the model as that provider knows it: only the first slash splits.

    Raises `BadRequestError` where nobody is known to offer the model.
    """
    if custom:
        row = BY_NAME.get(custom)
        if row is None:
            raise BadRequestError(
                f"custom_llm_provider={custom!r} is no provider callmeter knows; near it: {_near(custom)}. "
                "`callmeter providers` lists them all",
                llm_provider=custom,
                model=model,
            )
        prefix, slash, rest = model.partition("/")
        return row, rest if slash and BY_NAME.get(prefix) is row else model
    prefix, slash, rest = model.partition("/")
    if slash and prefix in BY_NAME:
        return BY_NAME[prefix], rest
    name = owner(model)
    if name is not None and name in BY_NAME:
        return BY_NAME[name], model
    near = get_close_matches(prefix.lower(), BY_NAME, 3, 0.6) if slash else []
    advice = (
        f"{prefix!r} is no provider; did you mean {' or '.join(near)}?"
        if near
        else f"put the provider before it, as in 'openai/{model or 'gpt-4o'}', or pass custom_llm_provider=…."
    )
    raise BadRequestError(
        f"LLM Provider NOT provided. You passed model={model!r}: {advice} `callmeter providers` lists all "
        f"{len(PROVIDERS)}: {KNOWN_BEST}",
        model=model,
    )


KNOWN_BEST = "openai, anthropic, gemini, vertex_ai, azure, mistral, groq, xai, openrouter, ollama, …"


def _near(name: str) -> str:
    """Names like one that nobody has, for a message."""
    return ", ".join(get_close_matches(name, BY_NAME, 3, 0.5)) or KNOWN_BEST


def deployment(
    row: Provider,
    model: str,
    *,
    operation: str = "chat",
    api_base: str | None = None,
    api_key: str | Secret | None = None,
    base_model: str = "",
    region: str = "",
    deployment_id: str = "",
    bind_keys: bool = False,
    given: Mapping[str, Any] = NOTHING,
    environ: Mapping[str, str] = os.environ,
) -> Deployment:
    """Where calls to `model` at this provider go. An explicit address or key wins over the environment's.

    `given` are the caller's arguments, among which the row's variables are looked up. With `bind_keys` a key from the
    environment only goes to the provider's own address. Raises `AuthenticationError` naming the variables where a key
    is needed and none is found, and `BadRequestError` for an operation that the provider does not offer, and for an
    address that is none or lacks a part.
    """
    known = tuple([environ.get(name) for name in row.environment])
    said = tuple([given.get(keyword) for keyword in row.keywords]) if row.keywords else ()
    asked = (row.name, model, operation, api_base, base_model, region, deployment_id, bind_keys)
    if api_key and row.exchanges_key:
        return _deployment(*asked, known, said, _secret(api_key))
    key = SOME_KEY if api_key else None
    try:
        where = _remembered(*asked, known, said, key)
    except TypeError:
        where = _deployment(*asked, known, said, key)  # an argument that is no plain value
    if not api_key:
        return where
    return replace(where, api_key=_secret(api_key))


def _secret(key: str | Secret) -> Secret:
    return key if isinstance(key, Secret) else Secret(key)


def _deployment(
    provider: str,
    model: str,
    operation: str,
    api_base: str | None,
    base_model: str,
    region: str,
    deployment_id: str,
    bind_keys: bool,
    known: Sequence[str | None],
    said: Sequence[Any],
    key: Secret | None = None,
) -> Deployment:
    """The deployment as it follows from what stood in the row's environment variables and keywords."""
    row = BY_NAME[provider]
    if operation not in CHATTED and operation not in row.serves:
        raise _not_served(row, operation, model)
    codec, model, named, priced_as = row.wire_of(model, operation)
    load(codec)  # a wire that is not spoken yet is said to be that, whatever else is missing
    environ = {name: value for name, value in zip(row.environment, known, strict=True) if value}
    given = dict(zip(row.keywords, said, strict=True))
    address = api_base or _first(given, row.base_keywords) or _first(environ, row.base_env)
    told = {**named, **variables_in(row, address)} if address else named
    variables = _variables(row, given, told, environ) if row.variables else {}
    base = address or _own_address(row, variables, model)
    if row.codec == "ollama":
        from callmeter.client.codecs.ollama import normalise_host

        base = normalise_host(base)
    if urlsplit(base).scheme not in ("http", "https") or not urlsplit(base).netloc:
        raise BadRequestError(
            f"api_base {base!r} is no address; it looks like 'https://host/v1'", llm_provider=row.name, model=model
        )
    elsewhere = bind_keys and api_base and _origin(api_base) != _origin(row.base_url)
    if key is None and not elsewhere and not _credentials_given(row, given):
        found = _first(environ, row.key_env)
        key = Secret(found) if found else None
    if elsewhere and row.exchanges_key:
        variables = {name: value for name, value in variables.items() if name not in row.secrets}
    if key is None and row.needs_key and not any(name in variables for name in row.secrets):
        raise AuthenticationError(
            f"no key for {row.name}: set {' or '.join(row.key_env)}, or pass api_key=…",
            llm_provider=row.name,
            model=model,
        )
    return Deployment(
        provider=row.name,
        model=model,
        codec=codec,
        api_base=base,
        api_key=None if row.exchanges_key else key,
        headers=_headers(row, environ),
        id=deployment_id,
        region=region or variables.get("region") or variables.get("location") or _place(row, base),
        base_model=base_model or priced_as,
        quirks=row.quirks,
        variables={name: value for name, value in variables.items() if name not in row.secrets},
        signer=_signer(row, variables, key),
    )


def _signer(row: Provider, variables: Mapping[str, Any], key: Secret | None) -> Signer | None:
    """Who signs. An explicit key is a ready token or a bearer key, and takes the place of the cloud's credentials,
    where it is not itself what a token is given for.
    """
    if not row.signer or (key is not None and not row.exchanges_key):
        return None
    return signer_for(row.signer, variables if key is None else {**variables, "key": key.reveal()})


def _not_served(row: Provider, operation: str, model: str) -> BadRequestError:
    others = [other.name for other in PROVIDERS if operation in other.serves]
    return BadRequestError(
        f"{row.name} does not offer {operation}, only {', '.join(row.serves)}. {operation} is offered by "
        f"{', '.join(others[:8])}{', …' if others[8:] else ''}; docs/providers.md lists who offers what",
        llm_provider=row.name,
        model=model,
    )


_remembered = lru_cache(1024)(_deployment)
"""Most calls go where others went before, and nothing of a deployment ever changes."""


def _variables(
    row: Provider, given: Mapping[str, Any], told: Mapping[str, str], environ: Mapping[str, str]
) -> dict[str, Any]:
    """What is known of a row's variables: arguments, what the address or the model's name tells, the environment, the
    cloud's own configuration, the row's own default.

    All are strings but the functions that hand out tokens, which are secret.
    """
    found: dict[str, Any] = {}
    for name, variable in row.variables.items():
        said = next((given[keyword] for keyword in variable.keywords if given.get(keyword) is not None), None)
        if callable(said):
            found[name] = said
        elif value := _text(said) if said is not None else told.get(name) or _first(environ, variable.env):
            found[name] = _origin_of(value) if variable.is_origin else value
    for name, variable in row.variables.items():
        if name not in found and (
            value := (variable.elsewhere(found) if variable.elsewhere is not None else "") or variable.default
        ):
            found[name] = value
    return found


def variables_in(row: Provider, address: str) -> dict[str, str]:
    """The variables that an address of the provider's own has in its host; none in any other."""
    if not row.variables:
        return {}
    host = urlsplit(address).hostname or ""
    found = next((told for own in own_hosts(row.name) if (told := own.fullmatch(host)) is not None), None)
    return {} if found is None else {name: value for name, value in found.groupdict().items() if name in row.variables}


@lru_cache(1024)
def own_hosts(provider: str) -> tuple[re.Pattern[str], ...]:
    """What a provider's own hosts look like, its variables as groups."""
    row = BY_NAME[provider]
    own, *places = (urlsplit(url).hostname or "" for url in (row.base_url, *row.places.values()))
    # Those of single places last: they tell nothing but themselves.
    hosts = (own, *row.hosts, *places)
    return tuple(re.compile(_VARIABLE.sub(r"(?P<\1>.+)", re.escape(host))) for host in hosts if host)


_VARIABLE = re.compile(r"\\\{(\w+)\\\}")
"""`{region}` in a host, escaped for a pattern."""


def _origin_of(host: str) -> str:
    """A host, bare or with its scheme, as the beginning of an address."""
    return (host if "://" in host else f"https://{host}").rstrip("/")


def _text(said: Any) -> str:
    """An argument as text: credentials may be given as the object that their file holds."""
    return msgspec.json.encode(said).decode() if isinstance(said, Mapping) else str(said)


def _credentials_given(row: Provider, given: Mapping[str, Any]) -> bool:
    """Whether the caller passed credentials other than a key: they win over a key from the environment."""
    secret = (keyword for variable in row.variables.values() if variable.secret for keyword in variable.keywords)
    return any(given.get(keyword) for keyword in secret)


def _own_address(row: Provider, variables: Mapping[str, Any], model: str) -> str:
    """The row's address with its variables filled in. Raises `BadRequestError` naming one that nobody set."""
    if not row.base_url:
        raise BadRequestError(
            f"{row.name} has no address of its own: pass api_base=…, or set {' or '.join(row.base_env)}",
            llm_provider=row.name,
            model=model,
        )
    place = variables.get("location") or variables.get("region") or ""
    address = row.places.get(place, row.base_url) if row.places else row.base_url
    try:
        return address.format_map({"model": model, **variables}) if "{" in address else address
    except KeyError as error:
        name = error.args[0]
        variable = row.variables[name]
        places = [*(f"{keyword}=…" for keyword in variable.keywords), *variable.env]
        raise BadRequestError(
            f"{row.name} needs a {name}: give it as {' or '.join(places)}, or pass the whole address as api_base=…",
            llm_provider=row.name,
            model=model,
        ) from None


def _place(row: Provider, base: str) -> str:
    """The location that an address of the provider's serves; empty for its ordinary one and for anybody else's."""
    return next((place for place, address in row.places.items() if _origin(address) == _origin(base)), "")


def _headers(row: Provider, environ: Mapping[str, str]) -> dict[str, str]:
    filled = {
        name: environ.get(value[1:], "") if value.startswith("$") else value for name, value in row.headers.items()
    }
    return {name: value for name, value in filled.items() if value}


def _first(environ: Mapping[str, Any], names: tuple[str, ...]) -> str | None:
    return next((environ[name] for name in names if environ.get(name)), None)


def _origin(url: str) -> tuple[str, str]:
    parts = urlsplit(url)
    return parts.scheme, parts.netloc


def get_llm_provider(
    model: str,
    custom_llm_provider: str | None = None,
    api_base: str | None = None,
    api_key: str | None = None,
    litellm_params: Any = None,
) -> tuple[str, str, str | None, str | None]:
    """`(model, provider, api_key, api_base)` as the call would use them; the key only if it was passed."""
    from callmeter.pricing import default_book

    row, name = provider_of(model, custom_llm_provider, default_book().owner)
    base = api_base or _first(os.environ, row.base_env)
    return name, row.name, api_key, base or (row.base_url if not row.needs_key else None)


def get_supported_openai_params(
    model: str,
    custom_llm_provider: str | None = None,
    request_type: str = "chat_completion",
    base_model: str | None = None,
) -> list[str] | None:
    """Names of the OpenAI parameters this model's wire carries beside the prompt.

    `request_type` is `chat_completion`, `embeddings`, or another operation by its own name. None where the provider is
    not known or does not offer the operation.
    """
    from callmeter.pricing import default_book

    try:
        row, name = provider_of(model, custom_llm_provider, default_book().owner)
    except BadRequestError:
        return None
    operation = {"chat_completion": "chat", "embeddings": "embedding"}.get(request_type, request_type)
    if operation not in OPERATIONS or operation not in CHATTED.union(row.serves):
        return None
    asked = OPERATIONS[operation]
    codec = load(row.wire_of(name, operation).codec)
    return sorted(codec.supported.intersection(asked.params).difference(asked.prompt))
