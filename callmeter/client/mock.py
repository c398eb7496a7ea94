"""Answers without a provider: `mock_response`, `mock_tool_calls` and `mock_timeout`.

A mocked call goes the whole way of a real one except for the socket: this transport answers in OpenAI's format, which
is encoded, framed, decoded, priced and published like any other.
"""

import asyncio
import time
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import msgspec

from callmeter import errors
from callmeter.client.ready import ReadyStream
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


JSON = dict[str, Any]


class Mocked(NamedTuple):
    """How an operation is mocked: what is made of a mock and a request's body, as OpenAI's wire has them."""

    body: Callable[["Mock", JSON], bytes]
    events: Callable[["Mock", JSON], Iterator[bytes]] | None = None
    """The pieces of a stream; None for what does not stream."""


def _completion(mock: "Mock", asked: JSON) -> bytes:
    message = {"role": "assistant", "content": mock.text(), "tool_calls": mock.tool_calls}
    choices = [{"index": i, "message": message, "finish_reason": "stop"} for i in range(mock.choices)]
    return msgspec.json.encode({**mock.head(asked, "chat.completion"), "choices": choices, "usage": USAGE})


def _chunks(mock: "Mock", asked: JSON) -> Iterator[bytes]:
    head = mock.head(asked, "chat.completion.chunk")
    deltas: list[JSON] = [{"content": piece} for piece in mock.pieces()]
    deltas[0]["role"] = "assistant"
    if mock.tool_calls:
        deltas.append({"tool_calls": [{"index": i, **call} for i, call in enumerate(mock.tool_calls)]})
    for delta, finish in [*((delta, None) for delta in deltas), ({}, "stop")]:
        choices = [{"index": i, "delta": delta, "finish_reason": finish} for i in range(mock.choices)]
        yield b"data: " + msgspec.json.encode({**head, "choices": choices}) + b"\n\n"
    yield b"data: [DONE]\n\n"


COMPLETION = Mocked(_completion, _chunks)
"""Chat's."""


class Mock(msgspec.Struct, frozen=True, kw_only=True):
    """What a mocked call answers."""

    response: Any = None
    tool_calls: Any = None
    timeout: bool = False
    choices: int = 1
    created: int = 0
    call_id: str = ""
    how: Mocked = COMPLETION

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

    def pieces(self) -> list[str]:
        """The text as a stream brings it; at least one piece."""
        text = self.text()
        return [text[i : i + PIECE] for i in range(0, len(text), PIECE)] or [""]

    def body(self, request: WireRequest) -> bytes:
        """A whole answer."""
        return self.how.body(self, _asked(request))

    def events(self, request: WireRequest) -> Iterator[bytes]:
        """A streamed answer, one event of server-sent events at a time."""
        assert self.how.events is not None
        return self.how.events(self, _asked(request))

    def head(self, asked: JSON, kind: str) -> JSON:
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

    def open(self, request: WireRequest) -> ReadyStream:
        """The mocked answer as a stream."""
        if self._mock.timeout:
            time.sleep(_patience(request))
        _refuse(self._mock, request)
        return ReadyStream(self._mock.events(request))


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

    async def open(self, request: WireRequest) -> ReadyStream:
        """The mocked answer as a stream."""
        if self._mock.timeout:
            await asyncio.sleep(_patience(request))
        _refuse(self._mock, request)
        return ReadyStream(self._mock.events(request))


def _refuse(mock: Mock, request: WireRequest) -> None:
    if mock.timeout:
        raise errors.Timeout(f"mock_timeout: no answer within {_patience(request):g} s")
    error = mock.error()
    if error is not None:
        raise error


def _patience(request: WireRequest) -> float:
    return request.timeouts.total_s or 0.0


def _asked(request: WireRequest) -> JSON:
    """The request's body; nothing of a form, which no mock looks at."""
    asked: JSON = msgspec.json.decode(request.body) if request.body[:1] == b"{" else {}
    return asked
