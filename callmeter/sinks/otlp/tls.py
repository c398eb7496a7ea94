"""A transport with certificates of one's own, as the OTLP variables may name them."""

import ssl
from typing import TYPE_CHECKING

from callmeter.errors import ConfigError
from callmeter.sinks.otlp.environ import Target
from callmeter.transport import sync_transport

if TYPE_CHECKING:
    from callmeter.sinks.sending import Sender


class TlsSender:
    """Sends over one HTTP client, which trusts and shows what the target says."""

    def __init__(self, context: ssl.SSLContext) -> None:
        import httpx2

        self._client = httpx2.Client(verify=context)
        self.send = sync_transport(client=self._client).send

    def close(self) -> None:
        """Close its connections."""
        self._client.close()


def tls_sender(target: Target) -> "Sender":
    """The transport. Raises `ConfigError` for a file that cannot be read or is no certificate."""
    context = ssl.create_default_context()
    try:
        if target.certificate:
            context.load_verify_locations(target.certificate)
        if target.client_certificate:
            context.load_cert_chain(target.client_certificate, target.client_key or None)
    except (OSError, ssl.SSLError) as error:
        files = ", ".join(filter(None, (target.certificate, target.client_certificate, target.client_key)))
        raise ConfigError(f"the OTLP certificates cannot be used ({files}): {error}; check the files") from None
    return TlsSender(context)
