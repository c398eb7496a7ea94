"""GigaChat's chat against GigaChat's own client."""

import json
from typing import Any

import pytest
from gigachat import GigaChat
from gigachat.models import Chat, Function, FunctionParameters, Messages, MessagesRole

import callmeter
from callmeter.client.codecs.gigachat import CODEC
from callmeter.testing import FakeProvider
from tests.client.codecs.one_answer import serving
from tests.golden_cases import Case, decode, load_cases

CASES = [case for case in load_cases("gigachat") if case.error is None and "cannot_be" not in case.name]
BY_NAME = {case.name: case for case in CASES}


def client(url: str) -> GigaChat:
    return GigaChat(base_url=url, access_token="tok", model="GigaChat-2-Max")


@pytest.mark.parametrize("case", CASES, ids=repr)
def test_the_sdk_reads_the_same_text_function_and_usage(case: Case, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NO_PROXY", "*")
    with serving(case.body, "text/event-stream" if case.call.stream else "application/json") as url, client(url) as sdk:
        if case.call.stream:
            chunks = list(sdk.stream("Привет"))
            said: list[Any] = [chunk.choices[0].delta for chunk in chunks]
            finish, usage = chunks[-1].choices[0].finish_reason, chunks[-1].usage
        else:
            answer = sdk.chat("Привет")
            said, finish, usage = [answer.choices[0].message], answer.choices[0].finish_reason, answer.usage
    ours = decode(case, CODEC)
    choice, counted = ours.completion.choices[0], ours.meter.usage
    called = choice.message.function_call or next(
        (call.function for call in choice.message.tool_calls or () if call.function), None
    )
    theirs = next((piece.function_call for piece in said if piece.function_call), None)
    assert (choice.message.content or "") == "".join(piece.content or "" for piece in said)
    assert (choice.message.reasoning_content or "") == "".join(piece.reasoning_content or "" for piece in said)
    assert (called is None) is (theirs is None)
    if called is not None and theirs is not None:
        assert (called.name, json.loads(called.arguments)) == (theirs.name, theirs.arguments)
    assert finish in (
        choice.finish_reason,
        (choice.provider_specific_fields or {}).get("native_finish_reason"),
        "function_call",
    )
    assert counted is not None
    assert usage is not None
    cached = usage.precached_prompt_tokens or 0
    assert (counted.input_tokens - cached, counted.cache_read_tokens) == (usage.prompt_tokens, cached)
    assert counted.output_tokens == usage.completion_tokens


def test_the_sdk_and_we_send_the_same_conversation_and_functions(provider: FakeProvider) -> None:
    case = BY_NAME["function_result_sent_back"]
    provider.answer(body=case.body, times=2)
    schema = case.call.params["tools"][0]["function"]
    asked = Chat(
        messages=[
            Messages(role=MessagesRole.USER, content="Погода в Лиме?"),
            Messages(
                role=MessagesRole.ASSISTANT,
                content="",
                function_call={"name": "get_weather", "arguments": {"city": "Лима"}},  # type: ignore[arg-type]
                functions_state_id="77d3fb14-457a-46ba-937e-8d856156d003",
            ),
            Messages(role=MessagesRole.FUNCTION, name="get_weather", content='"ясно"'),
        ],
        functions=[
            Function(
                name=schema["name"],
                description=schema["description"],
                parameters=FunctionParameters.model_validate(schema["parameters"]),
            )
        ],
        function_call="auto",
    )
    with client(provider.url) as sdk:
        sdk.chat(asked)
    callmeter.completion(
        "gigachat/GigaChat-2-Max",
        list(case.call.messages),
        **case.call.params,
        api_base=provider.url,
        gigachat_access_token="tok",
    )
    theirs, ours = provider.requests
    assert (theirs.path, theirs.headers["authorization"]) == (ours.path, ours.headers["authorization"])
    said, says = json.loads(theirs.body), json.loads(ours.body)
    assert says["messages"] == said["messages"]
    assert (says["model"], says["function_call"]) == (said["model"], said["function_call"])
    assert says["functions"][0].keys() == said["functions"][0].keys()
