"""Errors as each provider really words them, read over the provider's own row and wire."""

import json
from typing import Any

import pytest

import callmeter
from callmeter.client import codecs
from callmeter.client.codecs import load
from callmeter.client.providers import BY_NAME, PROVIDERS
from callmeter.errors import (
    APIConnectionError,
    APIError,
    AuthenticationError,
    BadGatewayError,
    BadRequestError,
    ContentPolicyViolationError,
    ContextWindowExceededError,
    InternalServerError,
    NotFoundError,
    PermissionDeniedError,
    RateLimitError,
    ServiceUnavailableError,
    UnprocessableEntityError,
)
from callmeter.testing import FakeProvider
from callmeter.types import Deployment

CHAT_WIRES = sorted(
    {
        wire
        for row in PROVIDERS
        for wire in (row.codec, *row.wires.values())
        if codecs.exists(wire) and "chat" in row.serves
    }
)


def refused(provider: str, status: int, body: Any, **headers: str) -> APIError:
    """The error that a provider's answer becomes."""
    row = BY_NAME[provider]
    raw = body if isinstance(body, bytes) else json.dumps(body).encode()
    where = Deployment(
        provider=row.name, model="m", codec=row.codec, api_base="https://host.test/v1", quirks=row.quirks
    )
    return load(row.codec).failure(status, headers, raw, where)


def message(text: str, **fields: Any) -> dict[str, Any]:
    return {"error": {"message": text, **fields}}


