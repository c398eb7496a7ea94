"""The provider table: every row can be called as it says, and says what it lacks when it cannot."""

import json
from collections.abc import Iterator
from typing import Any
from urllib.parse import urlsplit

import pytest

import callmeter
from callmeter.client import codecs
from callmeter.client.params import OPENAI_CHAT_PARAMS
from callmeter.client.providers import BY_NAME, KEYWORDS, PROVIDERS, Provider
from callmeter.client.resolve import deployment, provider_of
from callmeter.errors import AuthenticationError, BadRequestError, UnsupportedParamsError
from callmeter.testing import FakeProvider, capture_events
from callmeter.types import Call

M = [{"role": "user", "content": "Hi"}]

PENDING = {"voyage"}
"""Wires that rows name and that are not written yet."""

SHAPED = [row for row in PROVIDERS if row.codec == "openai_chat" and "chat" in row.serves]


@pytest.fixture
def provider() -> Iterator[FakeProvider]:
    with FakeProvider() as server, capture_events():
        yield server


def filled(row: Provider) -> dict[str, str]:
    """An environment in which nothing that the row wants is missing."""
    wanted = {variable.env[0]: f"the-{name}" for name, variable in row.variables.items() if variable.env}
    if row.base_url.startswith("{"):
        wanted = {name: f"https://{value}.example" for name, value in wanted.items()}
    return wanted | dict.fromkeys(row.key_env[:1], "k-secret")


def test_no_two_rows_answer_to_one_name() -> None:
    names = [name for row in PROVIDERS for name in (row.name, *row.aliases)]
    assert len(names) == len(set(names)) == len(BY_NAME)
    assert len(PROVIDERS) > 200


def test_no_keyword_of_a_row_is_a_parameter_of_the_api() -> None:
    assert not KEYWORDS & OPENAI_CHAT_PARAMS


def test_every_rows_wire_exists_or_is_known_to_be_missing() -> None:
    wires = {row.codec for row in PROVIDERS}
    there = {wire for wire in wires if codecs.exists(wire)}
    assert wires - there <= PENDING
    assert not there & PENDING, "a wire that exists is still listed as missing"


def test_a_wire_that_is_not_spoken_yet_is_one_clear_error() -> None:
    with pytest.raises(BadRequestError, match="does not speak the wire 'semaphore' yet"):
        codecs.load("semaphore")


@pytest.mark.parametrize("row", SHAPED, ids=lambda row: row.name)
def test_an_openai_shaped_row_makes_a_request_to_its_own_address(row: Provider) -> None:
    environ = filled(row)
    where = deployment(
        row, "org/some-model", environ=environ, api_base=None if row.base_url else "https://own.example/v1"
    )
    request = codecs.load(row.codec).request(Call(id="1", operation="chat", model="m", messages=M), where)
    url = urlsplit(request.url)
    assert url.scheme in ("https", "http")
    assert url.hostname
    assert "{" not in request.url
    assert url.path.rstrip("/").endswith("/chat/completions")
    assert (url.scheme == "https") or url.hostname in ("localhost", "127.0.0.1")
    sent = " ".join(request.headers.values())
    assert ("k-secret" in sent) is bool(row.key_env)
    assert json.loads(request.body)["messages"] == M


def test_a_key_goes_where_the_row_says() -> None:
    where = deployment(BY_NAME["portkey"], "m", environ={"PORTKEY_API_KEY": "k"})
    headers = codecs.load("openai_chat").request(Call(id="1", operation="chat", model="m", messages=M), where).headers
    assert headers["x-portkey-api-key"] == "k"
    assert "authorization" not in headers


def test_what_an_address_takes_comes_from_arguments_the_environment_or_the_default() -> None:
    row = BY_NAME["bedrock_mantle"]
    key = {"BEDROCK_MANTLE_API_KEY": "k"}
    assert "us-east-1" in deployment(row, "m", environ=key).api_base
    assert "eu-west-1" in deployment(row, "m", environ=key | {"AWS_REGION": "eu-west-1"}).api_base
    given = {"aws_region_name": "us-west-2"}
    made = deployment(row, "m", environ=key | {"AWS_REGION": "eu-west-1"}, given=given)
    assert "us-west-2" in made.api_base
    assert made.region == "us-west-2"


