"""Amazon's Signature Version 4 over a request: pure, from keys and an instant to headers.

Signed are the host, the content's type and Amazon's own headers. Others may be changed under way: a mesh rewrites
`traceparent`, a proxy `user-agent`.

Source: https://docs.aws.amazon.com/IAM/latest/UserGuide/create-signed-request.html
"""

import hmac
from collections.abc import Mapping
from datetime import datetime
from hashlib import sha256
from urllib.parse import quote, urlsplit

from msgspec import Struct
from msgspec.structs import replace

from callmeter.types import Secret
from callmeter.wire import WireRequest

ALGORITHM = "AWS4-HMAC-SHA256"

DEFAULT_PORTS = {"http": ":80", "https": ":443"}


class Keys(Struct, frozen=True):
    """What signs: a key's id, its secret, and the token of a session where the key is of one."""

    id: str
    secret: Secret
    token: Secret | None = None


def signed(request: WireRequest, keys: Keys, *, region: str, service: str, at: datetime) -> WireRequest:
    """The request with its signature, good for some minutes after `at` (aware). Its bytes must be sent as they are."""
    instant = at.strftime("%Y%m%dT%H%M%SZ")
    headers = {**request.headers, "x-amz-date": instant}
    if keys.token:
        headers["x-amz-security-token"] = keys.token.reveal()
    covered = _covered(request.url, headers)
    scope = f"{instant[:8]}/{region}/{service}/aws4_request"
    asked = sha256(_canonical(request, covered).encode()).hexdigest()
    signature = _signature(keys.secret, scope, f"{ALGORITHM}\n{instant}\n{scope}\n{asked}")
    headers["authorization"] = (
        f"{ALGORITHM} Credential={keys.id}/{scope}, SignedHeaders={';'.join(covered)}, Signature={signature}"
    )
    return replace(request, headers=headers)


def _covered(url: str, headers: Mapping[str, str]) -> dict[str, str]:
    """The headers that are signed, in the order they are signed in, their white space reduced."""
    named = {name.lower(): value for name, value in headers.items()}
    found = {name: value for name, value in named.items() if name == "content-type" or name.startswith("x-amz-")}
    found["host"] = _host(url)
    return {name: " ".join(found[name].split()) for name in sorted(found)}


def _host(url: str) -> str:
    """The Host header that goes with the URL: no user, and no port where it is the scheme's own."""
    parts = urlsplit(url)
    return parts.netloc.rpartition("@")[2].lower().removesuffix(DEFAULT_PORTS.get(parts.scheme, ""))


def _canonical(request: WireRequest, covered: Mapping[str, str]) -> str:
    parts = urlsplit(request.url)
    # Encoded once more than it is sent, as every service but S3 has it.
    path = quote(parts.path or "/", safe="/-_.~")
    query = "&".join(sorted(pair if "=" in pair else pair + "=" for pair in parts.query.split("&") if pair))
    lines = "".join(f"{name}:{value}\n" for name, value in covered.items())
    return f"{request.method}\n{path}\n{query}\n{lines}\n{';'.join(covered)}\n{sha256(request.body).hexdigest()}"


def _signature(secret: Secret, scope: str, text: str) -> str:
    key = b"AWS4" + secret.reveal().encode()
    for part in scope.split("/"):
        key = hmac.digest(key, part.encode(), "sha256")
    return hmac.digest(key, text.encode(), "sha256").hex()
