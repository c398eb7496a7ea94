"""A conversation in OpenAI's format as Converse's `system` and `messages`.

Source: https://docs.aws.amazon.com/bedrock/latest/APIReference/API_runtime_Message.html
"""

import re
from base64 import b64encode
from collections.abc import Callable, Iterable, Mapping, Sequence
from hashlib import blake2b
from typing import Any, NamedTuple

from callmeter.client.codecs import bedrock_media
from callmeter.client.codecs.messages import JSON, Turns, add_turn, parts, plain_messages, refuse, tool_calls
from callmeter.errors import BadRequestError

NATIVE = frozenset(
    {"text", "image", "document", "video", "audio", "toolUse", "toolResult", "guardContent", "cachePoint"}
    | {"reasoningContent", "citationsContent", "searchResult", "toolAddition", "toolRemoval"}
)
"""Converse's own blocks within an OpenAI message, told by the one member they have: they pass as they are."""

READ_ALONG = "See the attached document."
"""Said where nothing else is: a document is refused in a message without text."""

ID_LENGTH = 64
"""Of a tool call's id, at most."""


class Conversation(NamedTuple):
    """What goes into the body, and the tools that earlier answers called."""

    system: list[JSON]
    messages: list[JSON]
    called: tuple[str, ...]


def conversation(messages: Sequence[Any]) -> Conversation:
    """Roles that alternate, system text hoisted, the results of one turn's calls together and first.

    Raises `BadRequestError` for a part or a role that Converse has no block for.
    """
    reader = _Reader()
    system: list[JSON] = []
    turns: Turns = []
    for n, message in enumerate(plain_messages(messages)):
        role = message.get("role")
        blocks = reader.of_role(role, n)(message)
        if role in ("system", "developer"):
            system += blocks
        elif blocks:
            add_turn(turns, "assistant" if role == "assistant" else "user", blocks, _is_result)
    if system and not turns:
        # An instruction alone is a request here and an error there: at least one message is demanded.
        system, turns = [], [("user", system)]
    _trim_prefill(turns)
    said = [{"role": role, "content": _settled(_with_text(blocks))} for role, blocks in turns]
    return Conversation(system, said, tuple(reader.called))


class _Reader:
    """Reads messages in their order, for no two documents may have one name."""

    def __init__(self) -> None:
        self.called: dict[str, None] = {}
        self._named: set[str] = set()

    def of_role(self, role: Any, n: int) -> Callable[[JSON], list[JSON]]:
        match role:
            case "user" | "system" | "developer":
                return self._said
            case "assistant":
                return self._answered
            case "tool":
                return self._result
        raise BadRequestError(f"messages[{n}] has role {role!r}: Bedrock knows system, user, assistant and tool.")

    def _said(self, message: JSON) -> list[JSON]:
        return [*self._blocks(message.get("content")), *point(message.get("cache_control"))]

    def _blocks(self, content: Any) -> list[JSON]:
        return [block for part in parts(content) for block in (*self._block(part), *point(part.get("cache_control")))]

    def _block(self, part: JSON) -> Iterable[JSON]:
        """A part as a block: none for text that is blank, which is refused."""
        match part.get("type"):
            case "text" | "refusal" as kind:
                text = part.get(kind)
                return [{"text": text}] if isinstance(text, str) and text.strip() else []
            case "guarded_text":
                return [{"guardContent": {"text": {"text": part.get("text") or ""}}}]
            case "image_url":
                return [bedrock_media.image(part)]
            case "video_url":
                return [bedrock_media.video(part)]
            case "input_audio":
                return [bedrock_media.audio(part)]
            case "file":
                return [bedrock_media.file(part, bedrock_media.document_name(part, self._named))]
            case None if len(part) == 1 and not NATIVE.isdisjoint(part):
                return [part]
        raise refuse(part, "Bedrock", "use text, image_url, video_url, input_audio or file")

    def _answered(self, message: JSON) -> list[JSON]:
        if message.get("function_call"):
            raise BadRequestError("An assistant message has function_call: Bedrock needs tool_calls, which have ids.")
        thought = [block for given in message.get("thinking_blocks") or () for block in _thought(given)]
        calls = tool_calls(message)
        self.called |= dict.fromkeys(call.name for call in calls)
        used = [
            {"toolUse": {"toolUseId": safe_id(call.id), "name": call.name, "input": call.arguments}} for call in calls
        ]
        return [*thought, *self._blocks(message.get("content")), *used, *point(message.get("cache_control"))]

    def _result(self, message: JSON) -> list[JSON]:
        told: JSON = {
            "toolUseId": safe_id(str(message.get("tool_call_id") or "")),
            "content": [block for block in self._blocks(message.get("content")) if "cachePoint" not in block],
        }
        if message.get("is_error"):
            told["status"] = "error"
        return [{"toolResult": told}, *point(message.get("cache_control"))]


def _thought(block: Mapping[str, Any]) -> list[JSON]:
    """An answer's thinking as it came; what nobody signed is not taken back."""
    if block.get("data"):
        return [{"reasoningContent": {"redactedContent": b64encode(unredacted(block["data"])).decode()}}]
    if not block.get("signature"):
        return []
    text = {"text": block.get("thinking") or "", "signature": block["signature"]}
    return [{"reasoningContent": {"reasoningText": text}}]


def redacted(data: bytes) -> str:
    """Thinking that only its maker can read, as Anthropic's own format has it: text, where it is bytes here."""
    return data.decode("utf-8", "surrogateescape")


def unredacted(data: str) -> bytes:
    """The bytes of `redacted`."""
    return data.encode("utf-8", "surrogateescape")


def point(mark: Any) -> list[JSON]:
    """The cache point that stands behind what has this `cache_control`; none for none."""
    if not isinstance(mark, Mapping):
        return []
    life = {"ttl": mark["ttl"]} if mark.get("ttl") else {}
    return [{"cachePoint": {"type": "default", **life}}]


def _settled(blocks: list[JSON]) -> list[JSON]:
    """The blocks with their cache points where they are taken: not behind a document or a video, and not first."""
    settled: list[JSON] = []
    for block in blocks:
        if "cachePoint" not in block:
            settled.append(block)
            continue
        at = len(settled)
        while at and not {"document", "video"}.isdisjoint(settled[at - 1]):
            at -= 1
        if at and "cachePoint" not in settled[at - 1]:
            settled.insert(at, block)
    return settled


def _with_text(blocks: list[JSON]) -> list[JSON]:
    documents = [at for at, block in enumerate(blocks) if "document" in block]
    if not documents or any("text" in block for block in blocks):
        return blocks
    behind = documents[-1] + 1
    return [*blocks[:behind], {"text": READ_ALONG}, *blocks[behind:]]


def _trim_prefill(turns: Turns) -> None:
    """An answer begun for the model may not end in white space."""
    if turns and turns[-1][0] == "assistant" and "text" in turns[-1][1][-1]:
        turns[-1][1].append({"text": turns[-1][1].pop()["text"].rstrip()})


def _is_result(block: JSON) -> bool:
    return "toolResult" in block


def safe_id(call_id: str) -> str:
    """A tool call's id in Bedrock's alphabet and length, the same for the call and for its result."""
    safe = re.sub(r"[^a-zA-Z0-9_.:-]", "_", call_id)
    return safe if len(safe) <= ID_LENGTH else blake2b(call_id.encode(), digest_size=24).hexdigest()
