"""The Responses API's answers: a list of items to one message, its counts and its tools' units to ours.

`message.reasoning_details` keeps reasoning items as they came, to be sent back; `provider_specific_fields["output"]`
those of the API's own tools. A native call finds the whole answer at `native(completion)`.

Source: https://platform.openai.com/docs/api-reference/responses/object
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import msgspec
from msgspec import Struct

from callmeter.client.codecs.base import Answer, Meter
from callmeter.client.codecs.messages import JSON
from callmeter.client.codecs.minted import completion_id, created_s
from callmeter.client.codecs.openai_answer import loads, not_the_shape, text, whole
from callmeter.client.error_bodies import hides_error
from callmeter.client.failures import failure_from_payload
from callmeter.client.usage import completion_usage, count, metered, required
from callmeter.errors import APIError
from callmeter.records import ResponsesAnswer
from callmeter.shapes import Choice, Completion, Function, Message, ToolCall
from callmeter.types import Call, Deployment, Usage

WHOLE = "_whole"
"""Where an answer, and a stream's last chunk, has the response as it came."""

SUMMARY_BREAK = "\n\n"
"""Between the parts of a summary of reasoning."""


def answer(body: bytes, call: Call, deployment: Deployment) -> Answer:
    """A whole answer. Raises `APIResponseValidationError`, or the error an answer of 200 hides."""
    payload = loads(body)
    if not isinstance(payload, dict) or not isinstance(payload.get("output"), list):
        if isinstance(payload, dict) and hides_error(payload):
            raise failure_from_payload(payload, provider=deployment.provider, model=deployment.model)
        raise not_the_shape("no response", body, deployment)
    if (error := failed(payload, deployment)) is not None:
        raise error
    said = read(payload["output"])
    told = meter(payload, deployment)
    finish, notes = finished(payload, called=bool(said.calls))
    completion = Completion(
        id=text(payload.get("id")) or completion_id(call),
        created=whole(payload.get("created_at")) or created_s(call),
        model=text(payload.get("model")) or deployment.model,
        choices=[
            Choice(
                finish_reason=finish,
                message=said.message(),
                logprobs={"content": said.logprobs, "refusal": None} if said.logprobs else None,
                provider_specific_fields=notes,
            )
        ],
        usage=completion_usage(told.usage) if told.usage else None,
        service_tier=text(payload.get("service_tier")),
    )
    if call.operation == "responses":
        completion.__dict__[WHOLE] = ResponsesAnswer(payload)
    return Answer(completion, told)


def native(completion: Completion) -> ResponsesAnswer:
    """The answer in the API's own shape, with all that is hidden on ours. Only for calls of `responses`.

    A stream that broke off has no more of it than the text.
    """
    found: ResponsesAnswer | None = completion.__dict__.get(WHOLE)
    if found is None:
        said = completion.choices[0].message.content if completion.choices else None
        content = [{"type": "output_text", "text": said or "", "annotations": []}]
        output = [{"type": "message", "role": "assistant", "status": "incomplete", "content": content}]
        found = ResponsesAnswer(
            {"id": completion.id, "object": "response", "model": completion.model, "status": "incomplete"}
            | {"output": output}
        )
    known = completion.__dict__.get("_known")
    if known is not None:
        found._known = known
    found.response_ms = completion.response_ms
    return found


class Said(Struct):
    """What a list of items says."""

    texts: list[str] = []
    refusals: list[str] = []
    reasoning: list[str] = []
    annotations: list[JSON] = []
    logprobs: list[JSON] = []
    calls: list[ToolCall] = []
    thoughts: list[JSON] = []
    images: list[JSON] = []
    others: list[JSON] = []

    def message(self) -> Message:
        """The items as one message."""
        content, refusal, reasoning = "".join(self.texts), "".join(self.refusals), SUMMARY_BREAK.join(self.reasoning)
        return Message(
            content=content if content or not (self.calls or refusal or reasoning or self.images) else None,
            tool_calls=self.calls or None,
            refusal=refusal or None,
            reasoning_content=reasoning or None,
            reasoning_details=self.thoughts or None,
            annotations=self.annotations or None,
            images=self.images or None,
            provider_specific_fields={"output": self.others} if self.others else None,
        )


def read(output: Iterable[Any]) -> Said:
    """The items of an answer, sorted by what they are."""
    said = Said()
    for item in output:
        if not isinstance(item, dict):
            continue
        match item.get("type"):
            case "message":
                for part in objects(item.get("content")):
                    _read_part(part, said)
            case "reasoning":
                said.thoughts.append(item)
                thoughts = (*objects(item.get("summary")), *objects(item.get("content")))
                said.reasoning += filter(None, (text(part.get("text")) for part in thoughts))
            case "function_call" | "custom_tool_call":
                said.calls.append(tool_call(item))
            case _:
                said.others.append(item)
                said.images += images(item)
    return said


