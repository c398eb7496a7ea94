"""Pictures, sound, video and files of a message as Gemini's `inlineData` and `fileData`.

Gemini fetches public and signed https addresses itself, so nothing is downloaded here.
Source: https://ai.google.dev/gemini-api/docs/file-input-methods
"""

from collections.abc import Mapping
from typing import Any
from urllib.parse import urlsplit

from callmeter.client.codecs.messages import JSON, data_url, refuse
from callmeter.errors import BadRequestError
from callmeter.types import Deployment

FILES = "https://generativelanguage.googleapis.com/v1beta/"
"""Where the Files API's own names (`files/…`) live."""

TYPES = {
    "jpg": "image/jpeg", "jpeg": "image/jpeg", "png": "image/png", "webp": "image/webp", "gif": "image/gif",
    "heic": "image/heic", "heif": "image/heif", "bmp": "image/bmp", "avif": "image/avif",
    "mp3": "audio/mp3", "wav": "audio/wav", "flac": "audio/flac", "ogg": "audio/ogg", "opus": "audio/opus",
    "aac": "audio/aac", "aiff": "audio/aiff", "m4a": "audio/m4a",
    "mp4": "video/mp4", "mov": "video/mov", "mpeg": "video/mpeg", "mpg": "video/mpg", "avi": "video/avi",
    "webm": "video/webm", "wmv": "video/wmv", "flv": "video/x-flv", "3gp": "video/3gpp",
    "pdf": "application/pdf", "txt": "text/plain", "md": "text/md", "html": "text/html", "csv": "text/csv",
    "xml": "text/xml", "rtf": "text/rtf", "css": "text/css", "json": "application/json", "py": "text/x-python",
}  # fmt: skip
"""Types by the end of a name. Source: https://ai.google.dev/gemini-api/docs/file-input-methods"""


def image(part: JSON, deployment: Deployment) -> JSON:
    """An `image_url` part. Raises `BadRequestError` where it has no address, or none whose type can be told."""
    return _at(part, "image_url", deployment)


def video(part: JSON, deployment: Deployment) -> JSON:
    """A `video_url` part, which OpenAI does not know and its kin do."""
    return _at(part, "video_url", deployment)


def audio(part: JSON) -> JSON:
    """An `input_audio` part: base64 and its format, or a data URL."""
    given = part.get("input_audio")
    data = given.get("data") if isinstance(given, Mapping) else None
    if not isinstance(given, Mapping) or not isinstance(data, str) or not data:
        raise refuse(part, "Gemini", "input_audio.data is missing")
    held = data_url(data)
    kind = str(given.get("format") or "wav")
    return _inline(held.media_type if held else TYPES.get(kind, f"audio/{kind}"), held.data if held else data)


def file(part: JSON, deployment: Deployment) -> JSON:
    """A `file` part: uploaded before (`file_id`: a URI or `files/…`), at an address, or in the message."""
    given = part.get("file")
    where = (given.get("file_id") or given.get("file_data")) if isinstance(given, Mapping) else None
    if not isinstance(given, Mapping) or not isinstance(where, str) or not where:
        raise refuse(part, "Gemini", "file.file_id or file.file_data is missing")
    told = given.get("format") or given.get("mime_type") or _type_of(str(given.get("filename") or ""))
    if held := data_url(where):
        return _inline(held.media_type or told or "application/pdf", held.data) | _clip(part, given)
    if where.startswith("files/"):
        where = FILES + where
    if given.get("file_id") or where.startswith(("https://", "http://", "gs://")):
        return _linked(where, told, deployment, "file.format") | _clip(part, given)
    return _inline(told or "application/pdf", where) | _clip(part, given)


def _at(part: JSON, name: str, deployment: Deployment) -> JSON:
    given = part.get(name)
    more: Mapping[str, Any] = given if isinstance(given, Mapping) else {}
    url = more.get("url") if isinstance(given, Mapping) else given
    if not isinstance(url, str) or not url:
        raise refuse(part, "Gemini", f"{name}.url is missing")
    if held := data_url(url):
        return _inline(held.media_type, held.data) | _clip(part, more)
    told = more.get("format") or more.get("mime_type") or part.get("format")
    return _linked(url, told, deployment, f"{name}.format") | _clip(part, more)


def _inline(media_type: str, data: str) -> JSON:
    return {"inlineData": {"mimeType": "image/jpeg" if media_type == "image/jpg" else media_type, "data": data}}


def _linked(url: str, told: Any, deployment: Deployment, where_to_tell: str) -> JSON:
    kind = told or _type_of(url) or ("video/mp4" if _is_youtube(url) else None)
    if kind is None and deployment.provider.startswith("vertex"):
        raise BadRequestError(
            f"Nothing tells the type of {url[:200]!r}, which Vertex AI demands: give it as {where_to_tell}, "
            "as in 'image/png'."
        )
    return {"fileData": ({"mimeType": kind} if kind else {}) | {"fileUri": url}}


def _clip(part: JSON, given: Mapping[str, Any]) -> JSON:
    """Which stretch of a video at how many frames a second, and how finely media are looked at: in Gemini's words."""
    found: JSON = {}
    for theirs, ours in (("videoMetadata", "video_metadata"), ("mediaResolution", "media_resolution")):
        value = next((box[k] for box in (part, given) for k in (theirs, ours) if box.get(k) is not None), None)
        if value is not None:
            found[theirs] = {"level": value} if isinstance(value, str) else value
    return found


def _type_of(name: str) -> str | None:
    return TYPES.get(urlsplit(name).path.rpartition(".")[2].lower()) if "." in name else None


def _is_youtube(url: str) -> bool:
    host = urlsplit(url).hostname or ""
    return host in ("youtu.be", "youtube.com") or host.endswith(".youtube.com")
