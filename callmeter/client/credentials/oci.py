"""Signatures of requests to Oracle Cloud, by an API signing key.

Source: https://docs.oracle.com/en-us/iaas/Content/API/Concepts/signingrequests.htm
"""

import base64
import configparser
import hashlib
import os
import time
from collections.abc import Callable, Mapping
from email.utils import formatdate
from typing import Any, NamedTuple
from urllib.parse import urlsplit

from msgspec.structs import replace

from callmeter.errors import AuthenticationError, MissingExtraError
from callmeter.wire import Signer, WireRequest

HEADERS = ("date", "(request-target)", "host")
BODY_HEADERS = ("content-length", "content-type", "x-content-sha256")
"""What is signed: these, and those of requests with a body."""

LOOKED = (
    "set OCI_GENAI_API_KEY or pass api_key=… (a Generative AI API key); or, to sign, set OCI_USER, OCI_TENANCY, "
    "OCI_FINGERPRINT and OCI_KEY_FILE (or OCI_KEY), or have them in ~/.oci/config"
)


class Identity(NamedTuple):
    """Who signs: the key's id in Oracle's form, and the private key."""

    key_id: str
    private_key: Any


def signer(variables: Mapping[str, Any]) -> Signer:
    """The signer for `user`, `tenancy`, `fingerprint` and `private_key` (PEM, or a path to it).

    What they lack is taken from the `profile` of the file at `config_file`.
    """
    return OracleSigner(variables)


class OracleSigner:
    """Signs each request; the key is read at the first. Safe on many threads."""

    def __init__(self, variables: Mapping[str, Any], *, now_s: Callable[[], float] = time.time) -> None:
        self._variables = variables
        self._now_s = now_s
        self._identity: Identity | None = None

    def __repr__(self) -> str:
        return "OracleSigner(****)"

    def ready(self) -> bool:
        """Whether the key is at hand: signing then takes a millisecond."""
        return self._identity is not None

    def sign(self, request: WireRequest) -> WireRequest:
        """The request with its signature. Raises `AuthenticationError` saying what is missing or cannot be read."""
        if self._identity is None:
            self._identity = identity(self._variables)
        return signed(request, self._identity, self._now_s())


def signed(request: WireRequest, who: Identity, now_s: float) -> WireRequest:
    """The request with the headers that its signature covers, and the signature."""
    from cryptography.hazmat.primitives import hashes
    from cryptography.hazmat.primitives.asymmetric import padding

    url = urlsplit(request.url)
    headers = {**request.headers, "date": formatdate(now_s, usegmt=True), "host": url.netloc}
    names: tuple[str, ...] = HEADERS
    if request.method in ("POST", "PUT", "PATCH"):
        names += BODY_HEADERS
        headers["content-length"] = str(len(request.body))
        headers["x-content-sha256"] = base64.b64encode(hashlib.sha256(request.body).digest()).decode()
    target = url.path + (f"?{url.query}" if url.query else "")
    values = {**headers, "(request-target)": f"{request.method.lower()} {target}"}
    text = "\n".join(f"{name}: {values[name]}" for name in names)
    signature = base64.b64encode(who.private_key.sign(text.encode(), padding.PKCS1v15(), hashes.SHA256())).decode()
    headers["authorization"] = (
        f'Signature version="1",keyId="{who.key_id}",algorithm="rsa-sha256",headers="{" ".join(names)}",'
        f'signature="{signature}"'
    )
    # The client writes these two itself, and the same.
    del headers["content-length"], headers["host"]
    return replace(request, headers=headers)


def identity(variables: Mapping[str, Any]) -> Identity:
    """Who signs, from the variables and the configuration file. Raises `AuthenticationError`."""
    known = {**_configured(variables), **{name: value for name, value in variables.items() if value}}
    key = known.get("private_key") or known.get("key_content") or known.get("key_file")
    token = known.get("security_token_file")
    parts = [known.get(name) for name in ("tenancy", "user", "fingerprint")]
    if not key or not (token or all(parts)):
        raise AuthenticationError(f"no credentials for oci: {LOOKED}", "oci")
    key_id = "ST$" + _read(token).strip() if token else "/".join(map(str, parts))
    return Identity(key_id, _private_key(str(key), known.get("pass_phrase")))


def _configured(variables: Mapping[str, Any]) -> dict[str, str]:
    """The profile of the configuration file; empty where there is no file."""
    path = os.path.expanduser(variables.get("config_file") or "~/.oci/config")
    profile = variables.get("profile") or "DEFAULT"
    file = configparser.ConfigParser(interpolation=None)
    try:
        file.read(path, "utf-8")
        return dict(file[profile]) if profile in file else {}
    except (configparser.Error, UnicodeError) as error:
        raise AuthenticationError(f"{path} cannot be read: {error}", "oci") from error


def _private_key(given: str, pass_phrase: Any) -> Any:
    try:
        from cryptography.hazmat.primitives.serialization import load_pem_private_key
    except ImportError:
        raise MissingExtraError(
            "Oracle Cloud without an API key needs cryptography: pip install 'callmeter[oci]'"
        ) from None
    pem = given.replace("\\n", "\n") if "-----BEGIN" in given else _read(given)
    try:
        return load_pem_private_key(pem.encode(), str(pass_phrase).encode() if pass_phrase else None)
    except (ValueError, TypeError) as error:
        raise AuthenticationError(f"oci's private key cannot be used: {error!s:.200}", "oci") from error


def _read(path: str) -> str:
    try:
        with open(os.path.expanduser(path), encoding="utf-8") as file:
            return file.read()
    except (OSError, UnicodeError) as error:
        raise AuthenticationError(f"oci's {path!r} cannot be read: {error}", "oci") from error
