"""The calls of `callmeter demo`: real requests over HTTP to providers that listen on loopback ports."""

from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import callmeter
from callmeter.testing import FakeProvider

QUESTION = [{"role": "user", "content": "How much did we spend on models last week?"}]

WEATHER = {
    "type": "function",
    "function": {
        "name": "get_weather",
        "description": "The weather in a city",
        "parameters": {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]},
    },
}

TRAFFIC = (
    (374, 44), (396, 109), (879, 55), (91, 16), (91, 16), (381, 84), (1313, 142), (388, 84), (242, 14), (209, 152),
    (394, 124), (394, 59), (1315, 174), (2221, 15), (389, 90), (415, 106), (120, 12), (369, 74), (206, 162),
    (1353, 142), (197, 152), (181, 154), (388, 54), (4085, 62),
)  # fmt: skip
"""Prompt and completion tokens of real requests: the first 24 of the conversations in Azure LLM inference trace 2023.

Source: https://github.com/Azure/AzurePublicDataset, CC BY 4.0; Patel et al., "Splitwise", ISCA 2024.
"""

PEOPLE = ("ada", "grace", "katherine")
MODELS = ("gpt-4o", "anthropic/claude-sonnet-4-5", "gpt-4o-mini", "ollama/llama3.2")


class Providers(NamedTuple):
    """One server for each wire format."""

    openai: FakeProvider
    anthropic: FakeProvider
    ollama: FakeProvider

    def ask(self, model: str, **params: Any) -> Any:
        """`completion()` at the server that has the model."""
        return callmeter.completion(**{"messages": QUESTION, **self.at(model), **params})

    def at(self, model: str) -> dict[str, Any]:
        """The model with its server's address, as `completion()` and its `fallbacks` take them."""
        if model.startswith("anthropic/"):
            return {"model": model, "api_base": self.anthropic.url, "api_key": "sk-ant-demo"}
        if model.startswith("ollama/"):
            return {"model": model, "api_base": self.ollama.url}
        return {"model": model, "api_base": self.openai.openai_base, "api_key": "sk-demo"}


def play(providers: Providers) -> Iterator[tuple[str, str]]:
    """Make the calls; after each, what was asked of whom and what came of it."""
    for labels, scene in _SCENES:
        with callmeter.tags(**labels):
            yield scene(providers)


def _plain(providers: Providers) -> tuple[str, str]:
    answer = providers.ask("gpt-4o", user="ada")
    return "gpt-4o", f"answered: {answer.choices[0].message.content[:40]}…"


def _streamed(providers: Providers) -> tuple[str, str]:
    chunks = list(providers.ask("anthropic/claude-sonnet-4-5", stream=True, user="grace"))
    return "claude-sonnet-4-5", f"streamed its answer in {len(chunks)} chunks"


def _cached(providers: Providers) -> tuple[str, str]:
    tokens = {"prompt_tokens": 12_000, "completion_tokens": 310, "cached_tokens": 9_000, "cache_write_1h_tokens": 2_000}
    answer = providers.ask("anthropic/claude-sonnet-4-5", user="grace", x_fake=tokens)
    return "claude-sonnet-4-5", f"read {answer.usage.prompt_tokens_details.cached_tokens:,} tokens from its cache"


def _local(providers: Providers) -> tuple[str, str]:
    for _ in providers.ask("ollama/llama3.2", stream=True, user="katherine"):
        pass
    return "llama3.2", "streamed from a local server, which costs nothing"


def _tools(providers: Providers) -> tuple[str, str]:
    asked = [{"role": "user", "content": "Will it rain in Oslo?"}]
    message = providers.ask("gpt-4o", messages=asked, tools=[WEATHER], user="ada").choices[0].message
    call = message.tool_calls[0]
    result = {"role": "tool", "tool_call_id": call.id, "content": '{"rain": true}'}
    providers.ask("gpt-4o", messages=[*asked, message, result], tools=[WEATHER], user="ada")
    return "gpt-4o", f"called {call.function.name}({call.function.arguments}) and answered with its result"


def _limited(providers: Providers) -> tuple[str, str]:
    providers.openai.answer(429, headers={"retry-after": "0.1"})
    providers.ask("gpt-4o-mini", user="ada")
    return "gpt-4o-mini", "was told 429, waited as long as Retry-After said, and was answered"


def _refused(providers: Providers) -> tuple[str, str]:
    providers.openai.answer(401)
    try:
        providers.ask("gpt-4o", user="grace")
    except callmeter.AuthenticationError as error:
        return "gpt-4o", f"raised {type(error).__name__}: the key is refused"
    raise AssertionError("a refused key has to raise")


def _fallback(providers: Providers) -> tuple[str, str]:
    providers.anthropic.answer(529, times=1)
    answer = providers.ask(
        "anthropic/claude-sonnet-4-5", num_retries=0, fallbacks=[providers.at("gpt-4o-mini")], user="katherine"
    )
    return "claude-sonnet-4-5", f"was overloaded; {answer.model} answered in its place"


def _cancelled(providers: Providers) -> tuple[str, str]:
    stream = providers.ask("gpt-4o", stream=True, user="ada", x_fake={"prompt_tokens": 374, "completion_tokens": 400})
    for _ in range(5):
        next(stream)
    stream.close()
    return "gpt-4o", "was streaming when its reader left after 5 chunks"


def _unpriced(providers: Providers) -> tuple[str, str]:
    providers.ask("openai/acme-tuned-7b", user="grace")
    return "acme-tuned-7b", "answered, and nobody knows its price"


def _traffic(providers: Providers) -> tuple[str, str]:
    for at, (prompt, completion) in enumerate(TRAFFIC):
        wish = {"prompt_tokens": prompt, "completion_tokens": completion}
        answer = providers.ask(MODELS[at % len(MODELS)], stream=at % 3 == 0, user=PEOPLE[at % len(PEOPLE)], x_fake=wish)
        if at % 3 == 0:
            list(answer)
    return "four models", f"{len(TRAFFIC)} calls with the token counts of real conversations (Azure trace, CC BY 4.0)"


_SEARCH = {"project": "search", "feature": "answers"}
_SUPPORT = {"project": "support", "feature": "chat"}

_SCENES: tuple[tuple[dict[str, str], Callable[[Providers], tuple[str, str]]], ...] = (
    (_SEARCH, _plain),
    (_SUPPORT, _streamed),
    (_SUPPORT, _cached),
    (_SEARCH, _local),
    (_SUPPORT, _tools),
    (_SEARCH, _limited),
    (_SEARCH, _refused),
    (_SUPPORT, _fallback),
    (_SUPPORT, _cancelled),
    (_SEARCH, _unpriced),
    (_SUPPORT, _traffic),
)
