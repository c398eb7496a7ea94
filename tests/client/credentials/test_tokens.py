"""Tokens that a key is exchanged for: asked for once, renewed in time, and refused in words that help."""

import asyncio
import base64
import json
import os
import threading
from collections.abc import Callable, Mapping
from typing import Any
from urllib.parse import parse_qs

import pytest

import callmeter
from callmeter.client.credentials import databricks, gigachat, ibm, sap, signer_for
from callmeter.client.credentials.tokens import Exchanged, Grant, Token, form, oauth
from callmeter.client.environment import validate_environment
from callmeter.client.providers import BY_NAME
from callmeter.client.resolve import deployment
from callmeter.errors import APIConnectionError, AuthenticationError
from callmeter.testing import FakeProvider
from callmeter.wire import WireReply, WireRequest

M: Any = [{"role": "user", "content": "Hi"}]
ASKED = WireRequest(url="https://model.test/chat")

CHAT = json.dumps(
    {
        "id": "c1",
        "created": 1,
        "model": "m",
        "choices": [{"index": 0, "message": {"role": "assistant", "content": "Hello"}, "finish_reason": "stop"}],
        "usage": {"prompt_tokens": 1, "completion_tokens": 1, "total_tokens": 2},
    }
).encode()


class Service:
    """A token service with a clock: numbers its tokens, or answers as it is told."""

    def __init__(self, *, lasts_s: float = 3600.0) -> None:
        self.now_s, self.lasts_s = 1_000_000.0, lasts_s
        self.asked: list[WireRequest] = []
        self.reply: WireReply | Exception | None = None
        self.pause: Callable[[], None] = lambda: None

    def send(self, request: WireRequest) -> WireReply:
        self.asked.append(request)
        self.pause()
        if isinstance(self.reply, Exception):
            raise self.reply
        if self.reply is not None:
            return self.reply
        body = {"access_token": f"t{len(self.asked)}", "expires_in": self.lasts_s}
        return WireReply(status=200, body=json.dumps(body).encode())

    def signer(self) -> Exchanged:
        grant = Grant("acme", "Acme's sign-in", lambda: form("https://acme.test/token", {"a": "b"}), oauth)
        return Exchanged(grant, now_s=lambda: self.now_s, send=self.send)


def token_of(signer: Exchanged) -> str:
    return signer.sign(ASKED).headers["authorization"]


def test_one_token_serves_until_shortly_before_its_end() -> None:
    service = Service(lasts_s=3600)
    signer = service.signer()
    assert not signer.ready()
    assert [token_of(signer) for _ in range(3)] == ["Bearer t1"] * 3
    assert signer.ready()
    service.now_s += 3299
    assert token_of(signer) == "Bearer t1"
    service.now_s += 2
    assert not signer.ready()
    assert token_of(signer) == "Bearer t2"


def test_a_short_token_is_renewed_in_its_last_fifth() -> None:
    service = Service(lasts_s=60)
    signer = service.signer()
    token_of(signer)
    service.now_s += 47
    assert signer.ready()
    service.now_s += 2
    assert not signer.ready()


def test_many_threads_wait_for_one_fetch() -> None:
    service = Service()
    inside, go = threading.Event(), threading.Event()

    def pause() -> None:
        inside.set()
        go.wait(5)

    service.pause = pause
    signer = service.signer()
    seen: list[str] = []
    threads = [threading.Thread(target=lambda: seen.append(token_of(signer))) for _ in range(8)]
    for thread in threads:
        thread.start()
    inside.wait(5)
    go.set()
    for thread in threads:
        thread.join()
    assert seen == ["Bearer t1"] * 8
    assert len(service.asked) == 1


def test_an_unreachable_service_is_no_matter_while_the_token_lasts() -> None:
    service = Service(lasts_s=3600)
    signer = service.signer()
    token_of(signer)
    service.now_s += 3400
    service.reply = APIConnectionError("no route")
    assert token_of(signer) == "Bearer t1"
    service.now_s += 300
    with pytest.raises(APIConnectionError, match="no route"):
        token_of(signer)