@pytest.mark.parametrize(
    ("location", "host"),
    [
        ("", "us-central1-aiplatform.googleapis.com"),
        ("europe-west4", "europe-west4-aiplatform.googleapis.com"),
        ("global", "aiplatform.googleapis.com"),
        ("eu", "aiplatform.eu.rep.googleapis.com"),
    ],
)
def test_a_location_has_its_own_host(location: str, host: str) -> None:
    given = {"vertex_project": "p"} | ({"vertex_location": location} if location else {})
    made = deployment(BY_NAME["vertex_ai"], "m", environ={}, given=given, api_key="ya29.x")
    assert made.api_base == f"https://{host}/v1/projects/p/locations/{location or 'us-central1'}"
    assert made.region == (location or "us-central1")


def test_a_model_of_another_maker_is_spoken_to_in_its_makers_wire() -> None:
    row, given = BY_NAME["vertex_ai"], {"vertex_project": "p"}
    claude = deployment(row, "claude-sonnet-4-5@20250929", environ={}, given=given, api_key="ya29.x")
    assert (claude.provider, claude.codec) == ("vertex_ai", "anthropic_vertex")
    assert deployment(row, "gemini-2.5-pro", environ={}, given=given, api_key="ya29.x").codec == "gemini"
    assert "seed" not in (callmeter.get_supported_openai_params("vertex_ai/claude-sonnet-4-5") or ())
    assert "seed" in (callmeter.get_supported_openai_params("vertex_ai/gemini-2.5-pro") or ())


def test_an_address_that_lacks_a_part_says_which_and_where_to_set_it() -> None:
    with pytest.raises(BadRequestError, match=r"account_id.*account_id=… or CLOUDFLARE_ACCOUNT_ID"):
        deployment(BY_NAME["cloudflare"], "m", environ={"CLOUDFLARE_API_KEY": "k"})
    with pytest.raises(BadRequestError, match=r"gdc has no address of its own.*GDC_API_BASE"):
        deployment(BY_NAME["gdc"], "m", environ={"GDC_API_KEY": "k"})


def test_a_missing_key_names_every_variable_that_may_hold_it() -> None:
    with pytest.raises(AuthenticationError, match="TOGETHER_API_KEY or TOGETHER_AI_API_KEY"):
        deployment(BY_NAME["together_ai"], "m", environ={})


def test_headers_of_a_row_come_from_the_environment_and_are_left_out_where_it_has_none() -> None:
    key = {"OPENROUTER_API_KEY": "k"}
    assert deployment(BY_NAME["openrouter"], "m", environ=key).headers == {}
    with_site = deployment(BY_NAME["openrouter"], "m", environ=key | {"OR_SITE_URL": "https://me.example"})
    assert with_site.headers == {"http-referer": "https://me.example"}


def test_an_unknown_provider_gets_the_nearest_names() -> None:
    with pytest.raises(BadRequestError, match="groq"):
        provider_of("m", "grok-q", lambda _: None)
    with pytest.raises(BadRequestError, match=r"LLM Provider NOT provided.*callmeter providers"):
        provider_of("no-such-model", None, lambda _: None)


BODIES: dict[str, tuple[str, dict[str, Any], dict[str, Any]]] = {
    "renamed parameters": (
        "deepseek/m",
        {"max_completion_tokens": 5},
        {"max_tokens": 5, "max_completion_tokens": None},
    ),
    "renamed values": ("mistral/m", {"tool_choice": "required", "seed": 1}, {"tool_choice": "any", "random_seed": 1}),
    "short model names": ("fireworks_ai/llama", {}, {"model": "accounts/fireworks/models/llama"}),
    "long model names": ("fireworks_ai/accounts/a/models/b", {}, {"model": "accounts/a/models/b"}),
    "fixed fields": ("parasail/m", {}, {"store": False}),
    "flat schemas": (
        "together_ai/m",
        {"response_format": {"type": "json_schema", "json_schema": {"name": "n", "schema": {"type": "object"}}}},
        {"response_format": {"type": "json_schema", "schema": {"type": "object"}}},
    ),
    "plain text content": (
        "publicai/m",
        {"messages": [{"role": "user", "content": [{"type": "text", "text": "a"}, {"type": "text", "text": "b"}]}]},
        {"messages": [{"role": "user", "content": "ab"}]},
    ),
}


