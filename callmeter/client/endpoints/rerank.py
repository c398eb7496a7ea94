"""`rerank()` and `arerank()`: documents in the order of their relevance."""

from collections.abc import Sequence
from typing import Any

import msgspec

from callmeter.client.making import Made, make
from callmeter.client.mock import USAGE, Mock, Mocked
from callmeter.client.operations import RERANK
from callmeter.client.running import arun, run
from callmeter.results import RerankResponse


def rerank(
    model: str,
    query: str,
    documents: Sequence[Any],
    top_n: int | None = None,
    return_documents: bool = True,
    **params: Any,
) -> RerankResponse:
    """Order documents by how relevant they are to a query: `results[0].index`, `.relevance_score`, `.document`.

    A document is a text, or a dict with `text` or other fields where the model takes that. `top_n` keeps the first few.

    Everything about the call itself is as in `completion()`, and so are the errors. `mock_response` is a list of
    scores, one for each document.
    """
    return run(_made("rerank", model, query, documents, top_n, return_documents, params))  # type: ignore[no-any-return]


async def arerank(
    model: str,
    query: str,
    documents: Sequence[Any],
    top_n: int | None = None,
    return_documents: bool = True,
    **params: Any,
) -> RerankResponse:
    """`rerank()` for event loops: the same arguments, results and errors."""
    made = _made("arerank", model, query, documents, top_n, return_documents, params)
    return await arun(made)  # type: ignore[no-any-return]


def _made(
    call_type: str,
    model: str,
    query: str,
    documents: Sequence[Any],
    top_n: int | None,
    return_documents: bool,
    params: dict[str, Any],
) -> Made:
    given = {
        "query": query,
        "documents": documents,
        "top_n": top_n,
        "return_documents": return_documents,
        **params,
    }
    return make(RERANK, call_type, model, (), given, Mocked(_mocked))


def _mocked(mock: Mock, asked: dict[str, Any]) -> bytes:
    ranked = sorted(enumerate(mock.response), key=lambda place: -place[1])[: asked.get("top_n")]
    results = [{"index": index, "relevance_score": score} for index, score in ranked]
    return msgspec.json.encode({"results": results, "usage": {"total_tokens": USAGE["prompt_tokens"]}})
