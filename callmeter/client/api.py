"""`completion()` and `acompletion()`: from the caller's arguments to an answer, or to a stream."""

from collections.abc import Sequence
from typing import Any, Literal, overload

from callmeter.client.making import make
from callmeter.client.operations import CHAT
from callmeter.client.running import arun, run
from callmeter.client.streaming import AsyncStream, Stream
from callmeter.shapes import Completion


@overload
def completion(model: str, messages: Sequence[Any] = (), *, stream: Literal[True], **params: Any) -> Stream: ...
@overload
def completion(
    model: str, messages: Sequence[Any] = (), *, stream: Literal[False] = ..., **params: Any
) -> Completion: ...
@overload
def completion(model: str, messages: Sequence[Any] = (), **params: Any) -> Any: ...
def completion(model: str, messages: Sequence[Any] = (), **params: Any) -> Any:
    """Ask a model, in OpenAI's format whoever serves it.

    `model` is `"provider/model"`; a bare name is looked up among the known models. Every parameter of OpenAI's chat
    API is taken; one the provider lacks raises `UnsupportedParamsError`, or is left out with `drop_params=True`.
    Parameters nobody knows go into the request body as they are.

    With `stream=True` the result is a `Stream` of `Chunk`s, else a `Completion`.

    About the call itself: `api_key`, `api_base`, `custom_llm_provider`, `headers`; `timeout` (seconds for one attempt,
    or an object with `connect` and `read`), `stream_timeout` (to the first chunk and between chunks), `total_timeout`
    (the whole call); `num_retries` (default 2, on 408, 409, 429, 5xx and lost connections), `fallbacks` (models to try
    next); `metadata` and `tags` (labels); `mock_response` (no provider at all); `input_cost_per_token` and other prices
    of your own, `base_model` (whose price holds); `enable_json_schema_validation` (a plain answer that breaks the
    schema of `response_format` raises `JSONSchemaValidationError`; it is accounted for like any other).

    Raises the errors of `callmeter.errors`; each is also the `openai` package's error of that name if it is loaded.
    """
    return run(make(CHAT, "completion", model, messages, params))


@overload
async def acompletion(
    model: str, messages: Sequence[Any] = (), *, stream: Literal[True], **params: Any
) -> AsyncStream: ...
@overload
async def acompletion(
    model: str, messages: Sequence[Any] = (), *, stream: Literal[False] = ..., **params: Any
) -> Completion: ...
@overload
async def acompletion(model: str, messages: Sequence[Any] = (), **params: Any) -> Any: ...
async def acompletion(model: str, messages: Sequence[Any] = (), **params: Any) -> Any:
    """`completion()` for event loops: the same arguments, results and errors; a stream is read with `async for`."""
    return await arun(make(CHAT, "acompletion", model, messages, params))
