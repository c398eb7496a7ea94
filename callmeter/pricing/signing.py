"""Whether a price table is from whom it should be: a detached Ed25519 signature over the file's bytes.

Source: RFC 8032; https://cryptography.io/en/latest/hazmat/primitives/asymmetric/ed25519/
"""

import base64
import binascii

from callmeter.errors import ConfigError, MissingExtraError, PriceTableError

KEY_BYTES = 32
SIGNATURE_BYTES = 64


def public_key(text: str, setting: str = "price_key") -> bytes:
    """A public key from base64. Raises `ConfigError` naming the setting for what is none."""
    try:
        key = base64.b64decode(text.strip(), validate=True)
    except (binascii.Error, ValueError):
        key = b""
    if len(key) != KEY_BYTES:
        raise ConfigError(f"{setting} is {text!r:.80}, no Ed25519 public key; give its {KEY_BYTES} bytes in base64")
    return key


def signature(body: bytes, where: str) -> bytes:
    """A signature from the file beside the table: its 64 bytes, or those in base64. Raises `PriceTableError`."""
    if len(body) == SIGNATURE_BYTES:
        return body
    try:
        found = base64.b64decode(body.strip(), validate=True)
    except (binascii.Error, ValueError):
        found = b""
    if len(found) != SIGNATURE_BYTES:
        raise PriceTableError(
            f"{where} holds no Ed25519 signature ({len(body)} bytes); it has to be {SIGNATURE_BYTES} bytes, or those "
            "in base64"
        )
    return found


def verify(body: bytes, signed: bytes, key: bytes, where: str) -> None:
    """Raises `PriceTableError` unless the key's owner signed these bytes, `MissingExtraError` without cryptography."""
    try:
        from cryptography.exceptions import InvalidSignature
        from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
    except ImportError:
        raise MissingExtraError(
            "checking a price table's signature needs cryptography; pip install 'callmeter[prices]'"
        ) from None
    try:
        Ed25519PublicKey.from_public_bytes(key).verify(signed, body)
    except (InvalidSignature, ValueError):
        raise PriceTableError(
            f"{where} is not signed with the pinned key {base64.b64encode(key).decode()}, or was changed on the way; "
            "nothing was installed"
        ) from None
