"""Known figures of many kinds, looked up one by one: the price list as a reader of the providers' pages knows it."""

from datetime import UTC, datetime
from decimal import Decimal

import pytest

from callmeter.pricing import PriceBook, Usage
from callmeter.pricing.rates import TOKEN_LINES, unit_of

BOOK = PriceBook()
AT = datetime(2026, 11, 25, 12, tzinfo=UTC)
FIELDS = {
    "input": "input_tokens",
    "cache_read": "cache_read_tokens",
    "cache_write_1h": "cache_write_1h_tokens",
    "audio_in": "input_audio_tokens",
    "image_in": "input_image_tokens",
    "output": "output_tokens",
    "image_out": "output_image_tokens",
}

MILLION = Decimal(10**6)


def printed(provider: str, model: str, line: str, context: int = 0, **where: str) -> Decimal | None:
    """The rate of a line as it is printed: per million tokens or characters, per second, per piece."""
    if line in TOKEN_LINES:
        counts = {FIELDS[line]: 1, "input_tokens": context + (line not in ("output", "image_out"))}
        usage = Usage(**{**counts, "output_tokens": int(line in ("output", "image_out"))})
    else:
        usage = Usage(units={line: 1})
    cost = BOOK.price(model, usage, provider=provider, at=AT, **where)
    rate = next((item.rate for item in cost.items if item.line == line), None)
    return None if rate is None else rate * MILLION if unit_of(line) in ("token", "character") else rate


@pytest.mark.parametrize(
    ("provider", "model", "line", "price"),
    [
        # Chat
        ("gemini", "gemini-2.5-pro", "input", "1.25"),
        ("gemini", "gemini-2.5-pro", "output", "10"),
        ("gemini", "gemini-2.5-flash", "output", "2.5"),
        ("gemini", "gemini-2.5-flash", "audio_in", "1"),
        ("gemini", "gemini-2.5-flash", "image_in", "0.3"),
        ("gemini", "gemini-2.5-flash-lite", "input", "0.1"),
        ("groq", "llama-3.3-70b-versatile", "output", "0.79"),
        ("groq", "openai/gpt-oss-120b", "input", "0.15"),
        ("xai", "grok-4", "output", "15"),
        ("xai", "grok-3-mini", "input", "0.3"),
        ("cohere", "command-r-plus-08-2024", "output", "10"),
        ("cohere", "command-r-08-2024", "input", "0.15"),
        ("mistral", "codestral-latest", "output", "0.9"),
        ("perplexity", "sonar-pro", "output", "15"),
        ("cerebras", "llama3.1-8b", "input", "0.1"),
        ("moonshot", "kimi-k2-0905-preview", "cache_read", "0.15"),
        ("zai", "glm-4.6", "output", "2.2"),
        ("minimax", "MiniMax-M2", "output", "1.2"),
        ("bedrock", "amazon.nova-pro-v1:0", "input", "0.8"),
        ("bedrock", "amazon.nova-lite-v1:0", "output", "0.24"),
        ("bedrock", "us.anthropic.claude-sonnet-4-5-20250929-v1:0", "output", "16.5"),
        ("vertex_ai", "claude-sonnet-4-5@20250929", "output", "15"),
        ("azure", "gpt-4o-2024-11-20", "input", "2.5"),
        ("openrouter", "openai/gpt-4o", "output", "10"),
        ("together_ai", "meta-llama/Llama-3.3-70B-Instruct-Turbo", "input", "0.88"),
        ("sambanova", "Meta-Llama-3.3-70B-Instruct", "output", "1.2"),
        ("databricks", "databricks-meta-llama-3-3-70b-instruct", "output", "1.5"),
        ("dashscope", "qwen-flash", "input", "0.05"),
        # Embeddings and rerank
        ("gemini", "gemini-embedding-001", "input", "0.15"),
        ("openai", "text-embedding-3-small", "input", "0.02"),
        ("voyage", "voyage-3-large", "input", "0.18"),
        ("mistral", "mistral-embed", "input", "0.1"),
        ("bedrock", "amazon.titan-embed-text-v2:0", "input", "0.02"),
        ("cohere", "rerank-v3.5", "rerank", "0.002"),
        # Images by the piece, by size and by token; video
        ("azure", "gpt-image-1", "image.low.1024x1024", "0.011"),
        ("openai", "gpt-image-1", "image_out", "40"),
        ("black_forest_labs", "flux-pro-1.1", "image", "0.04"),
        ("stability", "sd3-large", "image", "0.065"),
        ("recraft", "recraftv3", "image", "0.04"),
        ("openai", "sora-2", "video_second", "0.1"),
        ("gemini", "veo-3.1-generate-preview", "video_second.4k", "0.6"),
        ("runwayml", "gen4_turbo", "video_second", "0.05"),
        # Audio, speech, pages, searches, sessions
        ("openai", "whisper-1", "audio_second", "0.0001"),
        ("openai", "tts-1", "character", "15"),
        ("aws_polly", "neural", "character", "16"),
        ("mistral", "mistral-ocr-2505", "page", "0.001"),
        ("azure_ai", "doc-intelligence/prebuilt-read", "page", "0.0015"),
        ("tavily", "search", "search.web", "0.008"),
        ("gemini", "gemini-2.5-flash", "search.web", "0.035"),
        ("perplexity", "sonar-pro", "search.web.high", "0.014"),
        ("openai", "container", "code_session", "0.03"),
        ("bedrock", "guardrails", "guardrail.topicPolicyUnits", "0.00015"),
    ],
)
def test_a_known_price(provider: str, model: str, line: str, price: str) -> None:
    assert printed(provider, model, line) == Decimal(price)


