"""Keys for Amazon Web Services, and requests signed with them.

Keys that are given, in the environment or in a profile are read here; where they must be fetched (a role, single
sign-on, a container, an instance, a process), `botocore` does that.
Source: https://docs.aws.amazon.com/sdkref/latest/guide/standardized-credentials.html
"""

import os
import threading
import time
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from functools import lru_cache, partial
from typing import Any, Protocol

from callmeter.client.credentials import sigv4
from callmeter.client.credentials.aws_profiles import DEFAULT, Profiles, keys_of, profiles
from callmeter.client.credentials.sigv4 import Keys
from callmeter.errors import APIConnectionError, AuthenticationError, MissingExtraError
from callmeter.types import Secret
from callmeter.wire import WireRequest

FILE_LIFE_S = 60.0
"""Keys in a file are read again after this long: tools that rotate them write them there."""

SOURCES = (
    *("access_key_id", "secret_access_key", "session_token", "profile", "role", "session_name", "external_id"),
    *("web_identity_token", "sts_endpoint", "env_access_key_id", "env_secret_access_key", "env_session_token"),
    *("env_profile", "env_web_identity", "credentials_file", "config_file", "region"),
)
"""Variables that have a say in whose keys are used; `env_…` are those of the environment, which arguments outrank."""

LOOKED = (
    "Looked in aws_access_key_id=…, aws_profile_name=…, aws_role_name=…, AWS_ACCESS_KEY_ID, AWS_PROFILE, the default "
    "profile, and for a web identity, single sign-on, a container's role and an instance's role. Set one of them, or "
    "pass a Bedrock API key as api_key=… or in AWS_BEARER_TOKEN_BEDROCK"
)


class Source(Protocol):
    """Where keys come from."""

    def ready(self) -> bool:
        """Whether there are some at hand."""
        ...

    def keys(self) -> Keys:
        """The keys of this moment. Raises as `Signer.sign` does."""
        ...


def signer(variables: Mapping[str, str]) -> "AwsSigner":
    """The signer for a provider's variables. Those with the same origin of keys share them, and their renewal."""
    origin = tuple((name, variables[name]) for name in SOURCES if variables.get(name))
    return AwsSigner(_shared(origin), variables["region"], variables["service"])


class AwsSigner:
    """Signs requests by Signature Version 4, anew for every attempt."""

    def __init__(
        self, source: Source, region: str, service: str, now: Callable[[], datetime] = partial(datetime.now, UTC)
    ) -> None:
        self._source = source
        self._region = region
        self._service = service
        self._now = now

    def ready(self) -> bool:
        """Whether there are keys at hand."""
        return self._source.ready()

    def sign(self, request: WireRequest) -> WireRequest:
        """The request with its signature; one that the caller gave an `authorization` of its own is left alone.

        Raises `AuthenticationError` saying where it looked, `APIConnectionError` where the service that hands out keys
        cannot be reached, and `MissingExtraError` where botocore is needed for that and not installed.
        """
        if "authorization" in request.headers:
            return request
        return sigv4.signed(request, self._source.keys(), region=self._region, service=self._service, at=self._now())


@lru_cache(256)
def _shared(origin: tuple[tuple[str, str], ...]) -> Source:
    """The source of keys that arguments and environment lead to, best first."""
    told = dict(origin)
    if told.get("role") or told.get("web_identity_token"):
        return Fetched(partial(_assumed, told))
    if (given := _pair(told, "", "aws_access_key_id and aws_secret_access_key")) is not None:
        return Given(given)
    if told.get("profile"):
        return InProfile(told, told["profile"])
    if (ambient := _pair(told, "env_", "AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY")) is not None:
        return Given(ambient)
    if told.get("env_web_identity"):
        return Fetched(partial(_session_s, told.get("env_profile", "")))
    return InProfile(told, told.get("env_profile", ""))


def _pair(told: Mapping[str, str], prefix: str, names: str) -> Keys | None:
    key_id, secret, token = (
        told.get(f"{prefix}{name}") for name in ("access_key_id", "secret_access_key", "session_token")
    )
    if bool(key_id) is not bool(secret):
        raise AuthenticationError(f"{names} belong together, and only one of them is set")
    return Keys(key_id, Secret(secret), Secret(token) if token else None) if key_id and secret else None


class Given:
    """Keys that are known."""

    def __init__(self, keys: Keys) -> None:
        self._keys = keys

    def ready(self) -> bool:
        """Always."""
        return True

    def keys(self) -> Keys:
        """The keys."""
        return self._keys