TOO_LONG = [
    ("openai", 400, message("This model's maximum context length is 128000 tokens. However, your messages resulted in "
     "140012 tokens.", type="invalid_request_error", param="messages", code="context_length_exceeded")),
    ("azure", 400, message("This model's maximum context length is 16385 tokens.", code="context_length_exceeded")),
    ("anthropic", 400, {"type": "error", "error": {"type": "invalid_request_error",
     "message": "prompt is too long: 210104 tokens > 200000 maximum"}, "request_id": "req_1"}),
    ("gemini", 400, message("The input token count (1200293) exceeds the maximum number of tokens allowed (1048576).",
     code=400, status="INVALID_ARGUMENT")),
    ("vertex_ai", 400, [message("The input token count (81881) exceeds the maximum number of tokens allowed (65536).",
     code=400, status="INVALID_ARGUMENT")]),
    ("cohere", 400, {"id": "1", "message": "too many tokens: size limit exceeded by 5326 tokens. Try using shorter or "
     "fewer inputs."}),
    ("ollama", 400, {"error": "the input length exceeds the context length"}),
    ("ollama", 400, {"error": "prompt too long; exceeded max context length by 4096 tokens"}),
    ("watsonx", 400, {"errors": [{"code": "invalid_input_argument", "message": "Invalid input argument for Model 'm': the "
     "number of input tokens 4098 cannot exceed the total tokens limit 4096 for this model",
     "more_info": "https://cloud.ibm.com/apidocs/watsonx-ai"}], "trace": "f8a0", "status_code": 400}),
    ("nlp_cloud", 400, {"detail": "Input text length should not exceed 2048 tokens."}),
    ("triton", 400, {"error": "Prompt has 5000 tokens: prompt is too long for max_input_len 4096"}),
    ("huggingface", 422, {"error": "Input validation error: `inputs` tokens + `max_new_tokens` must be <= 4096. Given: "
     "4500 `inputs` tokens and 512 `max_new_tokens`", "error_type": "validation"}),
    ("openrouter", 400, message("This endpoint's maximum context length is 8192 tokens.", code=400,
     metadata={"error_type": "context_length_exceeded"})),
    ("mistral", 400, {"object": "error", "message": "Prompt contains 65673 tokens and 0 draft tokens, too large for model "
     "with 32768 maximum context length", "type": "invalid_request_prompt", "param": None, "code": "3051"}),
    ("xai", 400, {"code": "Client specified an invalid argument", "error": "This model's maximum prompt length is 131072 "
     "but the request contains 150000 tokens."}),
    ("groq", 400, message("Please reduce the length of the messages or completion.", type="invalid_request_error",
     param="messages", code="context_length_exceeded")),
    ("deepseek", 400, message("This model's maximum context length is 65536 tokens.", type="invalid_request_error")),
    ("cerebras", 400, {"message": "Please reduce the length of the messages or completion. Current length is 9000 while "
     "limit is 8192", "type": "invalid_request_error", "param": "messages", "code": "context_length_exceeded"}),
    ("nvidia_nim", 400, {"object": "error", "message": "This model's maximum context length is 4096 tokens.", "code": 400}),
    ("fireworks_ai", 400, message("The prompt is too long: 140000, model maximum context length: 131071")),
    ("together_ai", 422, message("Input validation error: `inputs` tokens + `max_new_tokens` must be <= 8193.",
     type="invalid_request_error")),
    ("dashscope", 400, message("<400> InternalError.Algo.InvalidParameter: Range of input length should be [1, 129024]",
     code="invalid_parameter_error", type="invalid_request_error")),
    ("moonshot", 400, message("Invalid request: Your request exceeded model token limit: 262144 (requested: 291351)",
     type="invalid_request_error")),
    ("minimax", 400, message("invalid params, context window exceeds limit (2013)", type="bad_request_error")),
    ("zai", 400, message("Prompt exceeds max length", code="1261")),
    ("github_copilot", 400, message("prompt token count of 140012 exceeds the limit of 128000",
     code="model_max_prompt_tokens_exceeded")),
    ("cloudflare", 413, {"errors": [{"message": "AiError: AiError: The estimated number of input and maximum output tokens "
     "(33408) exceeded this model context window limit (32000).", "code": 5021}], "success": False}),
    ("databricks", 400, {"error_code": "BAD_REQUEST", "message": '{"message":"Input is too long for requested model."}'}),
    ("lm_studio", 400, {"error": "The number of tokens to keep from the initial prompt is greater than the context "
     "length."}),
    ("vllm", 400, message("This model's maximum context length is 2048 tokens.", type="BadRequestError", code=400)),
    ("sglang", 400, {"object": "error", "message": "The input (9000 tokens) is longer than the model's context length "
     "(8192 tokens).", "type": "BadRequestError", "code": 400}),
    ("llamacpp", 400, message("the request exceeds the available context size, try increasing it", code=400,
     type="exceed_context_size_error", n_prompt_tokens=5000, n_ctx=4096)),
    ("sap", 400, {"error": {"request_id": "1", "code": 400, "message": "400 - LLM Module: This model's maximum context "
     "length is 128000 tokens.", "location": "LLM Module"}}),
]  # fmt: skip

REFUSED = [
    ("openai", 400, message("Invalid prompt: your prompt was flagged as potentially violating our usage policy.",
     type="invalid_request_error", code="invalid_prompt")),
    ("azure", 400, message("The response was filtered due to the prompt triggering Azure OpenAI's content management "
     "policy.", code="content_filter", innererror={"code": "ResponsibleAIPolicyViolation"})),
    ("anthropic", 400, {"type": "error", "error": {"type": "invalid_request_error",
     "message": "Output blocked by content filtering policy"}}),
    ("openrouter", 403, message("Input flagged", code=403, metadata={"reasons": ["violence"], "flagged_input": "…"})),
    ("xai", 403, {"code": "The caller does not have permission", "error": "Content violates usage guidelines. Team: t, "
     "Model: grok-4, Failed check: SAFETY_CHECK_TYPE_BIO"}),
    ("deepseek", 400, message("Content Exists Risk", type="invalid_request_error", code="invalid_request_error")),
    ("dashscope", 400, message("Input data may contain inappropriate content.", type="data_inspection_failed",
     code="data_inspection_failed")),
    ("moonshot", 400, message("The request was rejected because it was considered high risk", type="content_filter")),
    ("zai", 400, message("系统检测到输入或生成内容可能包含不安全或敏感内容", code="1301")),
    ("sap", 400, {"error": {"code": 400, "message": "400 - Filtering Module - Output Filter: Content filtered due to safety "
     "violations. Please modify the prompt and try again.", "location": "Filtering Module - Output Filter"}}),
    ("replicate", 422, {"title": "Invalid", "detail": "The input or output was flagged as sensitive. (E005)", "status": 422}),
    ("cloudflare_ai_gateway", 400, {"success": False, "errors": [{"code": 2016, "message": "Prompt blocked due to security "
     "configurations"}]}),
]  # fmt: skip

