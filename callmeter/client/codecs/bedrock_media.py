"""Pictures, documents, video and sound of a message as Converse's blocks.

Bedrock fetches nothing from the Internet: data stands in the request or in a bucket, named by an `s3://` URI.
Source: https://docs.aws.amazon.com/bedrock/latest/APIReference/API_runtime_ContentBlock.html
"""

import re
from collections.abc import Mapping
from typing import Any, NamedTuple

from callmeter.client.codecs.messages import JSON, data_url, refuse
from callmeter.errors import BadRequestError


class Format(NamedTuple):
    """A kind of block, and the name of a format in it."""

    block: str
    name: str


def _formats(block: str, names: str, **others: str) -> dict[str, Format]:
    """A block's formats by their names, and by other endings that mean them."""
    return {ending: Format(block, name) for ending, name in {**{n: n for n in names.split()}, **others}.items()}


ENDINGS = (
    _formats("audio", "mp3 opus wav aac flac ogg mka m4a mpga pcm")
    | _formats("video", "mkv mov mp4 webm flv mpeg mpg wmv three_gp", **{"3gp": "three_gp"})
    | _formats("document", "pdf csv doc docx xls xlsx html txt md", htm="html", markdown="md")
    | _formats("image", "png jpeg gif webp", jpg="jpeg")
)
"""What a file is by the end of its name."""

TYPES = {
    "application/msword": "doc",
    "application/vnd.openxmlformats-officedocument.wordprocessingml.document": "docx",
    "application/vnd.ms-excel": "xls",
    "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet": "xlsx",
    "text/plain": "txt",
    "audio/mpeg": "mp3",
    "audio/x-wav": "wav",
    "audio/mp4": "m4a",
    "video/quicktime": "mov",
    "video/x-matroska": "mkv",
    "video/x-flv": "flv",
    "video/x-ms-wmv": "wmv",
    "video/3gpp": "three_gp",
}
"""Media types whose second half is not the format's name."""

UNNAMED = "Document"
NAME_LENGTH = 200


def image(part: JSON) -> JSON:
    """An `image_url` part. Raises `BadRequestError` for an address, and for a format that Bedrock does not read."""
    return _at(part, "image_url")


def video(part: JSON) -> JSON:
    """A `video_url` part, which OpenAI does not know and its kin do."""
    return _at(part, "video_url")


def audio(part: JSON) -> JSON:
    """An `input_audio` part: base64 and its format."""
    given = part.get("input_audio")
    data = given.get("data") if isinstance(given, Mapping) else None
    if not isinstance(given, Mapping) or not isinstance(data, str) or not data:
        raise refuse(part, "Bedrock", "input_audio.data is missing")
    return {"audio": {"format": str(given.get("format") or "wav"), "source": {"bytes": data}}}


def file(part: JSON, name: str) -> JSON:
    """A `file` part: a document, or whatever its type says it is. `name` is what a document is called."""
    given = part.get("file")
    where = (given.get("file_data") or given.get("file_id")) if isinstance(given, Mapping) else None
    if not isinstance(given, Mapping) or not isinstance(where, str) or not where:
        raise refuse(part, "Bedrock", "file.file_data or file.file_id is missing")
    told = str(given.get("format") or "") or _ending(str(given.get("filename") or ""))
    if (held := data_url(where)) is not None:
        return _block(told if told in ENDINGS else held.media_type or told, {"bytes": held.data}, name)
    if where.startswith("s3://"):
        return _block(told or _ending(where), {"s3Location": {"uri": where}}, name)
    if given.get("file_data") and "://" not in where:
        return _block(told or "pdf", {"bytes": where}, name)
    raise refuse(part, "Bedrock", f"it cannot fetch {where[:100]!r}; pass file_data, or an s3:// URI as file_id")


def document_name(part: JSON, taken: set[str]) -> str:
    """What a file is called: its name in the letters that are allowed, numbered where another has it already."""
    given = part.get("file")
    named = str(given.get("filename") or "") if isinstance(given, Mapping) else ""
    stem = re.sub(r"[^A-Za-z0-9\s\-()\[\]]+", " ", named.rpartition(".")[0] or named)
    stem = " ".join(stem.split())[: NAME_LENGTH - 10] or UNNAMED
    name, number = stem, 1
    while name in taken:
        number += 1
        name = f"{stem} {number}"
    taken.add(name)
    return name


def _at(part: JSON, key: str) -> JSON:
    given = part.get(key)
    url = given.get("url") if isinstance(given, Mapping) else given
    if not isinstance(url, str) or not url:
        raise refuse(part, "Bedrock", f"{key}.url is missing")
    told = str(given.get("format") or "") if isinstance(given, Mapping) else ""
    if (held := data_url(url)) is not None:
        return _block(told or held.media_type, {"bytes": held.data})
    if url.startswith("s3://"):
        return _block(told or _ending(url), {"s3Location": {"uri": url}})
    raise refuse(part, "Bedrock", f"it cannot fetch {url[:100]!r}; pass a data: URL, or an s3:// URI")


def _block(told: str, source: JSON, name: str = UNNAMED) -> JSON:
    """The block for what is told of the format: its name, or a media type."""
    kind, slash, rest = told.lower().partition("/")
    form = ENDINGS.get(TYPES.get(told.lower(), rest if slash else kind))
    if slash and form is not None and kind in ("audio", "video"):
        form = form._replace(block=kind)
    if form is None:
        raise BadRequestError(
            f"Bedrock reads no {told or 'file whose type is not told'}: pass a format of {', '.join(ENDINGS)}"
        )
    body: dict[str, Any] = {"format": form.name, "source": source}
    return {form.block: {**body, "name": name} if form.block == "document" else body}


def _ending(name: str) -> str:
    return name.partition("?")[0].rpartition(".")[2].lower() if "." in name else ""