def _read_part(part: JSON, said: Said) -> None:
    if part.get("type") == "refusal":
        said.refusals.append(text(part.get("refusal")) or "")
        return
    said.texts.append(text(part.get("text")) or "")
    said.annotations += [annotation(given) for given in objects(part.get("annotations"))]
    said.logprobs += objects(part.get("logprobs"))


def objects(value: Any) -> list[JSON]:
    """The objects of a list; none of anything else."""
    return [item for item in value if isinstance(item, dict)] if isinstance(value, list) else []


def tool_call(item: JSON, *, index: int | None = None, begun: bool = False) -> ToolCall:
    """A call as chat has it; `begun`: one whose arguments are still to come."""
    call_id, name = text(item.get("call_id")) or text(item.get("id")), text(item.get("name"))
    if item.get("type") == "custom_tool_call":
        given = "" if begun else text(item.get("input")) or ""
        return ToolCall(id=call_id, type="custom", custom={"name": name, "input": given}, index=index)
    arguments = "" if begun else text(item.get("arguments")) or "{}"
    return ToolCall(id=call_id, function=Function(name=name, arguments=arguments), index=index)


def annotation(given: JSON) -> JSON:
    """A citation as chat has it: those of the web in a box of their own, others as they come."""
    if given.get("type") != "url_citation" or "url_citation" in given:
        return given
    return {"type": "url_citation", "url_citation": {k: v for k, v in given.items() if k != "type"}}


def images(item: JSON) -> list[JSON]:
    """The image that an item brings, as a data URL."""
    data = item.get("result")
    if item.get("type") != "image_generation_call" or not isinstance(data, str):
        return []
    kind = text(item.get("output_format")) or "png"
    return [{"type": "image_url", "image_url": {"url": f"data:image/{kind};base64,{data}"}}]


def failed(response: JSON, deployment: Deployment) -> APIError | None:
    """The error that a response ended in, if it did."""
    status = response.get("status")
    if status not in ("failed", "cancelled"):
        return None
    error = response.get("error")
    told = error if isinstance(error, dict) else {"message": f"the response is {status}", "code": "server_error"}
    return failure_from_payload({"error": told}, provider=deployment.provider, model=deployment.model)


def finished(response: JSON, *, called: bool) -> tuple[str | None, JSON | None]:
    """OpenAI's word for how a response ended, its own beside it; None while it is still at work in the background."""
    status = text(response.get("status")) or "completed"
    if status in ("queued", "in_progress"):
        return None, {"native_finish_reason": status}
    if status != "incomplete":
        return "tool_calls" if called else "stop", None
    details = response.get("incomplete_details")
    reason = text(details.get("reason")) if isinstance(details, dict) else None
    finish = "content_filter" if reason == "content_filter" else "length"
    return finish, {"native_finish_reason": reason or status}


def meter(response: JSON, deployment: Deployment, items: Sequence[JSON] = ()) -> Meter:
    """What a response consumed; `items` are its output where the response itself lists none."""
    output = objects(response.get("output")) or list(items)
    told = metered(
        response.get("usage"),
        lambda raw: _usage(raw, units(output, response.get("tool_usage"))),
        service_tier=text(response.get("service_tier")) or "",
    )
    # A deployment's name at Azure says nothing of the model.
    model = text(response.get("model")) or "" if deployment.provider == "azure" else ""
    return msgspec.structs.replace(told, model=model) if model else told


def _usage(raw: Any, tools: Mapping[str, int]) -> Usage:
    """The API's counts, whose totals include their parts. Raises `InvalidUsage`.

    Source: https://platform.openai.com/docs/api-reference/responses/object#responses/object-usage
    """
    return Usage(
        input_tokens=required(raw, "input_tokens"),
        output_tokens=required(raw, "output_tokens"),
        cache_read_tokens=count(raw, "input_tokens_details.cached_tokens") or 0,
        cache_write_tokens=count(raw, "input_tokens_details.cache_write_tokens") or 0,
        reasoning_tokens=count(raw, "output_tokens_details.reasoning_tokens"),
        units=tools,
    )


def units(output: Iterable[JSON], told: Any = None) -> dict[str, int]:
    """What the API's own tools are charged by: searches, questions to files, containers, images.

    Of the web's actions only searching is charged, opening a page is not; calls that share a container share its
    session. Where the response counts its searches itself, that count stands.
    Source: https://platform.openai.com/docs/pricing#built-in-tools
    """
    found: dict[str, int] = {}
    containers: set[str] = set()
    for item in output:
        match item.get("type"):
            case "web_search_call" if _searched(item.get("action")):
                found["search.web"] = found.get("search.web", 0) + 1
            case "file_search_call":
                found["search.file"] = found.get("search.file", 0) + 1
            case "code_interpreter_call":
                containers.add(text(item.get("container_id")) or "")
                found["code_session"] = len(containers)
            case "image_generation_call":
                found["image"] = found.get("image", 0) + 1
    searches = count(told, "web_search.num_requests")
    if searches is not None:
        found.pop("search.web", None)
        found |= {"search.web": searches} if searches else {}
    return found


def _searched(action: Any) -> bool:
    return not isinstance(action, dict) or action.get("type", "search") == "search"
