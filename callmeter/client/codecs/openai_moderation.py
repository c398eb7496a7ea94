"""OpenAI's moderation: texts or images in, verdicts out.

Source: https://platform.openai.com/docs/api-reference/moderations
"""

from typing import Any

import msgspec
from msgspec import Raw, Struct

from callmeter.client.codecs.base import Answered
from callmeter.client.codecs.openai_endpoint import OpenAIEndpoint, read
from callmeter.client.codecs.openai_usage import input_meter
from callmeter.client.operations import MODERATION
from callmeter.results import Categories, Moderation, ModerationResponse
from callmeter.types import Call, Deployment
from callmeter.wire import WireReply


class _Verdict(Struct):
    categories: dict[str, Any]
    category_scores: dict[str, Any]
    flagged: bool | None = None
    category_applied_input_types: dict[str, Any] | None = None

    def shown(self) -> Moderation:
        """The verdict; where nobody says whether it flags, any category does."""
        types = self.category_applied_input_types
        return Moderation(
            flagged=any(self.categories.values()) if self.flagged is None else self.flagged,
            categories=Categories(self.categories),
            category_scores=Categories(self.category_scores),
            category_applied_input_types=None if types is None else Categories(types),
        )


class _Wire(Struct):
    results: list[_Verdict]
    id: str | None = None
    model: str | None = None
    usage: Raw = Raw(b"null")


_wire = msgspec.json.Decoder(_Wire)


class OpenAIModeration(OpenAIEndpoint):
    """`POST {api_base}/moderations`."""

    path = "moderations"
    supported = MODERATION.params

    def response(self, reply: WireReply, call: Call, deployment: Deployment) -> Answered:
        """A whole answer. Raises `APIResponseValidationError`, or the error an answer of 200 hides."""
        wire = read(reply.body, _wire, "list of verdicts", deployment)
        answer = ModerationResponse(
            id=wire.id, model=wire.model or deployment.model, results=[verdict.shown() for verdict in wire.results]
        )
        return Answered(answer, input_meter(msgspec.json.decode(wire.usage), deployment))


CODEC = OpenAIModeration()
