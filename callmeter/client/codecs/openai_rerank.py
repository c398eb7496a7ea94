"""Reranking as Cohere and Jina have it and servers beside OpenAI's endpoints took it over: documents, best first.

OpenAI itself has no such endpoint. Source: https://jina.ai/reranker, https://docs.cohere.com/reference/rerank,
https://docs.vllm.ai/en/latest/serving/openai_compatible_server.html
"""

from collections.abc import Sequence
from typing import Any

import msgspec
from msgspec import Struct

from callmeter.client.codecs.base import Answered, Meter
from callmeter.client.codecs.messages import JSON
from callmeter.client.codecs.openai_endpoint import OpenAIEndpoint, read
from callmeter.client.codecs.openai_usage import input_meter, reported_cost
from callmeter.client.operations import RERANK
from callmeter.client.usage import at, metered, required
from callmeter.records import Record
from callmeter.results import RerankResponse, RerankResult
from callmeter.types import Call, Deployment, Usage
from callmeter.wire import WireReply


class Ranked(Struct):
    """One document's place."""

    index: int
    relevance_score: float
    document: Any = None


class _Wire(Struct):
    results: list[Ranked] | None = None
    data: list[Ranked] | None = None
    """Where Fireworks and Voyage have them."""
    id: str | None = None
    model: str | None = None
    usage: Any = None
    meta: Any = None

    def __post_init__(self) -> None:
        if self.results is None and self.data is None:
            raise ValueError("there is neither results nor data")


_wire = msgspec.json.Decoder(_Wire)


class OpenAIRerank(OpenAIEndpoint):
    """`POST {api_base}/rerank`."""

    path = "rerank"
    supported = RERANK.params

    def response(self, reply: WireReply, call: Call, deployment: Deployment) -> Answered:
        """A whole answer. Raises `APIResponseValidationError`, or the error an answer of 200 hides."""
        wire = read(reply.body, _wire, "list of ranked documents", deployment)
        meter = searches(wire.meta, wire.usage) or input_meter(wire.usage, deployment)
        return answer(wire.results or wire.data or (), meter, call, wire.id, wire.model or deployment.model)


CODEC = OpenAIRerank()


def searches(meta: Any, usage: Any = None) -> Meter | None:
    """What is charged by the search, of up to a hundred documents: Cohere's `meta`, OpenRouter's `usage`.

    None where no searches are counted. Tokens that stand beside them are not charged for.
    Source: https://docs.cohere.com/docs/how-does-cohere-pricing-work
    """
    for raw, path in ((meta, "billed_units.search_units"), (usage, "search_units")):
        if at(raw, path) is not None:
            return _searched(raw, path)
    return None


def _searched(raw: Any, path: str) -> Meter:
    return metered(raw, lambda raw: Usage(units={"rerank": required(raw, path)}), reported=reported_cost(raw))


def answer(results: Sequence[Ranked], meter: Meter, call: Call, id: str | None, model: str) -> Answered:
    """The answer of these places; a document that was wanted and not sent back is the caller's own."""
    wanted = call.params.get("return_documents", True)
    given = call.params.get("documents") or ()
    shown = [
        RerankResult(
            index=place.index,
            relevance_score=place.relevance_score,
            document=_document(place.document, place.index, given) if wanted else None,
        )
        for place in results
    ]
    return Answered(RerankResponse(id=id or f"rerank-{call.id}", model=model, results=shown, meta=_meta(meter)), meter)


def _document(sent: Any, index: int, given: Sequence[Any]) -> Record | None:
    if sent is None and 0 <= index < len(given):
        sent = given[index]
    if sent is None:
        return None
    return Record(sent if isinstance(sent, dict) else {"text": sent})


def _meta(meter: Meter) -> Record | None:
    usage = meter.usage
    if usage is None:
        return None
    tokens = {"input_tokens": usage.input_tokens, "output_tokens": 0} if usage.input_tokens else None
    units: JSON = {"search_units": usage.units["rerank"]} if "rerank" in usage.units else {}
    return Record({"billed_units": units or {"total_tokens": usage.input_tokens}, "tokens": tokens})
