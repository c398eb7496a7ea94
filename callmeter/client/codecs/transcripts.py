"""A conversation as one text, for models that complete a prompt and know no messages."""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from callmeter.client.codecs.messages import JSON, parts, plain_messages, refuse
from callmeter.errors import BadRequestError

SPEAKERS = {"user": "User", "assistant": "Assistant"}


class Transcript(NamedTuple):
    """What was said: the instructions, the rest as one prompt, and the images in it."""

    system: str
    prompt: str
    images: tuple[str, ...] = ()


def transcript(messages: Sequence[Any], wire: str, *, sees: bool = False) -> Transcript:
    """The conversation. One question is the prompt itself; more turns are written down with who said them.

    `sees` is whether the wire takes images. Raises `BadRequestError` naming `wire` for tools, and for parts it cannot
    take.
    """
    system: list[str] = []
    turns: list[tuple[str, str]] = []
    images: list[str] = []
    for n, message in enumerate(plain_messages(messages)):
        role = message.get("role")
        if message.get("tool_calls") or role in ("tool", "function"):
            raise BadRequestError(f"{wire} knows no tools, and messages[{n}] is about one: leave it out.")
        texts = [_text(part, images if sees else None, wire) for part in parts(message.get("content"))]
        said = "".join(texts)
        if role in ("system", "developer"):
            system.append(said)
        elif role in SPEAKERS:
            turns.append((SPEAKERS[role], said))
        else:
            raise BadRequestError(f"messages[{n}] has role {role!r}: {wire} knows system, user and assistant.")
    if len(turns) == 1 and turns[0][0] == "User":
        return Transcript("\n\n".join(system), turns[0][1], tuple(images))
    lines = [f"{speaker}: {said}" for speaker, said in turns]
    if turns and turns[-1][0] == "User":
        lines.append("Assistant:")
    return Transcript("\n\n".join(system), "\n\n".join(lines), tuple(images))


def _text(part: JSON, images: list[str] | None, wire: str) -> str:
    match part.get("type"):
        case "text":
            return part.get("text") or ""
        case "image_url" if images is not None:
            image = part.get("image_url")
            images.append(str(image.get("url") if isinstance(image, Mapping) else image))
            return ""
    raise refuse(part, wire, "send text only" if images is None else "use text or image_url")
