"""The errors a transport raises, each sentence once: host, cause, cure. No header and no query ever enters one."""

from urllib.parse import urlsplit

from callmeter.errors import APIConnectionError


def host_of(url: str) -> str:
    """The host and port of a URL, without any credentials in it."""
    try:
        return urlsplit(url).netloc.rpartition("@")[2] or repr(url.partition("?")[0])
    except ValueError:
        return repr(url.partition("?")[0])


def unreachable(url: str, cause: str, cure: str) -> APIConnectionError:
    """No answer came, or not whole."""
    return APIConnectionError(f"{host_of(url)}: {cause}; {cure}")


def no_connection(url: str, cause: str) -> APIConnectionError:
    """Refused, unknown to DNS, or of a certificate that cannot be trusted."""
    if "CERTIFICATE" in cause.upper():
        cure = "if it is signed by an authority of your own, name that in SSL_CERT_FILE"
    else:
        cure = "check api_base, and that the server is up and can be reached from here"
    return unreachable(url, f"no connection ({cause})", cure)


def broken(url: str, cause: str) -> APIConnectionError:
    """The connection ended, or made no sense, before the answer was whole."""
    error = unreachable(url, f"the connection broke ({cause})", "retry; the server may be overloaded or restarting")
    error.sent = True
    return error


def undecodable(url: str, cause: str) -> APIConnectionError:
    """The body is not what its content-encoding says."""
    return unreachable(url, f"the answer could not be read: {cause}", "retry, or report it to the provider")


def too_large(url: str, limit: int) -> APIConnectionError:
    """A whole answer above the cap."""
    return unreachable(url, f"the answer is larger than max_reply_bytes={limit}", "ask for less, or raise the limit")


def bad_url(url: str) -> APIConnectionError:
    """Not something that HTTP can be sent to."""
    return unreachable(url, "not an http:// or https:// URL", "check api_base")


def bad_header(url: str, name: str | None = None) -> APIConnectionError:
    """A header that HTTP cannot carry. Libraries quote its value, which may be a key; this does not."""
    which = "a header" if name is None else f"the header {name!r}"
    return unreachable(
        url, f"{which} holds a character that HTTP cannot carry", "look for line breaks and typographic quotes in it"
    )


def closed_while_read(url: str) -> APIConnectionError:
    """Somebody closed a stream that somebody else was reading."""
    return unreachable(url, "the stream was closed while it was being read", "read it before closing it")
