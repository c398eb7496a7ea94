"""Forms with files, as the fake provider reads them: with the standard library's reader of messages."""

from email.parser import BytesParser
from email.policy import HTTP
from typing import Any

import msgspec


def fields(content_type: str, body: bytes) -> list[tuple[str, str | tuple[str, bytes]]]:
    """The form's fields in order: texts, and files as name and content."""
    head = f"Content-Type: {content_type}\r\nMIME-Version: 1.0\r\n\r\n".encode()
    found: list[tuple[str, str | tuple[str, bytes]]] = []
    for part in BytesParser(policy=HTTP).parsebytes(head + body).iter_parts():
        name = str(part.get_param("name", header="content-disposition"))
        content = part.get_payload(decode=True)
        assert isinstance(content, bytes)
        filename = part.get_filename()
        found.append((name, content.decode() if filename is None else (filename, content)))
    return found


def as_json(content_type: str, body: bytes) -> bytes:
    """The form as an object: repeated names as lists, a file as its name and size."""
    asked: dict[str, Any] = {}
    for name, value in fields(content_type, body):
        if isinstance(value, tuple):
            asked[name] = {"name": value[0], "bytes": len(value[1])}
        elif name.endswith("[]"):
            asked.setdefault(name[:-2], []).append(value)
        else:
            asked[name] = value
    return msgspec.json.encode(asked)