@pytest.mark.parametrize(
    ("provider", "model", "context", "price"),
    [
        ("gemini", "gemini-2.5-pro", 199_999, "1.25"),
        ("gemini", "gemini-2.5-pro", 200_000, "2.5"),
        # xAI's begins with the 200,000th token, not after it.
        ("xai", "grok-4.20", 199_998, "1.25"),
        ("xai", "grok-4.20", 199_999, "2.5"),
        ("dashscope", "qwen-flash", 256_000, "0.25"),
        ("minimax", "MiniMax-M3", 512_000, "0.6"),
    ],
)
def test_a_longer_context_begins_where_the_provider_has_it(provider: str, model: str, context: int, price: str) -> None:
    # One token more than the context: the one that is looked at.
    assert printed(provider, model, "input", context) == Decimal(price)


@pytest.mark.parametrize(
    ("provider", "model", "where", "price"),
    [
        ("azure", "gpt-4o-2024-11-20", {"region": "eu"}, "11"),
        ("azure", "gpt-4o-2024-11-20", {"region": "eu", "service_tier": "batch"}, "5.5"),
        ("azure", "eu/gpt-4o-2024-11-20", {}, "11"),
        ("vertex_ai", "claude-sonnet-4-5@20250929", {"region": "europe-west1"}, "16.5"),
        ("vertex_ai", "claude-sonnet-4-5@20250929", {"region": "global"}, "15"),
        ("gemini", "gemini-2.5-pro", {"service_tier": "batch"}, "5"),
        ("gemini", "gemini-2.5-pro", {"service_tier": "priority"}, "18"),
        ("groq", "openai/gpt-oss-120b", {"service_tier": "batch"}, "0.3"),
    ],
)
def test_conditions_are_those_of_the_provider(provider: str, model: str, where: dict[str, str], price: str) -> None:
    assert printed(provider, model, "output", **where) == Decimal(price)


def test_an_announced_price_begins_on_its_day() -> None:
    usage = Usage(output_tokens=1_000_000)
    this_year, next_year = (
        BOOK.price("gemini-3.8-flash", usage, provider="gemini", at=at).total
        for at in (datetime(2026, 12, 31, 23, 59, tzinfo=UTC), datetime(2027, 1, 1, tzinfo=UTC))
    )
    assert (this_year, next_year) == (Decimal("3.75"), Decimal("7.5"))


@pytest.mark.parametrize(
    ("day", "price"), [("2025-03-01", "1.1"), ("2025-09-10", "1.68"), ("2025-12-01", "0.42"), ("2026-06-01", "0.28")]
)
def test_a_name_that_moved_from_model_to_model_has_the_price_of_its_day(day: str, price: str) -> None:
    at = datetime.fromisoformat(f"{day}T12:00:00+00:00")
    assert BOOK.price("deepseek-chat", Usage(output_tokens=1_000_000), provider="deepseek", at=at).total == Decimal(
        price
    )


@pytest.mark.parametrize(
    ("name", "maker"),
    [
        ("gpt-4o", "openai"),
        ("claude-sonnet-4-5", "anthropic"),
        ("gemini-2.5-pro", "gemini"),
        ("deepseek-chat", "deepseek"),
        ("mistral-large-latest", "mistral"),
        ("grok-4", "xai"),
        ("qwen-flash", "dashscope"),
    ],
)
def test_a_bare_name_that_many_hosts_offer_means_its_maker(name: str, maker: str) -> None:
    assert BOOK.owner(name) == maker
    assert BOOK.price(name, Usage(input_tokens=1), at=AT).table.startswith(f"{maker}@")


def test_a_bare_name_that_only_hosts_offer_is_ambiguous() -> None:
    cost = BOOK.price("gpt-oss-120b:cloud-of-nobody", Usage(input_tokens=1), at=AT)
    assert cost.total is None
    cost = BOOK.price("meta-llama/Llama-3.3-70B-Instruct", Usage(input_tokens=1), at=AT)
    assert cost.reason.startswith("ambiguous: ")


@pytest.mark.parametrize(
    ("provider", "model"),
    [
        ("openrouter", "meta-llama/llama-3.3-70b-instruct:free"),
        ("lm_studio", "whatever"),
    ],
)
def test_free_is_what_calls_itself_free_or_runs_at_home(provider: str, model: str) -> None:
    assert BOOK.price(model, Usage(input_tokens=5), provider=provider, at=AT).status == "free"


@pytest.mark.parametrize(
    ("provider", "model"), [("github", "openai/gpt-4o"), ("nvidia_nim", "meta/llama3-70b-instruct")]
)
def test_a_zero_that_stands_for_a_trial_is_not_free(provider: str, model: str) -> None:
    assert BOOK.price(model, Usage(input_tokens=5), provider=provider, at=AT).total is None
