"""Answers without a provider: `mock_response`, `mock_tool_calls` and `mock_timeout`.

A mocked call goes the whole way of a real one except for the socket: this transport answers in OpenAI's format, which
is encoded, framed, decoded, priced and published like any other.
"""

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from typing import Any

import msgspec

from callmeter import errors
from callmeter.wire import WireReply, WireRequest

PIECE = 3
"""Characters in each delta of a mocked stream."""

USAGE = {"prompt_tokens": 10, "completion_tokens": 20, "total_tokens": 30}
"""What a mocked plain answer reports, whatever its text; a mocked stream reports none and is counted."""

MAGIC = {
    "litellm.RateLimitError": errors.RateLimitError,
    "litellm.InternalServerError": errors.InternalServerError,
    "litellm.ContextWindowExceededError": errors.ContextWindowExceededError,
    "Exception: content_filter_policy": errors.BadRequestError,
}


Written = Callable[["Mock", dict[str, Any]], bytes]
"""Writes the body of a mocked answer to a request's body, both as OpenAI's wire of the operation has them."""


def completion_body(mock: "Mock", asked: dict[str, Any]) -> bytes:
    """A whole answer of chat."""
    message = {"role": "assistant", "content": mock.text(), "tool_calls": mock.tool_calls}
    choices = [{"index": i, "message": message, "finish_reason": "stop"} for i in range(mock.choices)]
    return msgspec.json.encode({**mock.head(asked, "chat.completion"), "choices": choices, "usage": USAGE})


class Mock(msgspec.Struct, frozen=True, kw_only=True):
    """What a mocked call answers."""

    response: Any = None
    tool_calls: Any = None
    timeout: bool = False
    choices: int = 1
    created: int = 0
    written: Written = completion_body

    def error(self) -> errors.APIError | None:
        """The error this call is to end in, if any."""
        if isinstance(self.response, errors.APIError):
            return self.response
        if isinstance(self.response, Exception):
            return errors.InternalServerError(str(self.response))
        if isinstance(self.response, str) and self.response in MAGIC:
            return MAGIC[self.response](f"mock_response={self.response!r}")
        return None

    def text(self) -> str:
        """The answer's text."""
        return "This is a mock request" if self.response is None else str(self.response)

    def body(self, request: WireRequest) -> bytes:
        """A whole answer."""
        return self.written(self, _asked(request))

    def events(self, request: WireRequest) -> Iterator[bytes]:
        """A streamed answer, one event of server-sent events at a time."""
        head, text = self.head(_asked(request), "chat.completion.chunk"), self.text()
        deltas: list[dict[str, Any]] = [{"content": text[i : i + PIECE]} for i in range(0, len(text), PIECE)]
        deltas = deltas or [{"content": ""}]
        deltas[0]["role"] = "assistant"
        if self.tool_calls:
            deltas.append({"tool_calls": [{"index": i, **call} for i, call in enumerate(self.tool_calls)]})
        for delta, finish in [*((delta, None) for delta in deltas), ({}, "stop")]:
            choices = [{"index": i, "delta": delta, "finish_reason": finish} for i in range(self.choices)]
            yield b"data: " + msgspec.json.encode({**head, "choices": choices}) + b"\n\n"
        yield b"data: [DONE]\n\n"

    def head(self, asked: Mapping[str, Any], kind: str) -> dict[str, Any]:
        """What every answer and chunk of chat begins with."""
        return {"object": kind, "created": self.created, "model": asked["model"]}


class MockTransport:
    """Answers blocking calls."""

    def __init__(self, mock: Mock) -> None:
        self._mock = mock

    def send(self, request: WireRequest) -> WireReply:
        """The mocked answer, error or timeout."""
        if self._mock.timeout:
            time.sleep(_patience(request))
        _refuse(self._mock, request)
        return WireReply(status=200, body=self._mock.body(request))

    def open(self, request: WireRequest) -> "MockStream":
        """The mocked answer as a stream."""
        if self._mock.timeout:
            time.sleep(_patience(request))
        _refuse(self._mock, request)
        return MockStream(self._mock.events(request))


class AsyncMockTransport:
    """Answers awaited calls."""

    def __init__(self, mock: Mock) -> None:
        self._mock = mock

    async def send(self, request: WireRequest) -> WireReply:
        """The mocked answer, error or timeout."""
        if self._mock.timeout:
            await asyncio.sleep(_patience(request))
        _refuse(self._mock, request)
        return WireReply(status=200, body=self._mock.body(request))

    async def open(self, request: WireRequest) -> "MockStream":
        """The mocked answer as a stream."""
        if self._mock.timeout:
            await asyncio.sleep(_patience(request))
        _refuse(self._mock, request)
        return MockStream(self._mock.events(request))


class MockStream:
    """An opened answer made of ready pieces, for both kinds of reader."""

    status = 200
    headers: Mapping[str, str] = {}

    def __init__(self, pieces: Iterator[bytes]) -> None:
        self._pieces = pieces

    def __iter__(self) -> Iterator[bytes]:
        return self._pieces

    async def __aiter__(self) -> AsyncIterator[bytes]:
        for piece in self._pieces:
            yield piece

    def close(self) -> None:
        """Nothing to close."""

    async def aclose(self) -> None:
        """Nothing to close."""


def _refuse(mock: Mock, request: WireRequest) -> None:
    if mock.timeout:
        raise errors.Timeout(f"mock_timeout: no answer within {_patience(request):g} s")
    error = mock.error()
    if error is not None:
        raise error


def _patience(request: WireRequest) -> float:
    return request.timeouts.total_s or 0.0


def _asked(request: WireRequest) -> dict[str, Any]:
    asked: dict[str, Any] = msgspec.json.decode(request.body)
    return asked
