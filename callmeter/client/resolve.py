"""From the caller's model name to a deployment: which provider, which address, whose key."""

import os
from collections.abc import Callable, Mapping
from typing import Any
from urllib.parse import urlsplit

from callmeter.client.providers import BY_NAME, PROVIDERS, Provider
from callmeter.errors import AuthenticationError, BadRequestError
from callmeter.types import Deployment, Secret

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
                f"custom_llm_provider={custom!r} is no provider callmeter knows; it knows {_known()}",
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
    raise BadRequestError(
        f"LLM Provider NOT provided. You passed model={model!r}: put the provider before it, as in "
        f"'openai/{model}', or pass custom_llm_provider=…. Known providers: {_known()}",
        model=model,
    )


def _known() -> str:
    return ", ".join(row.name for row in PROVIDERS)


def deployment(
    row: Provider,
    model: str,
    *,
    api_base: str | None = None,
    api_key: str | Secret | None = None,
    headers: Mapping[str, str] | None = None,
    base_model: str = "",
    region: str = "",
    deployment_id: str = "",
    bind_keys: bool = False,
    environ: Mapping[str, str] = os.environ,
) -> Deployment:
    """Where calls to `model` at this provider go. An explicit address or key wins over the environment's.

    With `bind_keys` a key from the environment only goes to the provider's own address. Raises
    `AuthenticationError` naming the variables where a key is needed and none is found.
    """
    base = api_base or _first(environ, row.base_env) or row.base_url
    if row.codec == "ollama":
        from callmeter.client.codecs.ollama import normalise_host

        base = normalise_host(base)
    if urlsplit(base).scheme not in ("http", "https") or not urlsplit(base).netloc:
        raise BadRequestError(
            f"api_base {base!r} is no address; it looks like 'https://host/v1'", llm_provider=row.name, model=model
        )
    key = api_key if isinstance(api_key, Secret) else Secret(api_key) if api_key else None
    if key is None and not (bind_keys and api_base and _origin(api_base) != _origin(row.base_url)):
        found = _first(environ, row.key_env)
        key = Secret(found) if found else None
    if key is None and row.needs_key:
        raise AuthenticationError(
            f"no key for {row.name}: set {' or '.join(row.key_env)}, or pass api_key=…",
            llm_provider=row.name,
            model=model,
        )
    return Deployment(
        provider=row.name,
        model=model,
        codec=row.codec,
        api_base=base,
        api_key=key,
        headers=headers or {},
        id=deployment_id,
        region=region,
        base_model=base_model,
        quirks=row.quirks,
    )


def _first(environ: Mapping[str, str], names: tuple[str, ...]) -> str | None:
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
    """Names of the OpenAI parameters this model's wire carries; None where the provider is not known."""
    from callmeter.client.codecs import load
    from callmeter.pricing import default_book

    try:
        row, _ = provider_of(model, custom_llm_provider, default_book().owner)
    except BadRequestError:
        return None
    return sorted(load(row.codec).supported)
