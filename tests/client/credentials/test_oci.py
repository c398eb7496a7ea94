"""Oracle's request signatures: checked with the public key over the text that Oracle's page says is signed."""

import base64
import hashlib
import re
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import padding, rsa

import callmeter
from callmeter.client.credentials.oci import OracleSigner
from callmeter.client.providers import BY_NAME
from callmeter.client.resolve import deployment
from callmeter.errors import AuthenticationError
from callmeter.testing import FakeProvider
from callmeter.wire import WireRequest

KEY = rsa.generate_private_key(public_exponent=65537, key_size=2048)
PEM = KEY.private_bytes(
    serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
).decode()
WHO = {"tenancy": "ocid1.tenancy.a", "user": "ocid1.user.b", "fingerprint": "20:3b:97"}
ASKED = WireRequest(
    url="https://inference.generativeai.us-chicago-1.oci.oraclecloud.com/openai/v1/chat/completions?a=b",
    body=b'{"model":"xai.grok-4"}',
    headers={"content-type": "application/json"},
)
SIGNATURE = re.compile(
    r'Signature version="1",keyId="([^"]*)",algorithm="rsa-sha256",headers="([^"]*)",signature="([^"]*)"'
)


def check(headers: dict[str, str], method: str, target: str, host: str, body: bytes) -> str:
    """Verify a signature as Oracle does; the id of the key that it names."""
    found = SIGNATURE.fullmatch(headers["authorization"])
    assert found is not None
    key_id, names, signature = found.groups()
    values = {
        **headers,
        "(request-target)": f"{method} {target}",
        "host": host,
        "content-length": str(len(body)),
    }
    text = "\n".join(f"{name}: {values[name]}" for name in names.split(" ")).encode()
    KEY.public_key().verify(base64.b64decode(signature), text, padding.PKCS1v15(), hashes.SHA256())
    return key_id


def test_a_request_is_signed_with_its_body() -> None:
    signed = OracleSigner({**WHO, "private_key": PEM}, now_s=lambda: 1_764_055_400.0).sign(ASKED)
    headers = dict(signed.headers)
    host = "inference.generativeai.us-chicago-1.oci.oraclecloud.com"
    key_id = check(headers, "post", "/openai/v1/chat/completions?a=b", host, ASKED.body)
    assert key_id == "ocid1.tenancy.a/ocid1.user.b/20:3b:97"
    assert headers["date"] == "Tue, 25 Nov 2025 07:23:20 GMT"
    assert headers["x-content-sha256"] == base64.b64encode(hashlib.sha256(ASKED.body).digest()).decode()


def test_credentials_come_from_the_configuration_file_where_the_call_has_none(tmp_path: Path) -> None:
    (tmp_path / "key.pem").write_text(PEM)
    (tmp_path / "token").write_text("session\n")
    (tmp_path / "config").write_text(
        "[DEFAULT]\nuser=u\ntenancy=t\nfingerprint=f\n"
        f"key_file={tmp_path}/key.pem\n[LAPTOP]\nsecurity_token_file={tmp_path}/token\n"
    )
    config = {"config_file": f"{tmp_path}/config"}

    def key_id(variables: dict[str, Any]) -> str:
        found = SIGNATURE.fullmatch(OracleSigner(variables).sign(ASKED).headers["authorization"])
        assert found is not None
        return found[1]

    assert key_id(config) == "t/u/f"
    assert key_id({**config, "user": "another"}) == "t/another/f"
    assert key_id({**config, "profile": "LAPTOP"}) == "ST$session"


@pytest.mark.parametrize(
    ("variables", "words"),
    [
        ({}, "OCI_KEY_FILE"),
        ({**WHO, "private_key": "/nowhere/key.pem"}, "'/nowhere/key.pem' cannot be read"),
        ({**WHO, "private_key": "-----BEGIN RSA PRIVATE KEY-----\nx\n"}, "private key cannot be used"),
        ({"user": "u", "private_key": PEM}, "no credentials for oci"),
    ],
)
def test_what_credentials_lack_is_said(variables: dict[str, str], words: str, tmp_path: Path) -> None:
    signer = OracleSigner({"config_file": f"{tmp_path}/none", **variables})
    assert not signer.ready()
    with pytest.raises(AuthenticationError, match=words):
        signer.sign(ASKED)
    assert "BEGIN" not in repr(signer)


def test_a_call_is_signed_as_it_arrives(provider: FakeProvider, events: list[Any]) -> None:
    callmeter.completion(
        "oci/xai.grok-4",
        [{"role": "user", "content": "Hi"}],
        api_base=provider.openai_base,
        oci_user="u",
        oci_tenancy="t",
        oci_fingerprint="f",
        oci_key=PEM,
    )
    (heard,) = provider.requests
    assert check(heard.headers, "post", heard.path, heard.headers["host"], heard.body) == "t/u/f"


def test_an_api_key_is_sent_as_it_is() -> None:
    where = deployment(BY_NAME["oci"], "xai.grok-4", environ={"OCI_GENAI_API_KEY": "sk-1", "OCI_REGION": "eu-1"})
    assert where.signer is None
    assert where.api_base == "https://inference.generativeai.eu-1.oci.oraclecloud.com/openai/v1"