OTHERS: list[tuple[str, int, Any, type[APIError], str]] = [
    ("mistral", 401, {"detail": "Unauthorized"}, AuthenticationError, "Unauthorized"),
    ("mistral", 422, {"object": "error", "message": {"detail": [{"loc": ["body", "temperature"], "msg": "too large"}]}},
     UnprocessableEntityError, "body.temperature: too large"),
    ("cohere", 498, {"message": "invalid token"}, AuthenticationError, "invalid token"),
    ("groq", 498, message("Flex tier capacity exceeded", code="capacity_exceeded"), ServiceUnavailableError, "Flex"),
    ("replicate", 401, {"title": "Unauthenticated", "detail": "You did not pass an authentication token", "status": 401},
     AuthenticationError, "did not pass"),
    ("replicate", 402, {"title": "Insufficient credit", "detail": "You have insufficient credit", "status": 402},
     callmeter.APIStatusError, "insufficient credit"),
    ("replicate", 422, {"title": "Input validation failed", "detail": "- input.prompt is required\n", "status": 422},
     UnprocessableEntityError, "input.prompt is required"),
    ("watsonx", 404, {"errors": [{"code": "model_not_supported", "message": "Model 'x' is not supported"}], "trace": "t",
     "status_code": 404}, NotFoundError, "not supported"),
    ("watsonx", 403, {"errors": [{"code": "token_quota_reached", "message": "token quota reached"}], "status_code": 403},
     PermissionDeniedError, "quota"),
    ("gigachat", 401, {"status": 401, "message": "Token has expired"}, AuthenticationError, "expired"),
    ("gigachat", 402, {"status": 402, "message": "Payment Required"}, callmeter.APIStatusError, "Payment"),
    ("gigachat", 422, {"status": 422, "message": "Invalid params: model should be string"}, UnprocessableEntityError,
     "Invalid params"),
    ("sap", 429, {"error": {"request_id": "1", "code": 429, "message": "Too many requests", "location": "LLM"}},
     RateLimitError, "Too many"),
    ("langgraph", 422, {"detail": "Invalid assistant: 'nobody'. Must be either: …"}, UnprocessableEntityError, "nobody"),
    ("langgraph", 409, {"detail": "Thread is already running a task"}, callmeter.ConflictError, "already running"),
    ("nlp_cloud", 403, {"detail": "The token you are using is not valid."}, PermissionDeniedError, "not valid"),
    ("triton", 400, {"error": "Request for unknown model: 'm' is not found"}, BadRequestError, "unknown model"),
    ("oci", 404, {"code": "NotAuthorizedOrNotFound", "message": "Authorization failed or requested resource not found."},
     NotFoundError, "Authorization failed"),
    ("huggingface", 400, {"error": "Model not supported by provider together"}, BadRequestError, "not supported"),
    ("huggingface", 401, {"error": "Invalid username or password."}, AuthenticationError, "username"),
    ("huggingface", 402, {"error": "You have exceeded your monthly included credits for Inference Providers."},
     callmeter.APIStatusError, "monthly included credits"),
    ("huggingface", 424, {"error": "Request failed during generation", "error_type": "generation"}, InternalServerError,
     "generation"),
    ("huggingface", 429, {"error": "Model is overloaded", "error_type": "overloaded"}, RateLimitError, "overloaded"),
    ("huggingface", 503, {"error": "Model x is currently loading", "estimated_time": 20.0}, ServiceUnavailableError,
     "loading"),
    ("snowflake", 400, {"message": "unknown model \"m\"", "request_id": "1", "error_code": "390400"}, BadRequestError,
     "unknown model"),
    ("cloudflare", 403, {"success": False, "errors": [{"code": 10000, "message": "Authentication error"}]},
     PermissionDeniedError, "Authentication error"),
]  # fmt: skip


