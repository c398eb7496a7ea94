"""What this process could call: which keys and addresses its environment holds, and which models they open."""

import os
import string
from collections.abc import Mapping
from typing import Any
from urllib.parse import urlsplit

import msgspec

from callmeter.client.providers import BY_NAME, PROVIDERS, Provider
from callmeter.client.resolve import deployment, provider_of
from callmeter.errors import APIError, AuthenticationError, BadRequestError, PermissionDeniedError
from callmeter.pricing import default_book
from callmeter.types import Deployment, Timeouts
from callmeter.wire import WireRequest

FETCHED: Mapping[str, tuple[tuple[str, ...], ...]] = {
    "aws": (
        ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"),
        *((name,) for name in ("AWS_PROFILE", "AWS_PROFILE_NAME", "AWS_WEB_IDENTITY_TOKEN_FILE", "AWS_ROLE_NAME")),
    ),
    "databricks": (("DATABRICKS_CLIENT_ID", "DATABRICKS_CLIENT_SECRET"),),
    "gigachat": (("GIGACHAT_ACCESS_TOKEN",),),
    "ibm": (("WATSONX_TOKEN",), ("WX_TOKEN",), ("WATSONX_ZENAPIKEY",)),
    "oci": (("OCI_USER", "OCI_TENANCY", "OCI_FINGERPRINT"), ("OCI_CONFIG_FILE",)),
    "sap": (("AICORE_CLIENT_ID", "AICORE_CLIENT_SECRET", "AICORE_AUTH_URL"),),
    "azure": (("AZURE_AD_TOKEN",), ("AZURE_TENANT_ID", "AZURE_CLIENT_ID", "AZURE_CLIENT_SECRET")),
}
"""Sets of variables that take a key's place, for providers whose credentials are fetched or computed. Google's are not
here: application default credentials need none."""

LISTING_TIMEOUTS = Timeouts(connect_s=5.0, first_byte_s=10.0, total_s=20.0)


def validate_environment(
    model: str | None = None,
    api_key: str | None = None,
    api_base: str | None = None,
    api_version: str | None = None,
) -> dict[str, Any]:
    """`{"keys_in_environment": bool, "missing_keys": [names]}`: whether a call to the model has a key and an address.

    Variables that have a default are never missing. A model of no known provider misses nothing.
    """
    try:
        row, _ = provider_of(model or "", None, default_book().owner)
    except BadRequestError:
        return {"keys_in_environment": True, "missing_keys": []}
    missing = [*([] if api_base else _address(row, os.environ)), *([] if api_key else _key(row, os.environ))]
    return {"keys_in_environment": not missing, "missing_keys": missing}


def get_valid_models(
    check_provider_endpoint: bool | None = None,
    custom_llm_provider: str | None = None,
    api_key: str | None = None,
    api_base: str | None = None,
    **_: Any,
) -> list[str]:
    """Models that calls from this environment can reach: those the price table knows of providers whose key is set.

    With `check_provider_endpoint` each of these providers is asked instead, over the network. `custom_llm_provider`
    narrows it to one, whose `api_key` and `api_base` may be given. Raises `BadRequestError` for an unknown provider;
    asking raises the errors of a call.
    """
    if custom_llm_provider is not None:
        rows = [provider_of("", custom_llm_provider, default_book().owner)[0]]
    else:
        rows = [row for row in PROVIDERS if any(os.environ.get(name) for name in row.key_env)]
    if check_provider_endpoint:
        return [name for row in rows for name in _asked(row, api_key, api_base)]
    return [name for row in rows if api_key or not _key(row, os.environ) for name in _listed(row)]


def check_valid_key(model: str, api_key: str) -> bool:
    """Whether the provider takes the key, found out by one tiny call: it costs what it costs, and is accounted for.

    Errors that say nothing about the key (no network, no such model) are raised.
    """
    from callmeter.client.api import completion

    try:
        messages = [{"role": "user", "content": "Hey, how's it going?"}]
        completion(model, messages, api_key=api_key, max_tokens=10, num_retries=0)
    except (AuthenticationError, PermissionDeniedError):
        return False
    return True


def _key(row: Provider, environ: Mapping[str, str]) -> list[str]:
    """Names to set for want of a key."""
    if any(environ.get(name) for name in row.key_env):
        return []
    instead = FETCHED.get(row.signer, ())
    if any(all(environ.get(name) for name in names) for names in instead):
        return []
    if row.signer == "aws":
        return [name for name in instead[0] if not environ.get(name)]
    return [row.key_env[0]] if row.needs_key or (row.signer == "azure" and row.key_env) else []


def _address(row: Provider, environ: Mapping[str, str]) -> list[str]:
    """Names to set for want of an address, or of a part of it."""
    if any(environ.get(name) for name in row.base_env):
        return []
    if not row.base_url:
        return list(row.base_env[:1])
    missing: list[str] = []
    for _, name, _, _ in string.Formatter().parse(row.base_url):
        variable = row.variables.get(name or "")
        if variable is None or variable.default or any(environ.get(env) for env in variable.env):
            continue
        # Who lacks the host itself sets the whole address.
        whole = row.base_env and f"{{{name}}}" in urlsplit(row.base_url).netloc
        missing += row.base_env[:1] if whole else variable.env[:1]
    return list(dict.fromkeys(missing))


def _listed(row: Provider) -> list[str]:
    """The provider's models in the price table, by names a call takes."""
    book = default_book()
    names = [model.id for model in book.models(row.name)]
    return [name if book.owner(name) == row.name else f"{row.name}/{name}" for name in names]


def _asked(row: Provider, api_key: str | None, api_base: str | None) -> list[str]:
    """The provider's models as it lists them itself."""
    from callmeter.runtime import default_runtime

    where = deployment(row, "", api_base=api_base, api_key=api_key)
    url, headers = _listing(where)
    request = WireRequest(method="GET", url=url, headers={**where.headers, **headers}, timeouts=LISTING_TIMEOUTS)
    reply = default_runtime().transport.send(request)
    if not 200 <= reply.status < 300:
        from callmeter.client.codecs import load

        raise load(row.codec).failure(reply.status, reply.headers, reply.body, where)
    try:
        found = msgspec.json.decode(reply.body)
        models = found.get("data") or found.get("models") or ()
        return [f"{row.name}/{model.get('id') or model['name']}" for model in models]
    except (msgspec.DecodeError, AttributeError, KeyError, TypeError) as error:
        raise APIError(f"{url} did not answer with a list of models: {error!r}", llm_provider=row.name) from None


def _listing(where: Deployment) -> tuple[str, dict[str, str]]:
    from callmeter.client.codecs.anthropic_request import VERSION
    from callmeter.client.codecs.headers import bearer
    from callmeter.client.codecs.openai_chat import authorization

    base = where.api_base.rstrip("/")
    match where.codec:
        case "openai_chat":
            return f"{base}/models", authorization(where)
        case "anthropic":
            return f"{base}/v1/models?limit=1000", {
                "x-api-key": where.api_key.reveal() if where.api_key else "",
                "anthropic-version": VERSION,
            }
        case "ollama":
            return f"{base}/api/tags", bearer(where)
    raise BadRequestError(
        f"{BY_NAME[where.provider].display or where.provider} cannot be asked for its models here; "
        "leave check_provider_endpoint out to see those of the price table",
        llm_provider=where.provider,
    )
