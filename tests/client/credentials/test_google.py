"""Google's credentials against token servers that listen: what they are asked, by whom, and how often."""

import base64
import json
import subprocess
import sys
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import padding, rsa

import callmeter
from callmeter.client.credentials import google, signer_for
from callmeter.errors import APIConnectionError, AuthenticationError, MissingExtraError
from callmeter.testing import FakeProvider, capture_events
from callmeter.wire import WireRequest

KEY = rsa.generate_private_key(public_exponent=65537, key_size=2048)
PEM = KEY.private_bytes(
    serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
).decode()
REQUEST = WireRequest(url="https://us-central1-aiplatform.googleapis.com/v1/x", headers={"content-type": "a/b"})
M = [{"role": "user", "content": "Hi"}]


class TokenServer:
    """Google's token endpoint and metadata server in one, noting what it was asked."""

    def __init__(self) -> None:
        self.asked: list[tuple[str, dict[str, str], dict[str, str]]] = []
        self.status, self.refusal = 200, {"error": "invalid_grant", "error_description": "no such account"}
        self.lasts_s = 3600
        seen = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                form = self.rfile.read(int(self.headers.get("content-length") or 0)).decode()
                seen.asked.append((self.path, {k: v[0] for k, v in parse_qs(form).items()}, dict(self.headers)))
                self._send(seen.token() if seen.status == 200 else seen.refusal, seen.status)

            def do_GET(self) -> None:
                path = urlsplit(self.path).path
                seen.asked.append((path, {}, dict(self.headers)))
                account = "/computeMetadata/v1/instance/service-accounts/default/"
                about = {"email": "vm@p.iam.gserviceaccount.com", "scopes": list(google.SCOPES), "aliases": ["default"]}
                known: dict[str, Any] = {account: about, account + "token": seen.token(), "/": {}}
                if path in known:
                    self._send(known[path], 200)
                else:
                    self._send("p" if path.endswith("project-id") else {}, 200 if path.endswith("project-id") else 404)

            def _send(self, value: Any, status: int) -> None:
                text = value if isinstance(value, str) else json.dumps(value)
                self.send_response(status)
                self.send_header("metadata-flavor", "Google")
                self.send_header("content-type", "application/text" if isinstance(value, str) else "application/json")
                self.send_header("content-length", str(len(text)))
                self.end_headers()
                self.wfile.write(text.encode())

            def log_message(self, *_: object) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.address = f"127.0.0.1:{self.server.server_address[1]}"
        self.url = f"http://{self.address}/token"

    def token(self) -> dict[str, Any]:
        return {
            "access_token": f"ya29.{len(self.asked)}",
            "expires_in": self.lasts_s,
            "token_type": "Bearer",
        }


@pytest.fixture
def tokens() -> Iterator[TokenServer]:
    served = TokenServer()
    thread = threading.Thread(target=served.server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield served
    served.server.shutdown()
    thread.join()
    served.server.server_close()


def account(tokens: TokenServer, **more: Any) -> dict[str, Any]:
    return {
        "type": "service_account",
        "project_id": "p",
        "private_key_id": "k1",
        "private_key": PEM,
        "client_email": "robot@p.iam.gserviceaccount.com",
        "token_uri": tokens.url,
        **more,
    }


def signed(credentials: str) -> str:
    return google.signer({"credentials": credentials}).sign(REQUEST).headers["authorization"]


def part(text: str) -> bytes:
    return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))


@pytest.mark.parametrize("by", ["json", "path"])
def test_a_service_account_signs_for_its_token(by: str, tokens: TokenServer, tmp_path: Path) -> None:
    text = json.dumps(account(tokens))
    (tmp_path / "key.json").write_text(text)
    assert signed(text if by == "json" else str(tmp_path / "key.json")) == "Bearer ya29.1"
    ((_, form, _),) = tokens.asked
    assert form["grant_type"] == "urn:ietf:params:oauth:grant-type:jwt-bearer"
    head, claims, signature = form["assertion"].split(".")
    KEY.public_key().verify(part(signature), f"{head}.{claims}".encode(), padding.PKCS1v15(), hashes.SHA256())
    said = json.loads(part(claims))
    assert (said["iss"], said["aud"], said["scope"]) == (
        "robot@p.iam.gserviceaccount.com",
        "https://oauth2.googleapis.com/token",  # whatever address it is sent to
        "https://www.googleapis.com/auth/cloud-platform",
    )
    assert 0 < said["exp"] - said["iat"] <= 3600
    assert json.loads(part(head))["alg"] == "RS256"


