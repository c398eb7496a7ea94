"""Brings a price table and its signature from a file or a URL."""

import logging
from pathlib import Path

from callmeter.cli.prices._read import MAX_DOCUMENT
from callmeter.errors import ConfigError, PriceTableError

TIMEOUT_S = 30.0
"""Seconds without a byte; a whole table may take longer."""

MAX_SIGNATURE = 4096


def fetched(source: str) -> tuple[bytes, bytes]:
    """A table's bytes and those of its signature, SOURCE + `.sig`.

    Raises `ConfigError` for a source that is neither a file nor a URL, and `PriceTableError` naming what could not be
    had.
    """
    scheme, colon, _ = source.partition("://")
    if not colon:
        path = Path(source).expanduser()
        return _read(path, MAX_DOCUMENT), _read(path.with_name(f"{path.name}.sig"), MAX_SIGNATURE)
    if scheme.casefold() not in ("http", "https"):
        raise ConfigError(f"the source {source!r} is neither a file nor an http or https URL; give one of them")
    return _download(source, MAX_DOCUMENT), _download(_signature_url(source), MAX_SIGNATURE)


def _signature_url(source: str) -> str:
    """`.sig` belongs to the path, in front of a query."""
    address, mark, query = source.partition("?")
    return f"{address}.sig{mark}{query}"


def _read(path: Path, most: int) -> bytes:
    try:
        with path.open("rb") as file:
            body = file.read(most + 1)
    except OSError as error:
        raise PriceTableError(f"cannot read {path}: {error.strerror}; nothing was installed") from None
    _bound(len(body), most, str(path))
    return body


def _download(url: str, most: int) -> bytes:
    import httpx2

    # Its log names every request, which is nobody's concern here.
    logging.getLogger("httpx2").setLevel(logging.WARNING)
    body = bytearray()
    try:
        with httpx2.stream("GET", url, timeout=TIMEOUT_S, follow_redirects=True) as response:
            if response.status_code != 200:
                raise PriceTableError(f"{url} answers {response.status_code}; nothing was installed")
            for chunk in response.iter_bytes():
                body += chunk
                _bound(len(body), most, url)
    except (httpx2.HTTPError, httpx2.InvalidURL) as error:
        raise PriceTableError(f"cannot fetch {url}: {error or type(error).__name__}; nothing was installed") from None
    return bytes(body)


def _bound(size: int, most: int, where: str) -> None:
    if size > most:
        raise PriceTableError(f"{where} is longer than {most:,} bytes, which no such file is; nothing was installed")
