"""Entra ID tokens: given, from a function, or fetched by azure-identity from a token endpoint over real sockets."""

import asyncio
import json
import ssl
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs

import pytest
import trustme

import callmeter
from callmeter.client.credentials import azure, signer_for
from callmeter.client.providers import BY_NAME
from callmeter.errors import APIConnectionError, AuthenticationError, MissingExtraError
from callmeter.testing import FakeProvider, capture_events
from callmeter.testing.scripts import Heard, Script
from callmeter.wire import WireRequest

M = [{"role": "user", "content": "Hi"}]
REQUEST = WireRequest(url="https://r.openai.azure.com/x")
SCOPE = "https://cognitiveservices.azure.com/.default"


@pytest.fixture(autouse=True)
def nobody(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in BY_NAME["azure"].environment:
        monkeypatch.delenv(name, raising=False)


@pytest.fixture
def provider() -> Iterator[FakeProvider]:
    with FakeProvider() as server, capture_events():
        yield server


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Iterator[FakeProvider]:
    """A token endpoint with TLS, as Entra's library insists on; what it answers, tests say."""
    ca, context = trustme.CA(), ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    ca.issue_cert("localhost", "127.0.0.1").configure_cert(context)
    bundle = tmp_path_factory.mktemp("ca") / "ca.pem"
    ca.cert_pem.write_to_path(str(bundle))
    with FakeProvider(tls=context) as server:
        server.bundle = bundle  # type: ignore[attr-defined]
        yield server


@pytest.fixture
def entra(authority: FakeProvider, monkeypatch: pytest.MonkeyPatch) -> dict[str, str]:
    """Arguments with which a client's secret is exchanged at the test's authority."""
    bundle: Path = authority.bundle  # type: ignore[attr-defined]
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(bundle))
    monkeypatch.setenv("NO_PROXY", "*")
    authority.reset()
    authority.script(_token_endpoint, times=None)
    return {
        "tenant_id": "11111111-2222-3333-4444-555555555555",
        "client_id": "the-client",
        "client_secret": f"s3cret-{threading.get_ident()}",
        "azure_authority_host": f"https://localhost:{authority.port}",
    }


def _token_endpoint(heard: Heard, script: Script) -> Script:
    from msgspec.structs import replace

    from callmeter.testing.scripts import Answer

    base = "https://" + heard.headers["host"]
    if "openid-configuration" in heard.path:
        tenant = heard.path.split("/")[1]
        shown: Any = {
            "authorization_endpoint": f"{base}/{tenant}/oauth2/v2.0/authorize",
            "token_endpoint": f"{base}/{tenant}/oauth2/v2.0/token",
            "issuer": f"{base}/{tenant}/v2.0",
        }
        status = 200
    else:
        form = parse_qs(heard.body.decode())
        refused = form["client_secret"] == ["wrong"]
        shown = {"error": "invalid_client", "error_description": "AADSTS7000215: Invalid client secret provided."}
        if not refused:
            shown = {"token_type": "Bearer", "expires_in": 3599, "ext_expires_in": 3599, "access_token": "entra-token"}
        status = 401 if refused else 200
    return replace(script, answer=Answer(wire="entra", status=status, pieces=(json.dumps(shown).encode(),)))


def posts(authority: FakeProvider) -> list[Heard]:
    return [heard for heard in authority.requests if heard.method == "POST"]


def test_a_clients_secret_is_exchanged_once_and_the_token_is_sent(
    entra: dict[str, str], authority: FakeProvider, provider: FakeProvider
) -> None:
    for _ in range(3):
        answer = callmeter.completion("azure/dep", M, api_base=provider.url, **entra)
        assert answer.choices[0].message.content
    (asked,) = posts(authority)
    form = parse_qs(asked.body.decode())
    assert asked.path == f"/{entra['tenant_id']}/oauth2/v2.0/token"
    assert form["grant_type"] == ["client_credentials"]
    assert form["client_id"] == ["the-client"]
    assert form["scope"] == [SCOPE]
    for heard in provider.requests:
        assert heard.headers["authorization"] == "Bearer entra-token"
        assert "api-key" not in heard.headers
        assert entra["client_secret"] not in str(heard)


