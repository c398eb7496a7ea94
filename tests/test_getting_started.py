"""What newcomers paste: the getting-started page's snippets, with only the import line and the address changed.

The address comes from each provider's own environment variable, or stands in the snippet where the page has one.
"""

import json
from collections.abc import Iterator
from datetime import datetime
from typing import Any

import pytest
from google.oauth2.credentials import Credentials

import callmeter
from callmeter.client import resolve
from callmeter.client.credentials.google import GoogleSigner
from callmeter.client.providers import BY_NAME
from callmeter.testing import FakeProvider

ANSWER = "I'm fine, thank you. How can I help you today?"

PLAIN = {
    "openai": """
from callmeter import completion
import os

os.environ["OPENAI_API_KEY"] = "your-api-key"

response = completion(
  model="openai/gpt-4o",
  messages=[{ "content": "Hello, how are you?","role": "user"}]
)
""",
    "anthropic": """
from callmeter import completion
import os

os.environ["ANTHROPIC_API_KEY"] = "your-api-key"

response = completion(
  model="anthropic/claude-3-sonnet-20240229",
  messages=[{ "content": "Hello, how are you?","role": "user"}]
)
""",
    "ollama": """
from callmeter import completion

response = completion(
            model="ollama/llama2",
            messages = [{ "content": "Hello, how are you?","role": "user"}],
            api_base="API_BASE"
)
""",
}

SHAPED = {
    "xai": ("xai/grok-2-latest", "XAI_API_KEY", "XAI_API_BASE", ""),
    "nvidia_nim": ("nvidia_nim/<model_name>", "NVIDIA_NIM_API_KEY", "NVIDIA_NIM_API_BASE", ""),
    "huggingface": (
        "huggingface/WizardLM/WizardCoder-Python-34B-V1.0",
        "HUGGINGFACE_API_KEY",
        "HUGGINGFACE_API_BASE",
        'api_base="ENDPOINT",',
    ),
    "openrouter": ("openrouter/google/palm-2-chat-bison", "OPENROUTER_API_KEY", "OPENROUTER_API_BASE", ""),
    "novita": ("novita/deepseek/deepseek-r1", "NOVITA_API_KEY", "NOVITA_API_BASE", ""),
}
"""Tabs of providers in OpenAI's format: model, where the key and the address are, and what else the tab passes."""

SHAPED_TAB = """
from callmeter import completion
import os

os.environ["KEY_NAME"] = "their-api-key"

response = completion(
  model="MODEL",
  messages=[{ "content": "Hello, how are you?","role": "user"}],
  REST
)
"""

VERTEX = {
    "plain": """
from callmeter import completion
import os

# auth: run 'gcloud auth application-default'
os.environ["VERTEXAI_PROJECT"] = "hardy-device-386718"
os.environ["VERTEXAI_LOCATION"] = "us-central1"

response = completion(
  model="vertex_ai/gemini-1.5-pro",
  messages=[{ "content": "Hello, how are you?","role": "user"}]
)
""",
    "streamed": """
from callmeter import completion
import os

# auth: run 'gcloud auth application-default'
os.environ["VERTEX_PROJECT"] = "hardy-device-386718"
os.environ["VERTEX_LOCATION"] = "us-central1"

response = completion(
  model="vertex_ai/gemini-1.5-pro",
  messages=[{ "content": "Hello, how are you?","role": "user"}],
  stream=True,
)
""",
}
"""The tab of Vertex AI, which spells its variables in two ways."""


AZURE = """
from callmeter import completion
import os

## set ENV variables
os.environ["AZURE_API_KEY"] = "az-key"
os.environ["AZURE_API_BASE"] = "ENDPOINT"
os.environ["AZURE_API_VERSION"] = "2025-01-01"

# azure call
response = completion(
  "azure/<your_deployment_name>",
  messages = [{ "content": "Hello, how are you?","role": "user"}],
  STREAM
)
"""

EXCEPTIONS = """
import os
from openai import OpenAIError
from callmeter import completion

os.environ["ANTHROPIC_API_KEY"] = "bad-key"
try:
    completion(model="claude-instant-1", messages=[{"role": "user", "content": "Hey, how's it going?"}])
except OpenAIError as e:
    print(e)
"""

WRONG_KEY = {"type": "error", "error": {"type": "authentication_error", "message": "invalid x-api-key"}}

