"""Reranking as Jina (and vLLM, Together, …) and as Cohere answer it: by the words a document shares with the query.

Shapes as documented: https://jina.ai/reranker, https://docs.cohere.com/reference/rerank
"""

from typing import Any

import msgspec

from callmeter.testing.scripts import NUMBER, Answer, Tokens, Wish


class _Body(msgspec.Struct):
    model: str
    query: str
    documents: list[Any]
    top_n: int | None = None
    top_k: int | None = None
    return_documents: bool = False


_body = msgspec.json.Decoder(_Body)


def answer(body: bytes, wish: Wish) -> Answer:
    """Jina's, which counts tokens. Raises `msgspec.MsgspecError` for what is no request."""
    asked = _body.decode(body)
    written = len(msgspec.json.encode([asked.query, asked.documents]))
    tokens = Tokens(prompt_tokens=-(-written // 4) if wish.prompt_tokens is None else wish.prompt_tokens)
    whole: dict[str, Any] = {"model": asked.model, "results": _ranked(asked)}
    if wish.usage:
        whole["usage"] = {"prompt_tokens": tokens.prompt_tokens, "total_tokens": tokens.prompt_tokens}
    return Answer(wire="rerank", model=asked.model, pieces=(msgspec.json.encode(whole),), tokens=tokens)


def cohere(body: bytes, wish: Wish) -> Answer:
    """Cohere's, which counts searches of a hundred documents. Raises `msgspec.MsgspecError` for what is no request."""
    asked = _body.decode(body)
    units = {"billed_units": {"search_units": -(-len(asked.documents) // 100)}}
    whole = {"id": NUMBER, "results": _ranked(asked), "meta": {"api_version": {"version": "2"}, **units}}
    return Answer(wire="cohere_rerank", model=asked.model, pieces=(msgspec.json.encode(whole),))


def _ranked(asked: _Body) -> list[dict[str, Any]]:
    words = set(asked.query.lower().split())
    scores = [len(words & set(_text(document).lower().split())) / len(words) for document in asked.documents]
    best = sorted(range(len(scores)), key=lambda at: -scores[at])[: asked.top_n or asked.top_k]
    return [
        {"index": at, "relevance_score": scores[at]}
        | ({"document": {"text": _text(asked.documents[at])}} if asked.return_documents else {})
        for at in best
    ]


def _text(document: Any) -> str:
    return document if isinstance(document, str) else str(document.get("text") or document)