def test_threads_that_want_a_token_wait_for_one_fetch(entra: dict[str, str], authority: FakeProvider) -> None:
    signer, signed, barrier = made(entra), list[WireRequest](), threading.Barrier(8)

    def sign() -> None:
        barrier.wait()
        signed.append(signer.sign(REQUEST))

    threads = [threading.Thread(target=sign) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [request.headers["authorization"] for request in signed] == ["Bearer entra-token"] * 8
    assert len(posts(authority)) == 1


def test_an_awaited_call_fetches_off_the_loop(
    entra: dict[str, str], provider: FakeProvider, authority: FakeProvider
) -> None:
    entra["client_secret"] += "-async"

    async def main() -> Any:
        return await callmeter.acompletion("azure/dep", M, api_base=provider.url, **entra)

    assert asyncio.run(main()).choices[0].message.content
    assert len(posts(authority)) == 1


def test_a_token_is_fetched_anew_before_it_ends() -> None:
    now, fetched = [1000.0], list[str]()

    class Credential:
        def get_token(self, scope: str) -> Any:
            fetched.append(scope)
            return type("Token", (), {"token": f"t{len(fetched)}", "expires_on": int(now[0]) + 3600})()

    signer = azure.Entra(Credential(), SCOPE, "nowhere", now_s=lambda: now[0])
    assert not signer.ready()
    assert signer.sign(REQUEST).headers["authorization"] == "Bearer t1"
    now[0] += 3600 - azure.EXPIRY_MARGIN_S - 1
    assert signer.ready()
    assert signer.sign(REQUEST).headers["authorization"] == "Bearer t1"
    now[0] += 1
    assert not signer.ready()
    assert signer.sign(REQUEST).headers["authorization"] == "Bearer t2"
    assert fetched == [SCOPE, SCOPE]


def test_a_refused_secret_says_whose_it_is_and_why(entra: dict[str, str]) -> None:
    entra["client_secret"] = "wrong"
    with pytest.raises(AuthenticationError, match=r"client the-client of tenant 1111.*AADSTS7000215") as caught:
        made(entra).sign(REQUEST)
    assert "wrong" not in str(caught.value)


def test_an_authority_that_is_down_is_a_lost_connection(entra: dict[str, str]) -> None:
    entra["azure_authority_host"] = "https://localhost:9"
    with pytest.raises(APIConnectionError, match="Entra ID cannot be reached"):
        made(entra).sign(REQUEST)


def test_where_nothing_is_known_the_error_says_where_it_looked() -> None:
    class Nothing:
        def get_token(self, scope: str) -> Any:
            from azure.identity import CredentialUnavailableError

            raise CredentialUnavailableError("DefaultAzureCredential failed to retrieve a token")

    signer = azure.Entra(Nothing(), SCOPE, azure._looked({}))
    with pytest.raises(AuthenticationError, match=r"no api_key, AZURE_API_KEY.*AZURE_CLIENT_SECRET.*managed identity"):
        signer.sign(REQUEST)


def test_without_the_library_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "azure.identity", None)
    with pytest.raises(MissingExtraError, match=r"callmeter\[azure\]"):
        azure.signer({"scope": SCOPE, "tenant_id": "another"})


def test_a_given_token_is_sent_as_it_is_and_wins_over_a_key_in_the_environment(
    provider: FakeProvider, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AZURE_API_KEY", "from-the-environment")
    callmeter.completion("azure/dep", M, api_base=provider.url, azure_ad_token="given")
    callmeter.completion("azure/dep", M, api_base=provider.url, azure_ad_token="given", api_key="and-a-key")
    callmeter.completion("azure/dep", M, api_base=provider.url)
    token, key, environ = provider.requests
    assert (token.headers["authorization"], token.headers.get("api-key")) == ("Bearer given", None)
    assert (key.headers.get("authorization"), key.headers["api-key"]) == (None, "and-a-key")
    assert (environ.headers.get("authorization"), environ.headers["api-key"]) == (None, "from-the-environment")


def test_a_token_in_the_environment_is_used_where_there_is_no_key(
    provider: FakeProvider, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AZURE_AD_TOKEN", "ambient")
    callmeter.completion("azure/dep", M, api_base=provider.url)
    assert provider.requests[0].headers["authorization"] == "Bearer ambient"


def test_a_function_is_asked_for_every_request_and_its_failure_is_the_calls(provider: FakeProvider) -> None:
    tokens = iter(["one", "two"])

    def token() -> str:
        return next(tokens)

    where = {"api_base": provider.url, "azure_ad_token_provider": token}
    callmeter.completion("azure/dep", M, **where)
    list(callmeter.completion("azure/dep", M, stream=True, **where))
    assert [heard.headers["authorization"] for heard in provider.requests] == ["Bearer one", "Bearer two"]
    with pytest.raises(AuthenticationError, match="azure_ad_token_provider failed"):
        callmeter.completion("azure/dep", M, **where)
    with pytest.raises(AuthenticationError, match="gave a NoneType"):
        azure.Provided(lambda: None).sign(REQUEST)  # type: ignore[arg-type,return-value]


def made(arguments: dict[str, str]) -> Any:
    """The signer that a call with these arguments would get."""
    variables = {"authority": arguments["azure_authority_host"], "scope": SCOPE, **arguments}
    return signer_for("azure", {name: value for name, value in variables.items() if name != "azure_authority_host"})
