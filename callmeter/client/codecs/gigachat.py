"""GigaChat: OpenAI's chat of the time when a model could call one function.

`tools` are said as functions, and a function's call is read as that of a tool, unless the caller speaks of functions
too. `functions_state_id`, which GigaChat wants back with a call, is in the message's `provider_specific_fields`.
Source: https://developers.sber.ru/docs/ru/gigachat/api/reference/rest/post-chat
"""

from collections.abc import Mapping, Sequence
from typing import Any

import msgspec
from msgspec import Struct

from callmeter.client.codecs.base import Answer, Frame
from callmeter.client.codecs.messages import JSON, as_dict, parts, plain_messages, refuse, tool_calls
from callmeter.client.codecs.minted import tool_call_id
from callmeter.client.codecs.openai_answer import NOT_READ
from callmeter.client.codecs.openai_chat import OpenAIChat
from callmeter.client.codecs.openai_stream import OpenAIChatDecoder
from callmeter.client.codecs.schemas import wanted
from callmeter.errors import BadRequestError
from callmeter.shapes import Choice, Chunk, Delta, Message, StreamChoice, ToolCall
from callmeter.types import Call, Deployment
from callmeter.wire import WireReply

GIGACHAT_PARAMS = frozenset(
    {"function_call", "functions", "max_completion_tokens", "max_tokens", "n", "reasoning_effort", "response_format"}
    | {"stream", "stream_options", "temperature", "tool_choice", "tools", "top_p", "user"}
)
"""Parameters this wire can carry; `user` is taken for our own account and not sent. Source: as above."""

STATE = "functions_state_id"


class GigaChat(OpenAIChat):
    """`POST {api_base}/chat/completions`."""

    supported: frozenset[str] = GIGACHAT_PARAMS

    def body(self, call: Call, deployment: Deployment) -> JSON:
        """The body. Raises `BadRequestError` for what GigaChat has no words for."""
        plain = super().body(msgspec.structs.replace(call, messages=()), deployment)
        plain["messages"] = _messages(call)
        for name in ("stream_options", "user"):
            plain.pop(name, None)
        if "max_completion_tokens" in plain:
            plain["max_tokens"] = plain.pop("max_completion_tokens")
        if tools := plain.pop("tools", None):
            plain["functions"] = [_function(as_dict(tool, f"tools[{n}]"), n) for n, tool in enumerate(tools)]
        if (choice := _choice(plain.pop("tool_choice", None))) is not None:
            plain["function_call"] = choice
        if (want := wanted(plain.pop("response_format", None))) is not None:
            plain["response_format"] = {"type": "json_schema", "schema": want.schema}
        return plain

    def response(self, reply: WireReply, call: Call, deployment: Deployment) -> Answer:
        """A whole answer. Raises `APIResponseValidationError`, or the error an answer of 200 hides."""
        answer = super().response(reply, call, deployment)
        states = _states(reply.body)
        for choice in answer.completion.choices:
            _as_tools(choice, choice.message, states.get(choice.index), call)
        return answer

    def decoder(self, call: Call, deployment: Deployment) -> "GigaChatDecoder":
        """A fresh decoder for one stream."""
        return GigaChatDecoder(call, deployment)


CODEC = GigaChat()


def _messages(call: Call) -> list[JSON]:
    """The conversation; a function's result is named as its call was."""
    messages = plain_messages(call.messages)
    names = {called.id: called.name for message in messages for called in tool_calls(message)}
    return [_message(message, n, names) for n, message in enumerate(messages)]


def _message(message: JSON, n: int, names: Mapping[str, str]) -> JSON:
    role, content = message.get("role"), message.get("content")
    for part in parts(content):
        if part.get("type") not in ("text", "refusal"):
            raise refuse(part, "GigaChat", "upload the file there, and name its id in the message's attachments")
    text = "".join(part.get("text") or part.get("refusal") or "" for part in parts(content))
    if role in ("tool", "function"):
        name = message.get("name") or names.get(str(message.get("tool_call_id")))
        return {"role": "function", "content": _json(text)} | ({"name": name} if name else {})
    said: JSON = {"role": "system" if role == "developer" else role, "content": text}
    said |= {name: message[name] for name in ("attachments", "function_call") if message.get(name)}
    calls = tool_calls(message)
    if len(calls) > 1:
        raise BadRequestError(f"messages[{n}] has {len(calls)} tool calls: GigaChat makes one at a time.")
    if calls:
        said["function_call"] = {"name": calls[0].name, "arguments": calls[0].arguments}
    notes = message.get("provider_specific_fields") or {}
    return said | ({STATE: notes[STATE]} if notes.get(STATE) else {})


def _json(text: str) -> str:
    """A function's result, which has to be JSON there: any other text becomes a string of it."""
    try:
        msgspec.json.decode(text)
    except NOT_READ:
        return msgspec.json.encode(text).decode()
    return text


def _function(tool: JSON, n: int) -> JSON:
    if tool.get("function") is None:
        raise BadRequestError(f"tools[{n}] is of type {tool.get('type')!r}: GigaChat takes functions only.")
    function = as_dict(tool["function"], f"tools[{n}].function")
    kept = {name: function[name] for name in ("name", "description") if function.get(name) is not None}
    return {**kept, "parameters": function.get("parameters") or {"type": "object", "properties": {}}}


def _choice(given: Any) -> Any:
    match given:
        case None | "auto" | "none":
            return given
        case {"type": "function", "function": {"name": str(name)}}:
            return {"name": name}
    raise BadRequestError(
        f"tool_choice {str(given)[:200]} has no equivalent at GigaChat: use auto, none or a function's name."
    )


class _Said(Struct):
    functions_state_id: str | None = None


class _Choice(Struct):
    index: int = 0
    message: _Said | None = None
    delta: _Said | None = None


class _Wire(Struct):
    choices: list[_Choice] = []


_read = msgspec.json.Decoder(_Wire).decode


def _states(body: bytes) -> dict[int, str]:
    """The state of each choice's functions, of those that have one."""
    if b"functions_state_id" not in body:
        return {}
    try:
        choices = _read(body).choices
    except NOT_READ:
        return {}
    found = ((choice.index, choice.message or choice.delta) for choice in choices)
    return {index: said.functions_state_id for index, said in found if said is not None and said.functions_state_id}


def _as_tools(choice: Choice | StreamChoice, said: Message | Delta, state: str | None, call: Call) -> None:
    """Read a function's call as that of a tool."""
    if state:
        said.provider_specific_fields = {**(said.provider_specific_fields or {}), STATE: state}
    if "functions" in call.params:
        return
    if said.function_call is not None:
        index = 0 if isinstance(said, Delta) else None
        called = ToolCall(id=tool_call_id(call, choice.index), function=said.function_call, index=index)
        said.tool_calls, said.function_call = [called], None
    if choice.finish_reason == "function_call":
        choice.finish_reason = "tool_calls"


class GigaChatDecoder(OpenAIChatDecoder):
    """OpenAI's stream, in which a function's call comes whole."""

    def chunks(self, frame: Frame) -> Sequence[Chunk]:
        """The chunks a frame adds."""
        chunks = super().chunks(frame)
        states = _states(frame.data) if chunks else {}
        for chunk in chunks:
            for choice in chunk.choices:
                _as_tools(choice, choice.delta, states.get(choice.index), self._call)
        return chunks
