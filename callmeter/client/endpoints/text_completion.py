"""`text_completion()` and `atext_completion()`: a text continued, in OpenAI's legacy format."""

from collections.abc import Sequence
from typing import Any, Literal, overload

from callmeter.client.codecs.openai_text import text_chunk
from callmeter.client.making import make
from callmeter.client.operations import TEXT_COMPLETION, shown
from callmeter.client.running import arun, run
from callmeter.client.streaming import AsyncStream, Stream
from callmeter.client.views import AsyncStreamView, StreamView
from callmeter.shapes import TextCompletion

Prompt = str | Sequence[Any]
"""A text, texts, tokens, or lists of tokens."""


@overload
def text_completion(
    prompt: Prompt, model: str, *, stream: Literal[True], **params: Any
) -> StreamView[TextCompletion]: ...
@overload
def text_completion(prompt: Prompt, model: str, *, stream: Literal[False] = ..., **params: Any) -> TextCompletion: ...
@overload
def text_completion(prompt: Prompt, model: str, **params: Any) -> Any: ...
def text_completion(prompt: Prompt, model: str, **params: Any) -> Any:
    """Have a text continued: `choices[0].text`, in OpenAI's legacy format whoever serves it.

    `prompt` is a text, a list of texts, a list of tokens or a list of such lists. Models that only chat are asked by
    chat; they take one text, and `best_of`, `echo` and `suffix` raise `UnsupportedParamsError` there.

    With `stream=True` the result is a stream of `TextCompletion`s, each a piece. Everything about the call itself is as
    in `completion()`, mocks included, and so are the errors.
    """
    answer = run(make(TEXT_COMPLETION, "text_completion", model, (), {"prompt": prompt, **params}))
    if isinstance(answer, Stream):
        return StreamView(answer, text_chunk)
    return shown(TEXT_COMPLETION.name, answer)


@overload
async def atext_completion(
    prompt: Prompt, model: str, *, stream: Literal[True], **params: Any
) -> AsyncStreamView[TextCompletion]: ...
@overload
async def atext_completion(
    prompt: Prompt, model: str, *, stream: Literal[False] = ..., **params: Any
) -> TextCompletion: ...
@overload
async def atext_completion(prompt: Prompt, model: str, **params: Any) -> Any: ...
async def atext_completion(prompt: Prompt, model: str, **params: Any) -> Any:
    """`text_completion()` for event loops: the same arguments, results and errors; streams are read by `async for`."""
    answer = await arun(make(TEXT_COMPLETION, "atext_completion", model, (), {"prompt": prompt, **params}))
    return (
        AsyncStreamView(answer, text_chunk) if isinstance(answer, AsyncStream) else shown(TEXT_COMPLETION.name, answer)
    )
