"""One candidate of a Gemini answer, read piece by piece.

Source: https://ai.google.dev/api/generate-content#v1beta.Candidate
"""

from base64 import b64decode, b64encode
from binascii import Error as NotBase64
from collections.abc import Callable
from typing import Any

import msgspec

from callmeter.client.codecs.gemini_answer import WireBlob, WireCall, WireCandidate, WirePart, citations, finish_reason
from callmeter.client.codecs.gemini_answer import logprobs as openai_logprobs
from callmeter.client.codecs.gemini_partial import put
from callmeter.client.codecs.messages import JSON
from callmeter.client.codecs.minted import completion_id, tool_call_id
from callmeter.shapes import Delta, Function, StreamChoice, ToolCall
from callmeter.types import Call

_encode = msgspec.json.encode


class Candidate:
    """What a candidate has said so far, as far as later pieces need it."""

    __slots__ = (
        "_audio",
        "_begun",
        "_call",
        "_cited",
        "_code",
        "_images",
        "_index",
        "_length",
        "_made",
        "_notes",
        "_open",
        "_signed",
        "_text",
        "finished",
        "queries",
        "tools",
    )

    def __init__(self, call: Call, index: int, made: Callable[[], int]) -> None:
        self.finished = False
        self.tools = 0
        """Function calls so far."""
        self.queries: list[str] = []
        """What was searched for."""
        self._call = call
        self._index = index
        self._made = made
        self._begun = False
        self._text: list[str] = []
        self._length = 0
        self._signed: list[JSON] = []
        self._code: list[JSON] = []
        self._images = 0
        self._audio: _Audio | None = None
        self._open: _OpenCall | None = None
        self._cited: set[tuple[int, int, str]] = set()
        self._notes: JSON = {}

    def add(self, wire: WireCandidate) -> list[StreamChoice]:
        """The next piece: what it says, and the end if this is it."""
        delta = self._delta(wire)
        said = openai_logprobs(wire.logprobs_result) if wire.logprobs_result else None
        choices: list[StreamChoice] = []
        if delta is not None or said is not None:
            choices.append(self._choice(delta or Delta(), said))
        if notes := wire.notes():
            self._notes |= notes
        if wire.finish_reason and not self.finished:
            choices.append(self._end(wire.finish_reason))
        return choices

    def _delta(self, wire: WireCandidate) -> Delta | None:
        parts = wire.content.parts if wire.content is not None else None
        if parts is not None and len(parts) == 1 and wire.grounding_metadata is None:
            part = parts[0]
            if part.text and not part.thought and part.thought_signature is None:  # nearly every event
                self._text.append(part.text)
                self._length += len(part.text)
                return Delta(content=part.text)
        delta = Delta()
        some = False
        for part in parts or ():
            some |= self._part(part, delta)
        if wire.grounding_metadata is not None:
            some |= self._grounded(wire.grounding_metadata, delta)
        return delta if some else None

    def _part(self, part: WirePart, delta: Delta) -> bool:
        """Put a part into the delta. Returns whether there was anything to put."""
        if part.text is not None:
            return self._said(part.text, part, delta)
        if part.function_call is not None:
            return self._called(part.function_call, part.thought_signature, delta)
        if part.inline_data is not None:
            return not part.thought and self._media(part.inline_data, part.thought_signature, delta)
        ran = {"executableCode": part.executable_code, "codeExecutionResult": part.code_execution_result}
        if found := {name: value for name, value in ran.items() if value is not None}:
            self._code.append(found)
            return self._field(delta, "code_execution", self._code)
        return bool(part.thought_signature) and self._said("", part, delta)

    def _said(self, text: str, part: WirePart, delta: Delta) -> bool:
        start = self._length
        if part.thought:
            delta.reasoning_content = (delta.reasoning_content or "") + text or None
        elif text:
            self._text.append(text)
            self._length += len(text)
            delta.content = (delta.content or "") + text
        if part.thought_signature:
            where: JSON = {"thought": text} if part.thought else {"start": start, "end": self._length}
            self._signed.append({**where, "signature": part.thought_signature})
            return self._field(delta, "thought_signatures", self._signed)
        return bool(text)

    def _field(self, delta: Delta, name: str, items: list[JSON]) -> bool:
        """A field that grows is shown whole each time, since the last word stands."""
        delta.provider_specific_fields = {**(delta.provider_specific_fields or {}), name: list(items)}
        return True

    def _called(self, wire: WireCall, signature: str | None, delta: Delta) -> bool:
        """A function call; one whose arguments come in pieces is told when they are all there."""
        if self._open is not None and (not wire.name or wire.partial_args is not None):
            self._open.add(wire)
        elif wire.will_continue or wire.partial_args is not None:
            self._close(delta)
            self._open = _OpenCall(wire, signature)
        else:
            self._close(delta)
            self._tool(wire.id, wire.name, wire.args, signature, delta)
            return True
        return not wire.will_continue and self._close(delta)

    def _close(self, delta: Delta) -> bool:
        if self._open is None:
            return False
        call, self._open = self._open, None
        self._tool(call.id, call.name, call.arguments, call.signature, delta)
        return True

    def _tool(self, call_id: str | None, name: str | None, args: JSON | None, signature: Any, delta: Delta) -> None:
        made = ToolCall(
            index=self.tools,
            id=call_id or tool_call_id(self._call, self._made()),
            function=Function(name=name, arguments=_encode(args or {}).decode()),
            provider_specific_fields={"thought_signature": signature} if signature else None,
        )
        self.tools += 1
        delta.tool_calls = [*(delta.tool_calls or ()), made]

    def _media(self, blob: WireBlob, signature: str | None, delta: Delta) -> bool:
        if blob.mime_type.startswith("audio/"):
            if self._audio is None:
                self._audio = _Audio(completion_id(self._call), blob.mime_type)
            delta.audio = self._audio.add(blob.data, delta.audio)
            return delta.audio is not None
        image: JSON = {"type": "image_url", "image_url": {"url": f"data:{blob.mime_type};base64,{blob.data}"}}
        image |= {"index": self._images} | ({"thought_signature": signature} if signature else {})
        self._images += 1
        delta.images = [*(delta.images or ()), image]
        return True

    def _grounded(self, grounding: JSON, delta: Delta) -> bool:
        queries = grounding.get("webSearchQueries")
        self.queries += [query for query in queries if isinstance(query, str)] if isinstance(queries, list) else []
        found = list[JSON]()
        for note in citations(grounding, "".join(self._text)):
            link = note["url_citation"]
            key = (link["start_index"], link["end_index"], link["url"])
            if key not in self._cited:
                self._cited.add(key)
                found.append(note)
        if found:
            delta.annotations = found
        return bool(found)

    def _end(self, native: str) -> StreamChoice:
        self.finished = True
        delta = Delta()
        self._close(delta)
        if self._audio is not None:
            delta.audio = self._audio.rest()
        choice = self._choice(delta)
        choice.finish_reason = finish_reason(native, tools_called=self.tools > 0)
        choice.provider_specific_fields = {"native_finish_reason": native, **self._notes}
        return choice

    def _choice(self, delta: Delta, logprobs: Any = None) -> StreamChoice:
        if not self._begun:
            self._begun, delta.role = True, "assistant"
        return StreamChoice(index=self._index, delta=delta, logprobs=logprobs)