COST_OF_A_STREAM = """
import callmeter
from callmeter import completion

def track_cost_callback(
    kwargs,
    completion_response,
    start_time, end_time
):
    try:
      response_cost = kwargs.get("response_cost", 0)
      print("streaming response_cost", response_cost)
    except:
        pass
callmeter.success_callback = [track_cost_callback]

response = completion(
    model="gpt-3.5-turbo",
    messages=[
        {
            "role": "user",
            "content": "Hi 👋 - i'm openai"
        }
    ],
    stream=True
)
"""


@pytest.fixture
def provider(monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeProvider]:
    monkeypatch.setattr(callmeter, "success_callback", [])
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)
    with FakeProvider() as server:
        monkeypatch.setenv("OPENAI_API_KEY", "")
        monkeypatch.setenv("ANTHROPIC_API_KEY", "")
        monkeypatch.setenv("OPENAI_BASE_URL", server.openai_base)
        monkeypatch.setenv("ANTHROPIC_BASE_URL", server.url)
        yield server


def run(snippet: str, provider: FakeProvider) -> dict[str, Any]:
    scope: dict[str, Any] = {}
    exec(compile(snippet.replace("API_BASE", provider.url), "snippet", "exec"), scope)
    return scope


@pytest.mark.parametrize("stream", [False, True], ids=["plain", "streamed"])
@pytest.mark.parametrize("name", SHAPED)
def test_a_tab_in_openais_format(
    name: str, stream: bool, provider: FakeProvider, monkeypatch: pytest.MonkeyPatch
) -> None:
    model, key, base, rest = SHAPED[name]
    monkeypatch.setenv(key, "")
    if rest:
        rest = rest.replace("ENDPOINT", provider.url)
    else:
        monkeypatch.setenv(base, provider.openai_base)
    snippet = SHAPED_TAB.replace("KEY_NAME", key).replace("MODEL", model)
    response = run(snippet.replace("REST", f"{rest} stream={stream}"), provider)["response"]
    if stream:
        assert "".join(chunk.choices[0].delta.content or "" for chunk in response)
    else:
        assert response.choices[0].message.content == response["choices"][0]["message"]["content"]
    heard = provider.requests[-1]
    assert heard.path == "/v1/chat/completions"
    assert heard.headers["authorization"] == "Bearer their-api-key"
    body = json.loads(heard.body)
    assert body["model"] == model.partition("/")[2]
    assert body["messages"] == [{"content": "Hello, how are you?", "role": "user"}]


