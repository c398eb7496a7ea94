"""Signature Version 4, byte for byte what botocore computes."""

from datetime import UTC, datetime
from typing import Any
from urllib.parse import quote

import botocore.auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials
from hypothesis import given
from hypothesis import strategies as st

from callmeter.client.credentials.sigv4 import Keys, signed
from callmeter.types import Secret
from callmeter.wire import WireRequest

AT = datetime(2026, 11, 25, 9, 8, 7, tzinfo=UTC)
KEYS = Keys("AKIDEXAMPLE", Secret("wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY"))


def theirs(request: WireRequest, keys: Keys, region: str, service: str) -> dict[str, Any]:
    """The headers that botocore puts on the same request at the same instant."""
    token = keys.token.reveal() if keys.token else None
    auth = botocore.auth.SigV4Auth(Credentials(keys.id, keys.secret.reveal(), token), service, region)
    asked = AWSRequest(request.method, request.url, headers=dict(request.headers), data=request.body)
    before, botocore.auth.get_current_datetime = botocore.auth.get_current_datetime, lambda: AT
    try:
        auth.add_auth(asked)
    finally:
        botocore.auth.get_current_datetime = before
    return {name.lower(): value for name, value in asked.headers.items()}


@given(
    model=st.text(min_size=1, max_size=40),
    host=st.sampled_from(
        ["https://bedrock-runtime.eu-west-1.amazonaws.com", "https://Proxy.Example:443", "http://h:8080"]
    ),
    query=st.sampled_from(["", "?b=2&a=1", "?x", "?a=%2F&a=b"]),
    content_type=st.sampled_from(["application/json", "application/json;  charset=utf-8 "]),
    body=st.binary(max_size=200),
    secret=st.text(min_size=1, max_size=50),
    token=st.none() | st.text("abcABC+/=019", min_size=1, max_size=99),
    region=st.sampled_from(["us-east-1", "us-gov-west-1", "eusc-de-east-1"]),
)
def test_the_authorization_is_botocore_s_to_the_byte(
    model: str, host: str, query: str, content_type: str, body: bytes, secret: str, token: str | None, region: str
) -> None:
    keys = Keys("AKID", Secret(secret), Secret(token) if token else None)
    url = f"{host}/model/{quote(model, safe='')}/converse{query}"
    request = WireRequest(url=url, body=body, headers={"content-type": content_type})
    ours = signed(request, keys, region=region, service="bedrock", at=AT)
    assert ours.headers == theirs(request, keys, region, "bedrock")
    assert (ours.url, ours.body) == (url, body)


def test_the_example_of_amazon_s_own_test_suite_comes_out() -> None:
    request = WireRequest(method="GET", url="https://example.amazonaws.com/")
    at = datetime(2015, 8, 30, 12, 36, tzinfo=UTC)
    assert signed(request, KEYS, region="us-east-1", service="service", at=at).headers["authorization"] == (
        "AWS4-HMAC-SHA256 Credential=AKIDEXAMPLE/20150830/us-east-1/service/aws4_request, "
        "SignedHeaders=host;x-amz-date, "
        "Signature=5fa00fa31553b73ebf1942676e86291e8372ff2a2260956d9b8aae1d763fbf31"
    )


def test_headers_that_a_mesh_may_change_are_sent_and_not_signed() -> None:
    own = {"content-type": "application/json", "x-amz-own": "signed", "traceparent": "00-ab-cd-01", "accept": "*/*"}
    request = WireRequest(url="https://h.example/model/m/converse", headers=own)
    headers = signed(request, KEYS, region="us-east-1", service="bedrock", at=AT).headers
    assert own.items() <= headers.items()
    assert "SignedHeaders=content-type;host;x-amz-date;x-amz-own," in headers["authorization"]
    changed = WireRequest(url=request.url, headers={**own, "traceparent": "00-ef-01-01", "accept": "a/b"})
    again = signed(changed, KEYS, region="us-east-1", service="bedrock", at=AT).headers
    assert again["authorization"] == headers["authorization"]


def test_keys_are_not_shown() -> None:
    keys = Keys("AKID", Secret("the-secret"), Secret("the-token"))
    assert "the-" not in repr(keys)