class _OpenCall:
    """A function call whose arguments are still coming."""

    __slots__ = ("arguments", "id", "name", "signature")

    def __init__(self, first: WireCall, signature: str | None) -> None:
        self.id, self.name, self.signature = first.id, first.name, signature
        self.arguments: JSON = dict(first.args or {})
        self.add(first)

    def add(self, wire: WireCall) -> None:
        """The next pieces of the arguments."""
        self.id, self.name = self.id or wire.id, self.name or wire.name
        for piece in wire.partial_args or ():
            put(self.arguments, piece)


class _Audio:
    """Sound in pieces, each base64 of its own: put together so that the texts joined are base64 of the whole."""

    __slots__ = ("_head", "_left")

    def __init__(self, audio_id: str, mime_type: str) -> None:
        self._head: JSON = {"id": audio_id, "format": mime_type}
        self._left = b""

    def add(self, data: str, before: JSON | None) -> JSON | None:
        """The next piece, behind what the delta has already: three bytes are four letters, so a rest is kept back."""
        try:
            whole = self._left + b64decode(data)
        except (NotBase64, ValueError):
            raise msgspec.ValidationError("the sound is not base64") from None
        cut = len(whole) - len(whole) % 3
        self._left = whole[cut:]
        if not cut:
            return before
        return {**self._head, "data": ((before or {}).get("data") or "") + b64encode(whole[:cut]).decode()}

    def rest(self) -> JSON | None:
        """What was kept back."""
        data, self._left = b64encode(self._left).decode(), b""
        return {**self._head, "data": data} if data else None
