"""A conversation in OpenAI's format as Gemini's `systemInstruction` and `contents`.

Source: https://ai.google.dev/api/caching#Content
"""

import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import msgspec

from callmeter.client.codecs.gemini_media import audio, file, image, video
from callmeter.client.codecs.messages import JSON, WireToolCall, as_dict, parts, plain_messages, refuse, tool_calls
from callmeter.errors import BadRequestError
from callmeter.types import Deployment

UNSIGNED = "skip_thought_signature_validator"
"""Stands for the signature of a call that no Gemini 3 made, which it would refuse otherwise.

Source: https://ai.google.dev/gemini-api/docs/thought-signatures
"""

THIRD_GENERATION = re.compile(r"gemini-(?:[3-9]|\d\d|(?:pro|flash|flash-lite)-latest)")
"""Models that think by level and demand signatures on function calls."""

NATIVE_PARTS = frozenset(
    {"inlineData", "inline_data", "fileData", "file_data", "functionCall", "functionResponse"}
    | {"executableCode", "codeExecutionResult", "toolCall", "toolResponse"}
)
"""Gemini's own parts within an OpenAI message: they pass as they are."""


class Conversation(NamedTuple):
    """What goes into the body."""

    system: JSON | None
    contents: list[JSON]


def conversation(messages: Sequence[Any], deployment: Deployment) -> Conversation:
    """Roles that alternate, system text hoisted, the results of one turn's calls together.

    Raises `BadRequestError` for a part or a role that Gemini has no words for, and for a result of an unknown call.
    """
    reader = _Reader(deployment)
    system: list[JSON] = []
    turns: list[tuple[str, list[JSON]]] = []
    for n, message in enumerate(plain_messages(messages)):
        role = message.get("role")
        said = reader.of_role(role, n)(message)
        if role in ("system", "developer"):
            system += said
        elif said:
            _add(turns, "model" if role == "assistant" else "user", said)
    if system and not turns:
        # An instruction alone is a request here and an error there: at least one content is demanded.
        system, turns = [], [("user", system)]
    return Conversation(
        {"parts": system} if system else None, [{"role": role, "parts": said} for role, said in turns if said]
    )


def _add(turns: list[tuple[str, list[JSON]]], role: str, said: list[JSON]) -> None:
    if turns and turns[-1][0] == role:
        turns[-1][1].extend(said)
    else:
        turns.append((role, said))