@pytest.mark.parametrize(("provider", "status", "body"), TOO_LONG, ids=[row[0] for row in TOO_LONG])
def test_a_conversation_that_is_too_long_is_known_at_every_provider(provider: str, status: int, body: Any) -> None:
    error = refused(provider, status, body)
    assert type(error) is ContextWindowExceededError
    assert error.llm_provider == BY_NAME[provider].name


@pytest.mark.parametrize(("provider", "status", "body"), REFUSED, ids=[row[0] for row in REFUSED])
def test_content_that_is_refused_is_known_at_every_provider(provider: str, status: int, body: Any) -> None:
    assert type(refused(provider, status, body)) is ContentPolicyViolationError


@pytest.mark.parametrize(
    ("provider", "status", "body", "kind", "words"), OTHERS, ids=[f"{row[0]}-{row[1]}" for row in OTHERS]
)
def test_other_errors_have_their_class_and_their_words(
    provider: str, status: int, body: Any, kind: type[APIError], words: str
) -> None:
    error = refused(provider, status, body)
    assert type(error) is kind
    assert words in error.message


PAGE = b"<!DOCTYPE html><html><head><title>502 Bad Gateway</title></head><body><center>nginx</center></body></html>"


@pytest.mark.parametrize("wire", CHAT_WIRES)
def test_a_proxys_page_is_named_by_its_host_and_status_on_every_wire(wire: str) -> None:
    where = Deployment(provider="acme", model="m", codec=wire, api_base="https://llm.acme.test:8443/v1")
    error = load(wire).failure(502, {"content-type": "text/html"}, PAGE, where)
    assert type(error) is BadGatewayError
    assert "HTTP 502 Bad Gateway from llm.acme.test:8443: 502 Bad Gateway nginx" in error.message
    empty = load(wire).failure(404, {}, b"", where)
    assert empty.message.endswith("HTTP 404 Not Found from llm.acme.test:8443")


@pytest.mark.parametrize("wire", CHAT_WIRES)
def test_a_page_in_place_of_an_answer_is_named_by_its_address_on_every_wire(wire: str) -> None:
    from callmeter.types import Call
    from callmeter.wire import WireReply

    where = Deployment(provider="acme", model="m", codec=wire, api_base="https://llm.acme.test:8443/v1")
    call = Call(id="c", operation="chat", model="acme/m", messages=[])
    with pytest.raises(callmeter.APIResponseValidationError, match=r"llm\.acme\.test:8443"):
        load(wire).response(WireReply(status=200, body=PAGE), call, where)


@pytest.mark.parametrize("stream", [False, True], ids=["plain", "streamed"])
def test_a_page_ends_a_call_in_an_error_that_says_where_it_came_from(
    stream: bool, provider: FakeProvider, events: list[Any]
) -> None:
    provider.answer(502, body=PAGE, content_type="text/html")
    with pytest.raises(BadGatewayError, match=f"from 127.0.0.1:{provider.port}"):
        callmeter.completion("openai/m", [{"role": "user", "content": "Hi"}], stream=stream, num_retries=0)
    provider.answer(200, body=PAGE, content_type="text/html")
    with pytest.raises((callmeter.APIResponseValidationError, APIConnectionError)):
        answer = callmeter.completion("openai/m", [{"role": "user", "content": "Hi"}], stream=stream, num_retries=0)
        list(answer)