class InProfile:
    """Keys that stand in a profile, read again from time to time; else whatever the profile says to fetch."""

    def __init__(self, told: Mapping[str, str], profile: str, now_s: Callable[[], float] = time.monotonic) -> None:
        self._told = told
        self._profile = profile
        self._now_s = now_s
        self._until_s = float("-inf")
        self._found: Keys | None = None
        self._fetched: Fetched | None = None

    def ready(self) -> bool:
        """Whether they were read, or fetched, lately."""
        if self._fetched is not None:
            return self._fetched.ready()
        return self._now_s() < self._until_s

    def keys(self) -> Keys:
        """The keys. Raises `AuthenticationError` naming the profiles there are, where this one is not among them."""
        if self._fetched is None and self._now_s() >= self._until_s:
            self._read()
        if self._fetched is not None:
            return self._fetched.keys()
        assert self._found is not None
        return self._found

    def _read(self) -> None:
        there = profiles(self._told.get("credentials_file", ""), self._told.get("config_file", ""))
        if self._profile and self._profile not in there:
            raise AuthenticationError(_unknown(self._profile, there))
        self._found = keys_of(there.get(self._profile or DEFAULT, {}))
        if self._found is None:
            self._fetched = Fetched(partial(_session_s, self._profile))
        self._until_s = self._now_s() + FILE_LIFE_S


def _unknown(profile: str, there: Profiles) -> str:
    known = f"it has {', '.join(sorted(there))}" if there else "it has none"
    return f"there is no profile {profile!r} in the AWS configuration: {known}"


class Fetched:
    """Keys that botocore fetches, and renews some minutes before they end. Safe on many threads."""

    def __init__(self, find: Callable[[], Any]) -> None:
        self._find = find
        self._credentials: Any = None
        self._lock = threading.Lock()
        self._pid = os.getpid()

    def ready(self) -> bool:
        """Whether there are keys that last."""
        found = self._credentials
        if found is None or self._pid != os.getpid():
            return False
        return not (hasattr(found, "refresh_needed") and found.refresh_needed())

    def keys(self) -> Keys:
        """The keys. Raises as `AwsSigner.sign` does."""
        core = _botocore()
        try:
            if self._credentials is None or self._pid != os.getpid():
                self._begin()
            frozen = self._credentials.get_frozen_credentials()
        except core.ClientError as error:
            raise AuthenticationError(f"AWS hands out no keys: {error!s:.1000}") from error
        except (core.ConnectionError, core.HTTPClientError, core.MetadataRetrievalError) as error:
            failed = APIConnectionError(f"the service that hands out AWS keys cannot be reached: {error!s:.1000}")
            failed.sent = False
            raise failed from error
        except core.BotoCoreError as error:
            raise AuthenticationError(f"AWS keys cannot be had: {error!s:.1000}. {LOOKED}") from error
        token = Secret(frozen.token) if frozen.token else None
        return Keys(frozen.access_key, Secret(frozen.secret_key), token)

    def _begin(self) -> None:
        """Find the credentials, once a process: a forked child's are not those whose locks its parent may hold."""
        if self._pid != os.getpid():
            self._lock, self._pid, self._credentials = threading.Lock(), os.getpid(), None
        with self._lock:
            if self._credentials is None:
                found = self._find()
                if found is None:
                    raise AuthenticationError(f"no AWS keys were found. {LOOKED}")
                self._credentials = found


def _botocore() -> Any:
    try:
        from botocore import exceptions
    except ImportError:
        raise MissingExtraError(
            "AWS keys that are not given, in the environment or in a profile are fetched by botocore: "
            "pip install 'callmeter[aws]', or set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or a Bedrock API key in "
            "AWS_BEARER_TOKEN_BEDROCK"
        ) from None
    return exceptions


def _session(profile: str = "") -> Any:
    from botocore.session import Session

    return Session(profile=profile or None)


def _session_s(profile: str) -> Any:
    """What the whole chain of AWS's own tools finds, under a profile or without one."""
    return _session(profile).get_credentials()


def _assumed(told: Mapping[str, str]) -> Any:
    """Credentials of a role, by a web identity's token or by the keys that would be used without the role."""
    from botocore import credentials

    _botocore()
    session = _session(told.get("profile", ""))
    client = partial(session.create_client, region_name=told["region"], endpoint_url=told.get("sts_endpoint"))
    named = {"RoleSessionName": told.get("session_name", "callmeter")}
    if "external_id" in told:
        named["ExternalId"] = told["external_id"]
    if token := told.get("web_identity_token"):
        if "role" not in told:
            raise AuthenticationError("aws_web_identity_token needs the role to take: pass aws_role_name=… as well")
        fetcher: Any = credentials.AssumeRoleWithWebIdentityCredentialFetcher(
            client, partial(_token, token), told["role"], extra_args=named
        )
    else:
        if (given := _pair(told, "", "aws_access_key_id and aws_secret_access_key")) is not None:
            session.set_credentials(given.id, given.secret.reveal(), given.token.reveal() if given.token else None)
        own = session.get_credentials()
        if own is None:
            raise AuthenticationError(f"no AWS keys were found to take the role {told['role']} with. {LOOKED}")
        fetcher = credentials.AssumeRoleCredentialFetcher(client, own, told["role"], extra_args=named)
    return credentials.DeferredRefreshableCredentials(fetcher.fetch_credentials, "assume-role")


def _token(given: str) -> str:
    """A web identity's token: itself, or what the file of that name holds just now."""
    try:
        with open(os.path.expanduser(given), encoding="ascii") as file:
            return file.read().strip()
    except (OSError, ValueError):
        return given