class _Reader:
    """Reads messages in their order: a tool's result is named by the call that came before it."""

    def __init__(self, deployment: Deployment) -> None:
        self._where = deployment
        self._signs = THIRD_GENERATION.search(deployment.model) is not None
        self._names: dict[str, str] = {}

    def of_role(self, role: Any, n: int) -> Callable[[JSON], list[JSON]]:
        match role:
            case "user" | "system" | "developer":
                return self._said
            case "assistant":
                return self._answered
            case "tool" | "function":
                return self._result
        raise BadRequestError(f"messages[{n}] has role {role!r}: Gemini knows system, user, assistant and tool.")

    def _said(self, message: JSON) -> list[JSON]:
        return [made for part in parts(message.get("content")) for made in self._part(part)]

    def _answered(self, message: JSON) -> list[JSON]:
        content, fields = message.get("content"), message.get("provider_specific_fields")
        signed = [s for s in (fields or {}).get("thought_signatures") or () if isinstance(s, Mapping)]
        said = resigned(content, signed) if isinstance(content, str) and signed else self._said(message)
        return [*said, *self._drawn(message), *self._called(message)]

    def _drawn(self, message: JSON) -> list[JSON]:
        """Images the model made, which it wants back with their signatures to go on from them."""
        shown = [as_dict(item, f"images[{n}]") for n, item in enumerate(message.get("images") or ())]
        return [image(item, self._where) | _signature(item.get("thought_signature")) for item in shown]

    def _called(self, message: JSON) -> list[JSON]:
        calls = tool_calls(message)
        if not calls and message.get("function_call"):
            calls = tool_calls({"tool_calls": [{"function": message["function_call"]}]})
        signatures = [_call_signature(item) for item in message.get("tool_calls") or ()]
        if self._signs and calls and not any(signatures):
            signatures = [UNSIGNED]
        signatures += [""] * (len(calls) - len(signatures))
        return [self._call(call) | _signature(signature) for call, signature in zip(calls, signatures, strict=True)]

    def _call(self, call: WireToolCall) -> JSON:
        self._names[call.id] = call.name
        return {"functionCall": {**_gemini_id(call.id), "name": call.name, "args": call.arguments}}

    def _result(self, message: JSON) -> list[JSON]:
        call_id = str(message.get("tool_call_id") or "")
        name = self._names.get(call_id) or message.get("name")
        if not name:
            raise BadRequestError(
                f"A tool message answers call {call_id!r}, which no earlier message made: "
                "send the assistant message with that tool call, or give the tool message a name."
            )
        texts, media = list[str](), list[JSON]()
        for part in self._said(message):
            if part.keys() == {"text"}:
                texts.append(part["text"])
            else:
                media.append(part)
        answer: JSON = {**_gemini_id(call_id), "name": name, "response": _as_object("".join(texts))}
        return [{"functionResponse": answer | ({"parts": media} if media else {})}]

    def _part(self, part: JSON) -> list[JSON]:
        """A part as Gemini's: none for empty text, which Vertex AI refuses."""
        match part.get("type"):
            case "text" | "input_text" | "output_text":
                return [{"text": part["text"]}] if part.get("text") else []
            case "refusal":
                return [{"text": part["refusal"]}] if part.get("refusal") else []
            case "image_url":
                return [image(part, self._where)]
            case "input_audio":
                return [audio(part)]
            case "video_url":
                return [video(part, self._where)]
            case "file":
                return [file(part, self._where)]
            case None if NATIVE_PARTS & part.keys() or "text" in part:
                return [part]
        raise refuse(part, "Gemini", "use text, image_url, input_audio, video_url or file")


def resigned(content: str, signed: Sequence[Mapping[str, Any]]) -> list[JSON]:
    """A text cut into the parts it came in, so that each signature is back on its own part.

    What was changed since then has no signature: a part that is not there any more is left out.
    """
    found, at = list[JSON](), 0
    for entry in signed:
        signature, thought = _signature(entry.get("signature")), entry.get("thought")
        if isinstance(thought, str):
            found.append({"text": thought, "thought": True} | signature)
            continue
        start, end = entry.get("start"), entry.get("end")
        if not (isinstance(start, int) and isinstance(end, int) and at <= start <= end <= len(content)):
            continue
        found += [{"text": content[at:start]}] if start > at else []
        found.append({"text": content[start:end]} | signature)
        at = end
    return found + ([{"text": content[at:]}] if len(content) > at else [])


def _signature(signature: Any) -> JSON:
    return {"thoughtSignature": signature} if signature and isinstance(signature, str) else {}


def _call_signature(item: Any) -> str:
    """The signature of an earlier call, where our answers keep it or where Google's own OpenAI format does."""
    call = as_dict(item, "A tool call")
    fields, extra = call.get("provider_specific_fields"), call.get("extra_content")
    found = fields.get("thought_signature") if isinstance(fields, Mapping) else None
    google = extra.get("google") if isinstance(extra, Mapping) else None
    return str(found or (google.get("thought_signature") if isinstance(google, Mapping) else None) or "")


def _gemini_id(call_id: str) -> JSON:
    """The id as Gemini gave it; those that begin with `call_` are ours or another's and mean nothing there."""
    return {"id": call_id} if call_id and not call_id.startswith("call_") else {}


def _as_object(text: str) -> JSON:
    """A tool's result as the object that Gemini demands."""
    if text.lstrip()[:1] == "{":
        try:
            value: JSON = msgspec.json.decode(text, type=dict)
        except msgspec.DecodeError:
            return {"result": text}
        return value
    return {"result": text}