def test_a_user_s_sign_in_is_renewed_by_its_refresh_token(tokens: TokenServer) -> None:
    user = {"type": "authorized_user", "client_id": "c", "client_secret": "s", "refresh_token": "r"}
    user |= {"token_uri": tokens.url, "quota_project_id": "billed"}
    signer = google.signer({"credentials": json.dumps(user)})
    signer._credentials = google._found(json.dumps(user))
    signer._credentials._token_uri = tokens.url  # the sign-in of gcloud always asks Google's own address
    headers = signer.sign(REQUEST).headers
    assert headers["authorization"] == "Bearer ya29.1"
    assert headers["x-goog-user-project"] == "billed"
    assert headers["content-type"] == "a/b"
    ((_, form, _),) = tokens.asked
    assert (form["grant_type"], form["refresh_token"]) == ("refresh_token", "r")


def test_a_token_is_fetched_once_for_many_threads_and_again_before_it_ends(tokens: TokenServer) -> None:
    signer = google.signer({"credentials": json.dumps(account(tokens))})
    assert not signer.ready()
    with ThreadPoolExecutor(8) as threads:
        said = set(threads.map(lambda _: signer.sign(REQUEST).headers["authorization"], range(40)))
    assert said == {"Bearer ya29.1"}
    assert signer.ready()
    signer._credentials.expiry -= timedelta(seconds=3600 - 60)
    assert not signer.ready()
    assert signer.sign(REQUEST).headers["authorization"] == "Bearer ya29.2"


def test_a_token_that_still_lasts_is_used_while_the_service_is_away(tokens: TokenServer) -> None:
    signer = google.signer({"credentials": json.dumps(account(tokens))})
    signer.sign(REQUEST)
    tokens.status = 400
    signer._credentials.expiry -= timedelta(seconds=3600 - 60)
    assert signer.sign(REQUEST).headers["authorization"] == "Bearer ya29.1"
    signer._credentials.expiry -= timedelta(seconds=61)
    with pytest.raises(AuthenticationError, match="invalid_grant"):
        signer.sign(REQUEST)


def test_a_refusal_says_whose_credentials_they_were_and_not_what(tokens: TokenServer) -> None:
    tokens.status = 401
    with pytest.raises(AuthenticationError) as caught:
        signed(json.dumps(account(tokens)))
    assert "no such account" in caught.value.message
    assert "the JSON given, from vertex_credentials=" in caught.value.message
    assert "PRIVATE KEY" not in caught.value.message
    assert len(tokens.asked) == 1


def test_a_token_service_that_is_not_there_is_a_connection_error(tokens: TokenServer) -> None:
    with pytest.raises(APIConnectionError, match=r"cannot be reached.*127\.0\.0\.1:1/token") as caught:
        signed(json.dumps(account(tokens, token_uri="http://127.0.0.1:1/token")))
    assert caught.value.sent is False


@pytest.mark.filterwarnings("ignore:The load_credentials_from_dict:DeprecationWarning")
@pytest.mark.parametrize(
    ("given", "named"),
    [
        ("/no/such/key.json", r"'/no/such/key\.json' cannot be read: No such file.*VERTEXAI_CREDENTIALS"),
        ("{not json", "not a JSON object"),
        ('{"type": "service_account", "private_key": "x"}', "service_account credentials are not whole"),
        ('{"type": "something"}', "something"),
    ],
)
def test_credentials_that_cannot_be_are_named(given: str, named: str) -> None:
    with pytest.raises(AuthenticationError, match=named):
        signed(given)