@pytest.mark.parametrize(
    ("status", "body", "kind", "words"),
    [
        (400, b'{"errorCode":"BXNIM0415E","errorMessage":"Provided API key could not be found."}', AuthenticationError,
         r"Acme's sign-in gave no token \(HTTP 400\): Provided API key could not be found"),
        (401, b'{"error":"invalid_client","error_description":"Client authentication failed"}', AuthenticationError,
         "Client authentication failed"),
        (403, b"<html><body>Forbidden</body></html>", AuthenticationError, "HTTP 403 Forbidden: Forbidden"),
        (429, b"slow down", APIConnectionError, "HTTP 429"),
        (503, b"", APIConnectionError, "HTTP 503"),
        (200, b"<html>", AuthenticationError, "answered without a token"),
        (200, b'{"expires_in":5}', AuthenticationError, "answered without a token"),
        (200, b'[]', AuthenticationError, "answered without a token"),
        (200, b'{"access_token":"","expires_in":5}', AuthenticationError, "an empty token"),
    ],
)  # fmt: skip
def test_a_service_that_gives_no_token_says_why(status: int, body: bytes, kind: type[Exception], words: str) -> None:
    service = Service()
    service.reply = WireReply(status=status, body=body, headers={"retry-after": "7"} if status == 429 else {})
    with pytest.raises(kind, match=words) as raised:
        token_of(service.signer())
    if isinstance(raised.value, APIConnectionError):
        assert raised.value.sent is False
        assert raised.value.retry_after_s == (7.0 if status == 429 else None)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="there is no fork here")
def test_a_child_forked_while_a_token_is_fetched_fetches_its_own() -> None:
    service = Service()
    inside, go = threading.Event(), threading.Event()

    def pause() -> None:
        if threading.current_thread() is not threading.main_thread():
            inside.set()
            go.wait(5)

    service.pause = pause
    signer = service.signer()
    thread = threading.Thread(target=token_of, args=(signer,))
    thread.start()
    inside.wait(5)
    child = os.fork()
    if child == 0:
        os._exit(0 if token_of(signer).startswith("Bearer t") else 1)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    go.set()
    thread.join()


def test_nothing_shows_a_key_or_a_token() -> None:
    service = Service()
    signer = service.signer()
    token_of(signer)
    assert "t1" not in repr(signer)
    assert "secret-key" not in repr(signer_for("ibm", {"token": "secret-key"}))


# --- what each service is asked, and what it answers


def test_ibm_is_asked_with_the_key_and_ready_tokens_are_not_asked_for() -> None:
    asked = ibm.grant("k-1", "https://iam.test/identity/token").request()
    assert asked.url == "https://iam.test/identity/token"
    assert parse_qs(asked.body.decode()) == {
        "grant_type": ["urn:ibm:params:oauth:grant-type:apikey"],
        "apikey": ["k-1"],
    }
    assert ibm.signer({"token": "t"}).sign(ASKED).headers["authorization"] == "Bearer t"
    assert ibm.signer({"zen_api_key": "z"}).sign(ASKED).headers["authorization"] == "ZenApiKey z"


def test_a_workspace_is_asked_for_a_service_principals_token() -> None:
    asked = databricks.grant({"host": "https://w.test", "client_id": "i", "client_secret": "s"}).request()
    assert asked.url == "https://w.test/oidc/v1/token"
    assert asked.headers["authorization"] == "Basic " + base64.b64encode(b"i:s").decode()
    assert parse_qs(asked.body.decode()) == {"grant_type": ["client_credentials"], "scope": ["all-apis"]}
    with pytest.raises(AuthenticationError, match="client_secret missing"):
        databricks.grant({"host": "https://w.test", "client_id": "i"}).request()


def test_gigachat_is_asked_with_a_new_id_each_time_and_tells_the_end_in_milliseconds() -> None:
    grant = gigachat.grant("aWQ6c2VjcmV0", "GIGACHAT_API_CORP", "https://ngw.test/oauth")
    first, second = grant.request(), grant.request()
    assert first.headers["authorization"] == "Basic aWQ6c2VjcmV0"
    assert first.headers["rquid"] != second.headers["rquid"]
    assert parse_qs(first.body.decode()) == {"scope": ["GIGACHAT_API_CORP"]}
    assert grant.read({"access_token": "t", "expires_at": 1706026848841}, 0.0) == Token("t", 1706026848.841)
    assert grant.read({"tok": "t", "exp": 1706026848}, 0.0) == Token("t", 1706026848.0)


SERVICE_KEY = {"clientid": "i", "clientsecret": "s", "url": "https://sub.authentication.test", "serviceurls": {}}


@pytest.mark.parametrize(
    "variables",
    [
        {"key": json.dumps(SERVICE_KEY)},
        {"key": json.dumps({"credentials": SERVICE_KEY})},
        {"client_id": "i", "client_secret": "s", "auth_url": "https://sub.authentication.test/"},
        {"client_id": "i", "client_secret": "s", "auth_url": "https://sub.authentication.test/oauth/token"},
    ],
)
def test_sap_is_asked_with_a_service_key_or_its_parts(variables: Mapping[str, Any]) -> None:
    asked = sap.grant(variables).request()
    assert asked.url == "https://sub.authentication.test/oauth/token"
    assert asked.headers["authorization"] == "Basic " + base64.b64encode(b"i:s").decode()


@pytest.mark.parametrize(
    ("variables", "words"),
    [({"key": "not json"}, "not the JSON of a service key"), ({"client_id": "i"}, "client_secret, auth_url missing")],
)
def test_sap_says_what_its_credentials_lack(variables: Mapping[str, Any], words: str) -> None:
    with pytest.raises(AuthenticationError, match=words):
        sap.grant(variables).request()