@pytest.mark.parametrize("case", BODIES)
def test_a_rows_deviations_are_in_the_body_that_arrives(case: str, provider: FakeProvider) -> None:
    model, params, expected = BODIES[case]
    callmeter.completion(model, **{"messages": M, **params}, api_base=provider.openai_base, api_key="k")
    body = json.loads(provider.requests[0].body)
    assert {name: body.get(name) for name in expected} == expected


def test_what_a_row_lacks_is_refused_by_name_or_dropped(provider: FakeProvider) -> None:
    where = {"api_base": provider.openai_base, "api_key": "k"}
    with pytest.raises(UnsupportedParamsError, match="perplexity does not support tool_choice"):
        callmeter.completion("perplexity/sonar", M, tool_choice="auto", **where)
    callmeter.completion("perplexity/sonar", M, tool_choice="auto", drop_params=True, **where)
    assert "tool_choice" not in json.loads(provider.requests[0].body)


def test_content_that_must_be_plain_and_is_not_is_refused(provider: FakeProvider) -> None:
    image = [{"role": "user", "content": [{"type": "image_url", "image_url": {"url": "https://x.example/a.png"}}]}]
    with pytest.raises(BadRequestError, match=r"messages\[0\] has parts that are not text"):
        callmeter.completion("publicai/m", image, api_base=provider.openai_base, api_key="k")


@pytest.mark.parametrize(
    ("asked", "sent"),
    [
        ("meta-llama/Llama-3.3-70B-Instruct", "meta-llama/Llama-3.3-70B-Instruct"),
        ("meta-llama/Llama-3.3-70B-Instruct:groq", "meta-llama/Llama-3.3-70B-Instruct:groq"),
        ("meta-llama/Llama-3.3-70B-Instruct:cheapest", "meta-llama/Llama-3.3-70B-Instruct:cheapest"),
        ("together/deepseek-ai/DeepSeek-R1", "deepseek-ai/DeepSeek-R1:together"),
        ("together/DeepSeek-R1", "together/DeepSeek-R1"),
        ("openai/gpt-oss-120b", "openai/gpt-oss-120b"),
        ("openai/org/m", "org/m:openai"),
    ],
)
def test_hugging_face_routes_to_the_provider_that_the_model_names(
    asked: str, sent: str, provider: FakeProvider, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HF_BILL_TO", "acme")
    callmeter.completion(f"huggingface/{asked}", M, api_base=provider.openai_base, api_key="hf_k")
    (heard,) = provider.requests
    assert heard.path == "/v1/chat/completions"
    assert json.loads(heard.body)["model"] == sent
    assert (heard.headers["authorization"], heard.headers["x-hf-bill-to"]) == ("Bearer hf_k", "acme")


@pytest.mark.parametrize(
    ("base", "path"),
    [
        ("", "/v1/chat/completions"),
        ("/", "/v1/chat/completions"),
        ("/v1", "/v1/chat/completions"),
        ("/v1/chat/completions", "/v1/chat/completions"),
        ("/behind/a/proxy", "/behind/a/proxy/v1/chat/completions"),
        ("/together/v1", "/together/v1/chat/completions"),
        ("/novita/v3/openai", "/novita/v3/openai/chat/completions"),
    ],
)
@pytest.mark.parametrize("stream", [False, True], ids=["plain", "streamed"])
def test_a_dedicated_endpoint_is_found_under_its_address_in_any_form(
    base: str, path: str, stream: bool, provider: FakeProvider
) -> None:
    answer = callmeter.completion("huggingface/tgi", M, api_base=provider.url + base, api_key="hf_k", stream=stream)
    if stream:
        list(answer)
    (heard,) = provider.requests
    assert (heard.path, json.loads(heard.body)["model"]) == (path, "tgi")


def test_a_model_routed_by_hugging_face_is_priced_as_that_providers() -> None:
    where = deployment(BY_NAME["huggingface"], "together/deepseek-ai/DeepSeek-R1", environ={"HF_TOKEN": "hf_k"})
    assert where.model == "deepseek-ai/DeepSeek-R1:together"
