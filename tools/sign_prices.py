"""Signs a price table for `callmeter prices update`.

    python tools/sign_prices.py keygen prices.key        writes a private key, prints the public one (setting price_key)
    python tools/sign_prices.py sign prices.json prices.key    writes prices.json.sig

The key file is PEM, as `openssl genpkey -algorithm ed25519` writes it; the signature is Ed25519 over the file's bytes,
in base64.
"""

import base64
import os
import sys
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
    load_pem_private_key,
)

from callmeter.errors import CallmeterError, ConfigError
from callmeter.pricing.document import decode


def keygen(path: Path) -> str:
    """Write a new private key, readable by its owner alone, and return the public key in base64."""
    key = Ed25519PrivateKey.generate()
    with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
        file.write(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
    return base64.b64encode(key.public_key().public_bytes(Encoding.Raw, PublicFormat.Raw)).decode()


def sign(table: Path, key_file: Path) -> Path:
    """Sign a table that is one, and return the signature's file. Raises `CallmeterError` for any other file."""
    key = load_pem_private_key(key_file.read_bytes(), password=None)
    if not isinstance(key, Ed25519PrivateKey):
        raise ConfigError(f"{key_file} is no Ed25519 key; make one with keygen")
    body = table.read_bytes()
    decode(body, str(table))
    target = table.with_name(f"{table.name}.sig")
    target.write_bytes(base64.b64encode(key.sign(body)) + b"\n")
    return target


def main(arguments: list[str]) -> int:
    """The command. Returns its exit code: 0 done, 1 refused, 2 wrong arguments."""
    try:
        match arguments:
            case ["keygen", path]:
                print(keygen(Path(path)))
            case ["sign", table, key]:
                print(sign(Path(table), Path(key)))
            case _:
                print(__doc__, file=sys.stderr)
                return 2
    except (CallmeterError, OSError, ValueError) as error:
        print(error, file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
