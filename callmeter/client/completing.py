"""A text to complete as a chat, for models that only chat."""

from typing import Any

from msgspec.structs import replace

from callmeter.client.operations import TEXT_COMPLETION
from callmeter.client.params import OPENAI_CHAT_PARAMS
from callmeter.errors import BadRequestError
from callmeter.types import Call


def as_chat(call: Call) -> Call:
    """The call with its prompt as a user's message. What completions know and chat does not stays a parameter.

    Raises `BadRequestError` for a prompt that is more than one text, or tokens.
    """
    given = {**call.params, **call.extra}
    messages = [{"role": "user", "content": _text(given.pop("prompt", ""))}]
    # Completions say how many alternatives, chat whether there are any, and how many.
    alternatives = given.get("logprobs")
    if type(alternatives) is int:
        given["logprobs"] = True
        if alternatives:
            given["top_logprobs"] = alternatives
    known = OPENAI_CHAT_PARAMS | TEXT_COMPLETION.params
    return replace(
        call,
        messages=messages,
        params={name: value for name, value in given.items() if name in known},
        extra={name: value for name, value in given.items() if name not in known},
    )


def _text(prompt: Any) -> str:
    one = prompt[0] if isinstance(prompt, list | tuple) and len(prompt) == 1 else prompt
    if not isinstance(one, str):
        raise BadRequestError(
            f"prompt is {str(prompt)[:80]!r}: a model that only chats completes one text a call. Pass a string, make a "
            "call for each, or name a model that completes text"
        )
    return one