# --- in a call


TOKENS = {
    "watsonx": ("iam_url", "/identity/token", {"access_token": "tok", "expires_in": 3600}, {"project_id": "p"}),
    "gigachat": ("gigachat_auth_url", "/oauth", {"access_token": "tok", "expires_at": 4e12}, {}),
}


def test_the_key_goes_to_the_token_service_and_the_token_to_the_model(
    provider: FakeProvider, events: list[Any]
) -> None:
    for name, (where, path, token, more) in TOKENS.items():
        provider.reset()
        provider.answer(body=json.dumps(token).encode())
        provider.answer(body=CHAT, times=2)
        for _ in range(2):
            callmeter.completion(
                f"{name}/m", M, api_key=f"key-{name}", api_base=provider.url, **{where: provider.url + path}, **more
            )
        exchange, *calls = provider.requests
        assert exchange.path == path
        assert [call.headers["authorization"] for call in calls] == ["Bearer tok"] * 2
        assert not any(f"key-{name}" in str(call) for call in calls)
        assert f"key-{name}" not in repr(events)


def test_awaited_calls_fetch_their_token_too(provider: FakeProvider, events: list[Any]) -> None:
    provider.answer(body=b'{"access_token":"tok","expires_in":3600}')
    provider.answer(body=CHAT)
    answer = asyncio.run(
        callmeter.acompletion(
            "watsonx/m",
            M,
            api_key="another-key",
            api_base=provider.url,
            iam_url=f"{provider.url}/identity/token",
            space_id="s",
        )
    )
    assert answer.choices[0].message.content == "Hello"


def test_a_key_that_iam_does_not_know_fails_the_call_before_it_is_sent(
    provider: FakeProvider, events: list[Any]
) -> None:
    provider.answer(400, body=b'{"errorCode":"BXNIM0415E","errorMessage":"Provided API key could not be found."}')
    with pytest.raises(AuthenticationError, match="Provided API key could not be found"):
        callmeter.completion(
            "watsonx/m", M, api_key="wrong", api_base=provider.url, iam_url=f"{provider.url}/t", project_id="p"
        )
    assert len(provider.requests) == 1


@pytest.fixture
def bare(monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    for name in [name for row in BY_NAME.values() for name in row.environment]:
        monkeypatch.delenv(name, raising=False)
    return monkeypatch


def test_a_key_that_is_exchanged_is_kept_out_of_the_deployment() -> None:
    where = deployment(BY_NAME["watsonx"], "m", api_key="k-1", given={"project_id": "p"}, environ={})
    assert where.api_key is None
    assert where.signer is not None
    assert where.variables["project_id"] == "p"
    assert "token" not in where.variables
    again = deployment(BY_NAME["watsonx"], "m", api_key="k-1", given={"project_id": "p"}, environ={})
    assert again.signer is where.signer
    other = deployment(BY_NAME["watsonx"], "m", api_key="k-2", given={"project_id": "p"}, environ={})
    assert other.signer is not where.signer


def test_without_a_key_or_a_token_the_call_says_what_to_set() -> None:
    with pytest.raises(AuthenticationError, match="WATSONX_APIKEY or WATSONX_API_KEY"):
        deployment(BY_NAME["watsonx"], "m", environ={})
    ready = deployment(BY_NAME["watsonx"], "m", environ={"WATSONX_TOKEN": "t"})
    assert ready.signer is not None


def test_the_environments_key_is_not_exchanged_for_somebody_elses_address() -> None:
    with pytest.raises(AuthenticationError, match="no key for gigachat"):
        deployment(
            BY_NAME["gigachat"],
            "m",
            api_base="https://evil.example/v1",
            bind_keys=True,
            environ={"GIGACHAT_CREDENTIALS": "k", "GIGACHAT_ACCESS_TOKEN": "t"},
        )


@pytest.mark.parametrize("host", ["adb-1.azuredatabricks.net", "https://adb-1.azuredatabricks.net/"])
def test_a_workspace_is_named_with_or_without_its_scheme(host: str) -> None:
    where = deployment(BY_NAME["databricks"], "m", environ={"DATABRICKS_HOST": host, "DATABRICKS_TOKEN": "t"})
    assert where.api_base == "https://adb-1.azuredatabricks.net/serving-endpoints"
    assert where.signer is None


def test_validate_environment_takes_a_token_for_a_key(bare: pytest.MonkeyPatch) -> None:
    assert validate_environment("watsonx/m")["missing_keys"] == ["WATSONX_APIKEY"]
    bare.setenv("WATSONX_TOKEN", "t")
    assert validate_environment("watsonx/m")["keys_in_environment"]