def test_signers_are_shared_by_their_credentials_and_print_nothing(tokens: TokenServer) -> None:
    text = json.dumps(account(tokens))
    one = signer_for("google", {"credentials": text, "project": "p"})
    assert one is signer_for("google", {"project": "p", "credentials": text})
    assert "robot" not in repr(one)


def test_a_call_carries_the_token_and_its_events_do_not(tokens: TokenServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VERTEXAI_CREDENTIALS", json.dumps(account(tokens)))
    monkeypatch.setenv("VERTEXAI_PROJECT", "p")
    with FakeProvider() as provider, capture_events() as events:
        answer = callmeter.completion("vertex_ai/gemini-2.5-flash", M, api_base=provider.url)
        assert answer.choices[0].message.content
        heard = provider.requests[0]
    assert heard.headers["authorization"] == "Bearer ya29.1"
    assert (
        heard.path == "/v1/projects/p/locations/us-central1/publishers/google/models/gemini-2.5-flash:generateContent"
    )
    assert "ya29" not in repr(events)
    assert "PRIVATE KEY" not in repr(events)


def test_an_access_token_of_the_caller_s_own_asks_nobody(tokens: TokenServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VERTEXAI_CREDENTIALS", json.dumps(account(tokens)))
    with FakeProvider() as provider, capture_events():
        callmeter.completion("vertex_ai/m", M, api_base=provider.url, api_key="ya29.mine", vertex_project="p")
        assert provider.requests[0].headers["authorization"] == "Bearer ya29.mine"
    assert tokens.asked == []


def test_credentials_given_as_an_object_are_understood(tokens: TokenServer) -> None:
    with FakeProvider() as provider, capture_events():
        callmeter.completion(
            "vertex_ai/m", M, api_base=provider.url, vertex_credentials=account(tokens), vertex_project="p"
        )
        assert provider.requests[0].headers["authorization"] == "Bearer ya29.1"


def test_a_forked_child_does_not_wait_for_a_thread_it_does_not_have(tokens: TokenServer) -> None:
    signer = google.signer({"credentials": json.dumps(account(tokens))})
    signer._lock.acquire()  # by a thread of the parent, in the middle of a renewal
    signer._pid = -1
    assert signer.sign(REQUEST).headers["authorization"] == "Bearer ya29.1"


def test_without_google_auth_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "google.auth", None)
    with pytest.raises(MissingExtraError, match=r"callmeter\[vertex\]"):
        google.signer({}).sign(REQUEST)


ON_A_MACHINE = """
from callmeter.client.credentials.google import signer
from callmeter.wire import WireRequest
try:
    print(signer({}).sign(WireRequest(url="https://x.test/")).headers["authorization"])
except Exception as error:
    print(type(error).__name__, error)
"""


def on_a_machine(tmp_path: Path, **environ: str) -> str:
    """What the machine's own credentials come to in a fresh process without any others."""
    known = {"PATH": "/usr/bin:/bin", "HOME": str(tmp_path), "CLOUDSDK_CONFIG": str(tmp_path), "PYTHONPATH": "."}
    done = subprocess.run(
        [sys.executable, "-c", ON_A_MACHINE],
        env=known | environ,
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    return done.stdout.strip()


def test_a_machine_of_google_s_asks_its_metadata_server(tokens: TokenServer, tmp_path: Path) -> None:
    said = on_a_machine(tmp_path, GCE_METADATA_HOST=tokens.address, GCE_METADATA_IP=tokens.address)
    assert said.startswith("Bearer ya29.")
    paths = [path for path, _, _ in tokens.asked]
    assert "/computeMetadata/v1/instance/service-accounts/default/token" in paths
    assert all(headers.get("metadata-flavor") or headers.get("Metadata-Flavor") for _, _, headers in tokens.asked)


def test_a_machine_without_credentials_says_where_it_looked(tmp_path: Path) -> None:
    said = on_a_machine(tmp_path, NO_GCE_CHECK="true")
    assert said.startswith("AuthenticationError")
    assert "Looked in vertex_credentials=…, VERTEXAI_CREDENTIALS" in said
    assert "gcloud auth application-default login" in said