@pytest.mark.parametrize("form", VERTEX)
def test_the_tab_of_vertex_ai(form: str, provider: FakeProvider, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in BY_NAME["vertex_ai"].environment:
        monkeypatch.setenv(name, "")
    monkeypatch.setenv("VERTEXAI_API_BASE", provider.url)
    signed_in = GoogleSigner("")
    signed_in._credentials = Credentials(token="ya29.signed-in", expiry=datetime(2999, 1, 1))  # noqa: DTZ001
    monkeypatch.setattr(resolve, "signer_for", lambda module, variables: {"google": signed_in}[module])
    response = run(VERTEX[form], provider)["response"]
    if form == "streamed":
        assert "".join(chunk.choices[0].delta.content or "" for chunk in response)
    else:
        assert response.choices[0].message.content == response["choices"][0]["message"]["content"]
    heard = provider.requests[-1]
    method = "generateContent" if form == "plain" else "streamGenerateContent?alt=sse"
    project = "/v1/projects/hardy-device-386718/locations/us-central1"
    assert heard.path == f"{project}/publishers/google/models/gemini-1.5-pro:{method}"
    assert heard.headers["authorization"] == "Bearer ya29.signed-in"
    assert json.loads(heard.body) == {"contents": [{"role": "user", "parts": [{"text": "Hello, how are you?"}]}]}


@pytest.mark.parametrize("stream", [False, True], ids=["plain", "streamed"])
@pytest.mark.parametrize("version", ["", "2025-04-01-preview"], ids=["as pasted", "with a version"])
def test_the_azure_tab(version: str, stream: bool, provider: FakeProvider, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("AZURE_API_KEY", "AZURE_API_BASE", "AZURE_API_VERSION", "OPENAI_API_VERSION"):
        monkeypatch.setenv(name, "")
    snippet = AZURE.replace("ENDPOINT", provider.url).replace("2025-01-01", version)
    scope: dict[str, Any] = {}
    exec(compile(snippet.replace("STREAM", f"stream={stream}"), "snippet", "exec"), scope)
    response = scope["response"]
    if stream:
        assert "".join(chunk.choices[0].delta.content or "" for chunk in response)
    else:
        assert response.choices[0].message.content
    heard = provider.requests[-1]
    path = "/openai/deployments/%3Cyour_deployment_name%3E/chat/completions?api-version="
    assert heard.path == path + (version or "2024-10-21")
    assert heard.headers["api-key"] == "az-key"
    assert "authorization" not in heard.headers
    assert json.loads(heard.body)["messages"] == [{"content": "Hello, how are you?", "role": "user"}]


@pytest.mark.parametrize("name", PLAIN)
def test_a_plain_call(name: str, provider: FakeProvider) -> None:
    response = run(PLAIN[name], provider)["response"]
    assert response["choices"][0]["message"]["content"] == response.choices[0].message.content
    assert response.choices[0].message.content
    assert response.usage.total_tokens == response.usage.prompt_tokens + response.usage.completion_tokens > 0


@pytest.mark.parametrize("name", PLAIN)
def test_a_streamed_call(name: str, provider: FakeProvider) -> None:
    streamed = PLAIN[name].rstrip()[:-1].rstrip().rstrip(",") + ",\n  stream=True,\n)\n"
    chunks = list(run(streamed, provider)["response"])
    assert "".join(chunk.choices[0].delta.content or "" for chunk in chunks)
    assert [chunk.choices[0].delta.role for chunk in chunks] == ["assistant"] + [None] * (len(chunks) - 1)
    assert len({(chunk.id, chunk.created, chunk.model) for chunk in chunks}) == 1
    assert chunks[-1].choices[0].finish_reason == "stop"


def test_each_provider_is_sent_what_it_documents(provider: FakeProvider) -> None:
    for snippet in PLAIN.values():
        run(snippet, provider)
    openai, anthropic, ollama = provider.requests
    assert openai.path.endswith("/chat/completions")
    assert openai.headers["authorization"] == "Bearer your-api-key"
    assert json.loads(openai.body)["model"] == "gpt-4o"
    assert anthropic.path == "/v1/messages"
    assert anthropic.headers["x-api-key"] == "your-api-key"
    assert anthropic.headers["anthropic-version"] == "2023-06-01"
    assert json.loads(anthropic.body)["max_tokens"] > 0
    assert ollama.path == "/api/chat"
    assert json.loads(ollama.body)["stream"] is False
    assert "authorization" not in ollama.headers


def test_the_response_has_every_key_of_the_page(provider: FakeProvider) -> None:
    response = json.loads(run(PLAIN["anthropic"], provider)["response"].model_dump_json())
    assert list(response) == ["id", "created", "model", "object", "system_fingerprint", "choices", "usage"]
    assert response["object"] == "chat.completion"
    assert response["model"] == "claude-3-sonnet-20240229"
    (choice,) = response["choices"]
    assert choice["finish_reason"] == "stop"
    assert choice["index"] == 0
    assert {"content", "role", "tool_calls", "function_call"} <= choice["message"].keys()
    assert {
        "completion_tokens",
        "prompt_tokens",
        "total_tokens",
        "completion_tokens_details",
        "prompt_tokens_details",
        "cache_creation_input_tokens",
        "cache_read_input_tokens",
    } <= response["usage"].keys()
    assert {"audio_tokens", "cached_tokens"} <= response["usage"]["prompt_tokens_details"].keys()


def test_a_chunk_has_every_key_of_the_page(provider: FakeProvider) -> None:
    streamed = PLAIN["anthropic"].rstrip()[:-1] + ", stream=True)"
    chunk = json.loads(next(run(streamed, provider)["response"]).model_dump_json())
    assert list(chunk) == ["id", "created", "model", "object", "system_fingerprint", "choices"]
    assert chunk["object"] == "chat.completion.chunk"
    (choice,) = chunk["choices"]
    assert {"finish_reason", "index", "delta", "logprobs"} <= choice.keys()
    assert {"content", "role", "function_call", "tool_calls", "audio"} <= choice["delta"].keys()


def test_a_wrong_key_is_an_openai_error(provider: FakeProvider, capsys: pytest.CaptureFixture[str]) -> None:
    provider.answer(401, body=json.dumps(WRONG_KEY).encode())
    run(EXCEPTIONS, provider)
    assert "invalid x-api-key" in capsys.readouterr().out
    assert len(provider.requests) == 1


def test_the_cost_of_a_stream_is_told_once_when_it_is_over(
    provider: FakeProvider, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "your-api-key")
    for _ in run(COST_OF_A_STREAM, provider)["response"]:
        pass
    assert callmeter.flush(5)
    lines = [line for line in capsys.readouterr().out.splitlines() if line.startswith("streaming response_cost")]
    assert len(lines) == 1
    assert float(lines[0].split()[-1]) > 0
