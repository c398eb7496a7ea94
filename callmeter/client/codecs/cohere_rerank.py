"""Cohere's v2 reranking, charged by the search. Source: https://docs.cohere.com/reference/rerank"""

from typing import Any

import msgspec
from msgspec import Struct

from callmeter.client.codecs.base import Answered, Meter
from callmeter.client.codecs.cohere import CohereEndpoint
from callmeter.client.codecs.messages import JSON
from callmeter.client.codecs.openai_chat import with_extra
from callmeter.client.codecs.openai_rerank import Ranked, answer, searches
from callmeter.client.codecs.unreadable import UNREADABLE, not_the_shape
from callmeter.client.operations import RERANK
from callmeter.types import Call, Deployment
from callmeter.wire import WireReply


class _Wire(Struct):
    results: list[Ranked]
    id: str | None = None
    meta: Any = None


_read = msgspec.json.Decoder(_Wire).decode


class CohereRerank(CohereEndpoint):
    """`POST {api_base}/v2/rerank`. `max_tokens_per_doc` and the rest pass as they are."""

    path = "rerank"
    supported = RERANK.params

    def body(self, call: Call, deployment: Deployment) -> JSON:
        """The body; Cohere sends no documents back, so it is not asked to, and takes texts only."""
        params = {name: value for name, value in call.params.items() if name != "return_documents"}
        params["documents"] = [_text(document) for document in params.get("documents") or ()]
        return with_extra({"model": deployment.model, **params}, call)

    def response(self, reply: WireReply, call: Call, deployment: Deployment) -> Answered:
        """A whole answer. Raises `APIResponseValidationError`."""
        try:
            wire = _read(reply.body)
        except UNREADABLE as problem:
            raise not_the_shape("an answer of ranked documents", reply.body, problem, deployment) from problem
        return answer(wire.results, searches(wire.meta) or Meter(), call, wire.id, deployment.model)


CODEC = CohereRerank()


def _text(document: Any) -> Any:
    """A document as one text. Of an object it is the `text`, else all of it, as YAML is read: a line a field.

    Source: https://docs.cohere.com/docs/rerank-overview#tips-on-structured-data
    """
    if not isinstance(document, dict):
        return document
    return document.get("text") or "\n".join(f"{name}: {value}" for name, value in document.items())
