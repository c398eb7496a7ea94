"""Anthropic Messages on Bedrock by InvokeModel: the model stands in the address, version and betas in the body.

Source: https://docs.aws.amazon.com/bedrock/latest/userguide/model-parameters-anthropic-claude-messages.html
"""

from base64 import b64decode
from binascii import Error as NotBase64
from collections.abc import Mapping, Sequence

import msgspec
from msgspec import Struct
from msgspec.structs import replace

from callmeter.client.codecs.anthropic import Anthropic, by_tool
from callmeter.client.codecs.anthropic_request import request_body, with_betas
from callmeter.client.codecs.anthropic_stream import AnthropicDecoder
from callmeter.client.codecs.aws_errors import aws_failure, error_within
from callmeter.client.codecs.base import Answer, Frame, Framing
from callmeter.client.codecs.bedrock_models import is_claude, model_of, takes_schemas
from callmeter.client.codecs.bedrock_request import EVENT_STREAM, model_url
from callmeter.client.codecs.headers import bearer
from callmeter.client.codecs.messages import JSON, encode_body
from callmeter.client.codecs.unreadable import UNREADABLE, bad_frame
from callmeter.errors import APIError, BadRequestError
from callmeter.shapes import Chunk
from callmeter.types import Call, Deployment
from callmeter.wire import WireReply, WireRequest

VERSION = "bedrock-2023-05-31"

TIER = "x-amzn-bedrock-service-tier"
LATENCY = "x-amzn-bedrock-performanceconfig-latency"
METADATA = "x-amzn-bedrock-request-metadata"

GUARDRAIL = {
    "guardrailIdentifier": "x-amzn-bedrock-guardrailidentifier",
    "guardrailVersion": "x-amzn-bedrock-guardrailversion",
    "trace": "x-amzn-bedrock-trace",
}
"""Members of Converse's `guardrailConfig` that are headers here."""


class AnthropicOnBedrock(Anthropic):
    """The Messages wire within InvokeModel. Answers are Anthropic's own; a stream wraps its events in Amazon's.

    Variables and quirks are those of `Bedrock` and of `Anthropic`.
    """

    framing: Framing = "eventstream"
    supported = Anthropic.supported - {"web_search_options"}

    def request(self, call: Call, deployment: Deployment) -> WireRequest:
        """The call as one POST. Raises `BadRequestError` for a model that is not Claude, or what Claude lacks."""
        if not is_claude(deployment) and not deployment.model.startswith("arn:"):
            raise BadRequestError(
                f"bedrock/invoke/ speaks Claude's own format, which {deployment.model} does not: call it as "
                f"bedrock/{deployment.model}"
            )
        body, betas = request_body(call, _as_anthropic(deployment))
        for name in ("model", "stream"):
            body.pop(name, None)
        headers = _headers(call, body) | bearer(deployment)
        headers = with_betas(headers, betas, call, deployment)
        if named := headers.pop("anthropic-beta", ""):
            body = {**body, "anthropic_beta": named.split(",")}
        return WireRequest(
            url=model_url(deployment, "invoke-with-response-stream" if call.stream else "invoke"),
            body=encode_body({"anthropic_version": VERSION, **body}),
            headers=headers,
            timeouts=call.timeouts,
        )

    def response(self, reply: WireReply, call: Call, deployment: Deployment) -> Answer:
        """A whole message. Raises `APIResponseValidationError`, or the error an answer of 200 hides."""
        answer = super().response(reply, call, _as_anthropic(deployment))
        tier = _tier(reply.headers) or answer.meter.service_tier
        return answer._replace(meter=replace(answer.meter, service_tier=tier))

    def decoder(self, call: Call, deployment: Deployment) -> AnthropicDecoder:
        """A fresh decoder for one stream."""
        return InvokedDecoder(call, deployment, by_tool=by_tool(call, _as_anthropic(deployment)))

    def failure(self, status: int, headers: Mapping[str, str], body: bytes, deployment: Deployment) -> APIError:
        """The error that a non-2xx answer stands for."""
        return aws_failure(status, headers, body, deployment)


class WireChunk(Struct):
    """An event of the stream: one of Anthropic's, in base64."""

    bytes: str = ""


_read = msgspec.json.Decoder(WireChunk).decode


class InvokedDecoder(AnthropicDecoder):
    """Anthropic's decoder over what the events of InvokeModelWithResponseStream hold."""

    def chunks(self, frame: Frame) -> Sequence[Chunk]:
        """The chunks an event adds: none for kinds unknown."""
        if frame.failed or not frame.event:
            raise error_within(frame, self._deployment)
        if frame.event != "chunk":
            return ()
        try:
            held = b64decode(_read(frame.data).bytes)
        except (*UNREADABLE, NotBase64, ValueError) as problem:
            raise bad_frame("a chunk of an invoked model", frame.data, problem, self._deployment) from problem
        return super().chunks(Frame(held))


def _as_anthropic(deployment: Deployment) -> Deployment:
    """The deployment as Anthropic's wire knows it: by the model's name, and by what Bedrock lets the model do."""
    quirks = {"json_schema": takes_schemas(deployment), **deployment.quirks}
    return replace(deployment, model=model_of(deployment), quirks=quirks)


def _headers(call: Call, body: JSON) -> dict[str, str]:
    """What Converse has in its body, and InvokeModel in headers; it is taken out of the body."""
    headers = {"content-type": "application/json", "accept": EVENT_STREAM if call.stream else "application/json"}
    body.pop("service_tier", None)
    if (tier := call.params.get("service_tier")) not in (None, "auto"):
        headers[TIER] = str(tier)
    if latency := (body.pop("performanceConfig", None) or {}).get("latency"):
        headers[LATENCY] = latency
    if metadata := body.pop("requestMetadata", None):
        headers[METADATA] = encode_body(metadata).decode()
    guardrail = body.pop("guardrailConfig", None) or {}
    for member, header in GUARDRAIL.items():
        if value := guardrail.get(member):
            headers[header] = value.upper() if member == "trace" else value
    return headers


def _tier(headers: Mapping[str, str]) -> str:
    return "optimized" if headers.get(LATENCY) == "optimized" else headers.get(TIER, "")


CODEC = AnthropicOnBedrock()
