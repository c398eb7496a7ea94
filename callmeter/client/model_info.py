"""What is known about models: limits, abilities and prices, under the names and in the shapes of LiteLLM's helpers."""

from collections.abc import Callable, Iterator, Mapping, MutableMapping
from typing import Any

from callmeter.client.resolve import get_supported_openai_params
from callmeter.errors import ModelNotMappedError
from callmeter.pricing import PriceBook, Usage, default_book, map_entry, price_map
from callmeter.pricing.compat import register_model
from callmeter.pricing.table import FEATURES


def get_model_info(model: str, custom_llm_provider: str | None = None, **_: Any) -> dict[str, Any]:
    """All that is known about a model: limits in tokens, prices in USD a unit, `supports_…`; None where not known.

    The prices are those in force now. Raises `ModelNotMappedError` for a model the table does not have.
    """
    found = _entry(default_book(), model, custom_llm_provider)
    if found is None:
        raise ModelNotMappedError(
            f"This model isn't mapped yet. model={model}, custom_llm_provider={custom_llm_provider}. Give its prices "
            "and limits to register_model"
        )
    provider = found["litellm_provider"]
    params = get_supported_openai_params(model, custom_llm_provider or provider or None)
    return {**_NOTHING_KNOWN, "key": model, **found, "supported_openai_params": params}


def get_max_tokens(model: str) -> int | None:
    """The most tokens the model can answer with; None where that is not known.

    Raises `ModelNotMappedError` for a model the table does not have.
    """
    limit: int | None = get_model_info(model)["max_tokens"]
    return limit


def _helper(feature: str, about: str) -> Callable[..., bool]:
    def supports(model: str, custom_llm_provider: str | None = None) -> bool:
        found = _entry(default_book(), model, custom_llm_provider) if isinstance(model, str) else None
        return found is not None and found.get(f"supports_{feature}") is True

    supports.__name__ = supports.__qualname__ = f"supports_{feature}"
    supports.__doc__ = f"Whether the model {about}. False for a model that is not known; nothing is raised."
    return supports


supports_audio_input = _helper("audio_input", "hears audio")
supports_audio_output = _helper("audio_output", "speaks")
supports_computer_use = _helper("computer_use", "uses a computer")
supports_embedding_image_input = _helper("embedding_image_input", "embeds images")
supports_function_calling = _helper("function_calling", "calls tools")
supports_native_streaming = _helper("native_streaming", "streams by itself")
supports_parallel_function_calling = _helper("parallel_function_calling", "calls several tools at once")
supports_pdf_input = _helper("pdf_input", "reads PDF files")
supports_prompt_caching = _helper("prompt_caching", "keeps prompts in a cache")
supports_reasoning = _helper("reasoning", "reasons before it answers")
supports_response_schema = _helper("response_schema", "answers in a JSON schema")
supports_system_messages = _helper("system_messages", "takes system messages")
supports_tool_choice = _helper("tool_choice", "can be told which tool to call")
supports_url_context = _helper("url_context", "reads addresses in its prompt")
supports_video_input = _helper("video_input", "watches video")
supports_vision = _helper("vision", "sees images")
supports_web_search = _helper("web_search", "searches the web")

_NOTHING_KNOWN: Mapping[str, Any] = dict.fromkeys(
    (
        *("max_tokens", "max_input_tokens", "max_output_tokens"),
        *sorted(key for key in price_map.KEYS if "_above_" not in key or key.endswith("_above_1hr")),
        *(f"supports_{feature}" for feature in sorted(FEATURES)),
    )
)


def _entry(book: PriceBook, model: str, provider: str | None) -> dict[str, Any] | None:
    """The model's entry in the price map's form; what was registered for it is told as it was given."""
    given = book.price_map.get(model)
    known = book.model(model, provider)
    if known is not None:
        home = provider or _home(book, model)
        return {**map_entry.entry(known, home, book.now_ns()), **(given or {})}
    if given is not None:
        return {"litellm_provider": provider or "", "mode": "chat", **given}
    if book.price(model, Usage(), provider=provider).status == "free":
        free = {"input_cost_per_token": 0.0, "output_cost_per_token": 0.0}
        return {"litellm_provider": provider or _home(book, model), "mode": "chat", **free}
    return None


def _home(book: PriceBook, model: str) -> str:
    prefix, slash, _ = model.partition("/")
    return prefix if slash and book.sells(prefix) else book.owner(model) or ""


class ModelCost(MutableMapping[str, dict[str, Any]]):
    """The price table as LiteLLM's `model_cost`: name to entry, read when asked for. Setting an entry registers it.

    A model is found under every name a call may use; in iterating, `name` where one provider alone offers it, else
    `provider/name`. Entries are copies.
    """

    def __init__(self, book: PriceBook | None = None) -> None:
        self._given = book

    @property
    def _book(self) -> PriceBook:
        return self._given or default_book()

    def __getitem__(self, name: str) -> dict[str, Any]:
        found = _entry(self._book, name, None) if isinstance(name, str) else None
        if found is None:
            raise KeyError(name)
        return found

    def __setitem__(self, name: str, entry: dict[str, Any]) -> None:
        register_model({name: entry}, book=self._book)

    def __delitem__(self, name: str) -> None:
        raise TypeError(f"prices are not taken away: {name!r} stays; register_model replaces it")

    def __iter__(self) -> Iterator[str]:
        book = self._book
        listed = {
            model.id if book.owner(model.id) == provider else f"{provider}/{model.id}": None
            for provider in book.providers()
            for model in book.models(provider)
        }
        return iter(listed | dict.fromkeys(book.price_map))

    def __len__(self) -> int:
        return sum(1 for _ in self)

    def __repr__(self) -> str:
        return f"<model_cost of {len(self)} models>"


model_cost = ModelCost()
