"""Forms with files, as browsers send them. Source: RFC 7578, and https://url.spec.whatwg.org for names."""

from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

from callmeter.client.uploads import Upload


class Form(NamedTuple):
    """An encoded form and the content type that tells where its parts end."""

    body: bytes
    content_type: str


def form(fields: Mapping[str, Any], boundary: str) -> Form:
    """The form of these fields, in their order; those that are None are left out.

    An `Upload` is a file. A list is its name with brackets again and again, an object is its members in brackets:
    `include[]`, `chunking_strategy[type]`, as OpenAI's own client writes them.
    """
    parts = [_part(name, value) for name, value in _flat(fields)]
    while any(boundary.encode() in part for part in parts):
        boundary += "x"
    edge = b"--" + boundary.encode()
    body = b"".join(edge + b"\r\n" + part + b"\r\n" for part in parts) + edge + b"--\r\n"
    return Form(body, f"multipart/form-data; boundary={boundary}")


def _flat(fields: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    for name, value in fields.items():
        yield from _spread(name, value)


def _spread(name: str, value: Any) -> Iterator[tuple[str, Any]]:
    if value is None:
        return
    if isinstance(value, Mapping):
        for inner, member in value.items():
            yield from _spread(f"{name}[{inner}]", member)
    elif isinstance(value, list | tuple):
        for item in value:
            yield from _spread(f"{name}[]", item)
    else:
        yield name, value


def _part(name: str, value: Any) -> bytes:
    if isinstance(value, Upload):
        head = f'Content-Disposition: form-data; name="{_quoted(name)}"; filename="{_quoted(value.name)}"\r\n'
        return f"{head}Content-Type: {value.media_type}\r\n\r\n".encode() + value.content
    text = str(value).lower() if isinstance(value, bool) else str(value)
    head = f'Content-Disposition: form-data; name="{_quoted(name)}"\r\n\r\n'
    return (head + text).encode("utf-8", "replace")


def _quoted(name: str) -> str:
    return name.replace('"', "%22").replace("\r", "%0D").replace("\n", "%0A")
