"""Whose keys sign a call to Amazon: arguments, environment, profiles, and what botocore fetches from services."""

import asyncio
import json
import os
import sys
import threading
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs

import pytest
from botocore.session import Session
from msgspec.structs import replace

import callmeter
from callmeter.client.credentials import aws
from callmeter.client.credentials.aws import AwsSigner, Fetched, Given, InProfile
from callmeter.client.credentials.aws_profiles import keys_of, profiles, region_of_profile
from callmeter.client.credentials.sigv4 import Keys
from callmeter.client.providers import BY_NAME
from callmeter.errors import APIConnectionError, AuthenticationError, MissingExtraError
from callmeter.testing import FakeProvider, capture_events
from callmeter.testing.scripts import Answer, Heard, Script
from callmeter.types import Secret
from callmeter.wire import WireRequest

M = [{"role": "user", "content": "Hi"}]
MODEL = "bedrock/amazon.nova-lite-v1:0"
REQUEST = WireRequest(url="https://bedrock-runtime.us-east-1.amazonaws.com/model/m/converse", body=b"{}")


@pytest.fixture(autouse=True)
def nobody(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A machine without AWS configuration, on which nothing leaves the loopback."""
    for name in (*BY_NAME["bedrock"].environment, "AWS_ROLE_ARN", "AWS_CONTAINER_CREDENTIALS_RELATIVE_URI"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "credentials"))
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "config"))
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.setenv("NO_PROXY", "*")


@pytest.fixture
def provider() -> Iterator[FakeProvider]:
    with FakeProvider() as server, capture_events():
        yield server


@pytest.fixture
def service() -> Iterator[FakeProvider]:
    """Whatever hands out keys; what it answers, tests say."""
    with FakeProvider() as server:
        yield server


def ask(provider: FakeProvider, **given: Any) -> Heard:
    """What a call that says so much of its keys arrives as."""
    callmeter.completion(MODEL, M, api_base=provider.url, num_retries=0, **given)
    return provider.requests[-1]


def signed_by(heard: Heard) -> str:
    return heard.headers["authorization"].partition("Credential=")[2].partition("/")[0]


def answering(server: FakeProvider, *bodies: Any, status: int = 200) -> None:
    """Let the server give these answers in turn, the last for ever. Text is sent as it is, anything else as JSON."""
    for at, body in enumerate(bodies):
        data = (body if isinstance(body, str) else json.dumps(body)).encode()

        def behaviour(_: Heard, script: Script, data: bytes = data) -> Script:
            kind = "text/xml" if data.startswith(b"<") else "application/json"
            return replace(script, answer=Answer(wire="keys", status=status, content_type=kind, pieces=(data,)))

        server.script(behaviour, None if at == len(bodies) - 1 else 1)


def keys_handed_out(key_id: str, hours: float = 1) -> dict[str, str]:
    """Keys as the services hand them out."""
    end = (datetime.now(UTC) + timedelta(hours=hours)).strftime("%Y-%m-%dT%H:%M:%SZ")
    return {"AccessKeyId": key_id, "SecretAccessKey": "fetched-secret", "Token": "fetched-token", "Expiration": end}


# --- arguments and environment


def test_arguments_outrank_the_environment_and_its_session_is_not_mixed_in(
    provider: FakeProvider, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "AKENV")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "env-secret")
    monkeypatch.setenv("AWS_SESSION_TOKEN", "env-token")
    ambient = ask(provider)
    assert signed_by(ambient) == "AKENV"
    assert ambient.headers["x-amz-security-token"] == "env-token"
    given = ask(provider, aws_access_key_id="AKARG", aws_secret_access_key="s")
    assert signed_by(given) == "AKARG"
    assert "x-amz-security-token" not in given.headers
    tokened = ask(provider, aws_access_key_id="AKARG", aws_secret_access_key="s", aws_session_token="t")
    assert tokened.headers["x-amz-security-token"] == "t"
    for heard in provider.requests:
        assert "secret" not in str(heard)
        assert not {"aws_access_key_id", "aws_secret_access_key"} & json.loads(heard.body).keys()


def test_a_changed_environment_is_seen_by_the_next_call(
    provider: FakeProvider, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "s")
    for key_id in ("AKONE", "AKTWO"):
        monkeypatch.setenv("AWS_ACCESS_KEY_ID", key_id)
        assert signed_by(ask(provider)) == key_id


@pytest.mark.parametrize("half", ["AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"])
def test_half_a_pair_of_keys_is_said_to_be_that(
    half: str, provider: FakeProvider, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(half, "x")
    with pytest.raises(AuthenticationError, match="AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY belong together"):
        ask(provider)
    with pytest.raises(AuthenticationError, match="aws_access_key_id and aws_secret_access_key belong together"):
        ask(provider, aws_access_key_id="x")


def test_a_bearer_key_skips_all_that_unless_keys_are_given(
    provider: FakeProvider, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_BEARER_TOKEN_BEDROCK", "ambient-key")
    assert ask(provider).headers["authorization"] == "Bearer ambient-key"
    heard = ask(provider, api_key="given-key", aws_access_key_id="AK", aws_secret_access_key="s")
    assert heard.headers["authorization"] == "Bearer given-key"
    assert "x-amz-date" not in heard.headers
    assert signed_by(ask(provider, aws_access_key_id="AK", aws_secret_access_key="s")) == "AK"


def test_an_authorization_of_the_caller_s_own_is_left_alone(provider: FakeProvider) -> None:
    given = {"aws_access_key_id": "AK", "aws_secret_access_key": "s", "extra_headers": {"Authorization": "Own x"}}
    assert ask(provider, **given).headers["authorization"] == "Own x"


def test_the_region_is_signed_for_and_each_signature_has_its_own_instant() -> None:
    instants = iter([datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC), datetime(2026, 1, 2, 3, 9, 5, tzinfo=UTC)])
    signer = AwsSigner(Given(Keys("AK", Secret("s"))), "eu-west-3", "bedrock", now=lambda: next(instants))
    first, second = (signer.sign(REQUEST).headers for _ in range(2))
    assert first["x-amz-date"] == "20260102T030405Z"
    assert second["x-amz-date"] == "20260102T030905Z"
    assert "Credential=AK/20260102/eu-west-3/bedrock/aws4_request" in first["authorization"]
    assert first["authorization"] != second["authorization"]


# --- profiles

FILES = {
    "the default": (
        "[default]\naws_access_key_id = AKDEF\naws_secret_access_key = s3\n",
        "[default]\nregion = eu-north-1\n",
        "",
    ),
    "keys in the config": (
        "",
        "[profile work]\naws_access_key_id=AKCONF\naws_secret_access_key=%s%%\nregion=ap-south-1\n",
        "work",
    ),
    "both, and the credentials file has the last word": (
        "[work]\naws_access_key_id = AKCRED\naws_secret_access_key = c\naws_session_token = tok==\n",
        "[profile work]\naws_access_key_id = AKCONF\naws_secret_access_key = d\nregion = us-west-2\n",
        "work",
    ),
    "a name in quotes, nested settings, comments": (
        "# mine\n[my work]\naws_access_key_id = AKQ\naws_secret_access_key = q\n",
        '[profile "my work"]\nregion = ca-central-1\ns3 =\n  max_concurrent_requests = 20\n; end\n',
        "my work",
    ),
}


def written(tmp_path: Path, credentials: str, config: str = "") -> None:
    (tmp_path / "credentials").write_text(credentials)
    (tmp_path / "config").write_text(config)


@pytest.mark.parametrize("case", FILES)
@pytest.mark.parametrize("by", ["argument", "AWS_PROFILE"])
def test_a_profile_has_the_keys_and_region_that_botocore_finds(
    case: str, by: str, tmp_path: Path, provider: FakeProvider, monkeypatch: pytest.MonkeyPatch
) -> None:
    credentials, config, profile = FILES[case]
    written(tmp_path, credentials, config)
    given = {"aws_profile_name": profile} if profile and by == "argument" else {}
    if profile and by == "AWS_PROFILE":
        monkeypatch.setenv("AWS_PROFILE", profile)
    session = Session(profile=profile or None)
    theirs = session.get_credentials().get_frozen_credentials()
    heard = ask(provider, **given)
    assert signed_by(heard) == theirs.access_key
    assert heard.headers.get("x-amz-security-token") == theirs.token
    assert f"/{session.get_config_variable('region')}/bedrock/" in heard.headers["authorization"]
    ours = keys_of(profiles(str(tmp_path / "credentials"), str(tmp_path / "config"))[profile or "default"])
    assert ours is not None
    assert ours.secret.reveal() == theirs.secret_key


def test_a_named_profile_outranks_keys_in_the_environment(
    tmp_path: Path, provider: FakeProvider, monkeypatch: pytest.MonkeyPatch
) -> None:
    written(tmp_path, "[work]\naws_access_key_id = AKWORK\naws_secret_access_key = s\n")
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "AKENV")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "s")
    monkeypatch.setenv("AWS_BEARER_TOKEN_BEDROCK", "ambient-key")
    assert signed_by(ask(provider, aws_profile_name="work")) == "AKWORK"
    monkeypatch.delenv("AWS_BEARER_TOKEN_BEDROCK")
    monkeypatch.setenv("AWS_PROFILE", "work")
    assert signed_by(ask(provider)) == "AKENV"


def test_keys_that_a_tool_rotates_in_the_file_are_read_again(tmp_path: Path) -> None:
    now = [0.0]
    told = {"credentials_file": str(tmp_path / "credentials"), "config_file": str(tmp_path / "config")}
    source = InProfile(told, "", now_s=lambda: now[0])
    assert not source.ready()
    for key_id in ("AKOLD", "AKNEW"):
        written(tmp_path, f"[default]\naws_access_key_id = {key_id}\naws_secret_access_key = s\n")
        assert source.keys().id == key_id
        assert source.ready()
        now[0] += aws.FILE_LIFE_S
        assert not source.ready()


def test_a_profile_that_is_not_there_is_named_with_those_that_are(tmp_path: Path, provider: FakeProvider) -> None:
    with pytest.raises(AuthenticationError, match="no profile 'work' in the AWS configuration: it has none"):
        ask(provider, aws_profile_name="work")
    written(tmp_path, "[a]\n", "[profile b]\n[sso-session s]\n[services x]\n")
    with pytest.raises(AuthenticationError, match=r"no profile 'play' .*it has a, b$"):
        ask(provider, aws_profile_name="play")


def test_a_file_that_is_none_is_named_and_not_quoted(tmp_path: Path, provider: FakeProvider) -> None:
    written(tmp_path, "aws_secret_access_key = hush\n")
    with pytest.raises(AuthenticationError, match=r"credentials cannot be read: it is not in the form") as caught:
        ask(provider)
    assert "hush" not in str(caught.value)
    assert region_of_profile({"credentials_file": str(tmp_path / "credentials")}) == ""


# --- fetched by botocore


def test_a_process_s_keys_are_fetched_once_and_off_the_loop(tmp_path: Path, provider: FakeProvider) -> None:
    script, calls = tmp_path / "helper.py", tmp_path / "calls"
    told = {"Version": 1, **{k: v for k, v in keys_handed_out("AKPROC").items() if k != "Token"}, "SessionToken": "pt"}
    script.write_text(f"open({str(calls)!r}, 'a').write('x')\nprint('''{json.dumps(told)}''')\n")
    written(tmp_path, "", f"[profile proc]\ncredential_process = {sys.executable} {script}\n")

    async def main() -> list[Any]:
        given: dict[str, Any] = {"api_base": provider.url, "aws_profile_name": "proc"}
        return [await callmeter.acompletion(MODEL, M, **given) for _ in range(2)]

    assert len(asyncio.run(main())) == 2
    assert [signed_by(heard) for heard in provider.requests] == ["AKPROC"] * 2
    assert provider.requests[0].headers["x-amz-security-token"] == "pt"
    assert calls.read_text() == "x"


def test_a_container_s_keys_are_fetched_from_its_agent(
    service: FakeProvider, provider: FakeProvider, monkeypatch: pytest.MonkeyPatch
) -> None:
    answering(service, keys_handed_out("AKECS"))
    monkeypatch.setenv("AWS_CONTAINER_CREDENTIALS_FULL_URI", f"{service.url}/role")
    heard = ask(provider)
    assert signed_by(heard) == "AKECS"
    assert heard.headers["x-amz-security-token"] == "fetched-token"


def test_an_instance_s_keys_are_fetched_from_its_metadata(
    service: FakeProvider, provider: FakeProvider, monkeypatch: pytest.MonkeyPatch
) -> None:
    answering(service, "imds-token", "the-role", {**keys_handed_out("AKEC2"), "Code": "Success", "Type": "AWS-HMAC"})
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "false")
    monkeypatch.setenv("AWS_EC2_METADATA_SERVICE_ENDPOINT", service.url)
    assert signed_by(ask(provider)) == "AKEC2"
    token, *asked = service.requests
    assert (token.method, token.path) == ("PUT", "/latest/api/token")
    assert [heard.headers["x-aws-ec2-metadata-token"] for heard in asked] == ["imds-token"] * 2


ROLE = "arn:aws:iam::123456789012:role/caller"


def assumed(operation: str, key_id: str) -> str:
    keys = keys_handed_out(key_id)
    told = {**keys, "SessionToken": keys.pop("Token")}
    inner = "".join(f"<{name}>{value}</{name}>" for name, value in told.items() if name != "Token")
    return (
        f'<{operation}Response xmlns="https://sts.amazonaws.com/doc/2011-06-15/"><{operation}Result>'
        f"<Credentials>{inner}</Credentials><AssumedRoleUser><Arn>{ROLE}</Arn><AssumedRoleId>x</AssumedRoleId>"
        f"</AssumedRoleUser></{operation}Result></{operation}Response>"
    )


def test_a_role_is_taken_with_the_keys_given_and_renewed_before_it_ends(
    service: FakeProvider, provider: FakeProvider
) -> None:
    answering(service, assumed("AssumeRole", "AKROLE"))
    role = {"aws_role_name": ROLE, "aws_session_name": "me", "aws_external_id": "ext", "aws_sts_endpoint": service.url}
    keys = {"aws_access_key_id": "AKBASE", "aws_secret_access_key": "s", "aws_region_name": "eu-west-1"}
    for _ in range(3):
        assert signed_by(ask(provider, **role, **keys)) == "AKROLE"
    (asked,) = service.requests
    form = parse_qs(asked.body.decode())
    assert (form["RoleArn"], form["RoleSessionName"], form["ExternalId"]) == ([ROLE], ["me"], ["ext"])
    assert "Credential=AKBASE/" in asked.headers["authorization"]
    assert "/eu-west-1/sts/" in asked.headers["authorization"]


@pytest.mark.parametrize("form", ["itself", "a file"])
def test_a_web_identity_takes_a_role_without_keys(
    form: str, service: FakeProvider, provider: FakeProvider, tmp_path: Path
) -> None:
    answering(service, assumed("AssumeRoleWithWebIdentity", "AKWEB"))
    (tmp_path / "token").write_text("ey.jwt.token\n")
    given = "ey.jwt.token" if form == "itself" else str(tmp_path / "token")
    role = {"aws_role_name": ROLE, "aws_sts_endpoint": service.url, "aws_web_identity_token": given}
    assert signed_by(ask(provider, **role)) == "AKWEB"
    (asked,) = service.requests
    assert parse_qs(asked.body.decode())["WebIdentityToken"] == ["ey.jwt.token"]
    with pytest.raises(AuthenticationError, match="needs the role to take"):
        ask(provider, aws_web_identity_token=given)


def test_a_pod_s_web_identity_outranks_the_files(
    service: FakeProvider, provider: FakeProvider, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    written(tmp_path, "[default]\naws_access_key_id = AKFILE\naws_secret_access_key = s\n")
    answering(service, assumed("AssumeRoleWithWebIdentity", "AKPOD"))
    (tmp_path / "token").write_text("ey.pod")
    monkeypatch.setenv("AWS_ENDPOINT_URL_STS", service.url)
    monkeypatch.setenv("AWS_ROLE_ARN", ROLE)
    monkeypatch.setenv("AWS_WEB_IDENTITY_TOKEN_FILE", str(tmp_path / "token"))
    assert signed_by(ask(provider)) == "AKPOD"


def test_threads_that_want_a_role_s_keys_wait_for_one_fetch(service: FakeProvider) -> None:
    answering(service, assumed("AssumeRole", "AKROLE"))
    told = {"role": ROLE, "sts_endpoint": service.url, "region": "us-east-1", "service": "bedrock"}
    signer = aws.signer({**told, "access_key_id": "AKBASE", "secret_access_key": "s"})
    signed, barrier = list[WireRequest](), threading.Barrier(8)

    def sign() -> None:
        barrier.wait()
        signed.append(signer.sign(REQUEST))

    threads = [threading.Thread(target=sign) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(signed) == 8
    assert len(service.requests) == 1
    other = aws.signer({**told, "access_key_id": "AKBASE", "secret_access_key": "s", "service": "sagemaker"})
    assert other.ready()


DENIED = (
    '<ErrorResponse xmlns="https://sts.amazonaws.com/doc/2011-06-15/"><Error><Type>Sender</Type>'
    "<Code>AccessDenied</Code><Message>User x is not authorized to perform: sts:AssumeRole</Message></Error>"
    "</ErrorResponse>"
)


def test_a_role_that_is_refused_and_a_service_that_is_away_are_told_apart(
    service: FakeProvider, provider: FakeProvider
) -> None:
    keys = {"aws_access_key_id": "AKBASE", "aws_secret_access_key": "hush"}
    answering(service, DENIED, status=403)
    with pytest.raises(AuthenticationError, match="not authorized to perform: sts:AssumeRole") as caught:
        ask(provider, aws_role_name=ROLE, aws_sts_endpoint=service.url, **keys)
    assert "hush" not in str(caught.value)
    with pytest.raises(APIConnectionError, match="the service that hands out AWS keys cannot be reached") as away:
        ask(provider, aws_role_name=ROLE, aws_sts_endpoint="http://127.0.0.1:9", **keys)
    assert away.value.sent is False
    assert not provider.requests


def test_where_nothing_is_known_the_error_says_where_it_looked(provider: FakeProvider) -> None:
    with pytest.raises(AuthenticationError, match=r"aws_access_key_id=….*AWS_PROFILE.*single sign-on.*AWS_BEARER"):
        ask(provider)
    with pytest.raises(AuthenticationError, match=f"to take the role {ROLE} with"):
        ask(provider, aws_role_name=ROLE)


def test_without_the_library_the_extra_is_named_and_what_does_without(
    provider: FakeProvider, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "botocore", None)
    with pytest.raises(MissingExtraError, match=r"callmeter\[aws\].*AWS_ACCESS_KEY_ID.*AWS_BEARER_TOKEN_BEDROCK"):
        ask(provider)
    assert signed_by(ask(provider, aws_access_key_id="AK", aws_secret_access_key="s")) == "AK"


@pytest.mark.skipif(not hasattr(os, "fork"), reason="forks")
def test_a_forked_child_finds_its_own_keys(tmp_path: Path) -> None:
    found = iter(["parent", "child"])

    class Credentials:
        def __init__(self) -> None:
            self.name = next(found)

        def get_frozen_credentials(self) -> Any:
            return type("Frozen", (), {"access_key": self.name, "secret_key": "s", "token": None})()

    source = Fetched(Credentials)
    assert source.keys().id == "parent"
    with source._lock:  # held in the parent while it forks
        pid = os.fork()
        if pid == 0:
            os._exit(0 if not source.ready() and source.keys().id == "child" else 1)
    assert os.waitpid(pid, 0)[1] == 0
    assert source.keys().id == "parent"
