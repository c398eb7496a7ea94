"""OpenAI's image generation: a prompt in, images out, charged by tokens where the answer counts them, else by piece.

Source: https://platform.openai.com/docs/api-reference/images/create
"""

from typing import Any

import msgspec
from msgspec import Raw, Struct

from callmeter.client.codecs.base import Answered, Meter
from callmeter.client.codecs.minted import created_s
from callmeter.client.codecs.openai_endpoint import OpenAIEndpoint, read
from callmeter.client.codecs.openai_usage import reported_cost
from callmeter.client.operations import IMAGE_GENERATION
from callmeter.client.usage import count, metered, required
from callmeter.results import Image, ImageResponse, ImageUsage, TokensByKind
from callmeter.types import Call, Deployment, Usage
from callmeter.wire import WireReply

QUALITY, SIZE = "standard", "1024x1024"
"""What is made where neither call nor answer says. Source: as above, of DALL·E, which answers do not tell it of."""


class _Wire(Struct):
    data: list[Image]
    created: int | None = None
    background: str | None = None
    output_format: str | None = None
    quality: str | None = None
    size: str | None = None
    usage: Raw = Raw(b"null")
    svg_usage: Any = None


_wire = msgspec.json.Decoder(_Wire)


class OpenAIImageGeneration(OpenAIEndpoint):
    """`POST {api_base}/images/generations`."""

    path = "images/generations"
    supported = IMAGE_GENERATION.params

    def response(self, reply: WireReply, call: Call, deployment: Deployment) -> Answered:
        """A whole answer. Raises `APIResponseValidationError`, or the error an answer of 200 hides."""
        wire = read(reply.body, _wire, "list of images", deployment)
        meter = _meter(wire, call)
        answer = ImageResponse(
            created=created_s(call) if wire.created is None else wire.created,
            data=wire.data,
            background=wire.background,
            output_format=wire.output_format,
            quality=wire.quality,
            size=wire.size,
            usage=image_usage(meter.usage),
            svg_usage=wire.svg_usage,
        )
        return Answered(answer, meter)


CODEC = OpenAIImageGeneration()


def _meter(wire: _Wire, call: Call) -> Meter:
    raw = msgspec.json.decode(wire.usage)
    cost = reported_cost(raw)
    if isinstance(raw, dict) and "output_tokens" in raw:
        told = metered(raw, lambda counts: _usage(counts, wire.svg_usage), reported=cost)
        if told.problem or (told.usage is not None and told.usage.total_tokens):
            return told
    line = f"image.{_said(wire.quality, call, 'quality', QUALITY)}.{_said(wire.size, call, 'size', SIZE)}"
    return Meter(usage=Usage(units={line: len(wire.data)}), raw=raw, reported=cost)


def _said(told: str | None, call: Call, name: str, default: str) -> str:
    """What was made, as the answer says, else as was asked for; `auto` says nothing."""
    asked = call.params.get(name)
    return told or (asked if isinstance(asked, str) and asked != "auto" else default)


def _usage(raw: Any, authored: Any) -> Usage:
    """Tokens; all output is image unless its parts are told. Raises `InvalidUsage`.

    An SVG's author is another model with counts of its own, for which this answer's model has no price.
    Source: https://platform.openai.com/docs/api-reference/images/object
    """
    output = required(raw, "output_tokens")
    images = count(raw, "output_tokens_details.image_tokens")
    written = count(authored, "total_tokens")
    return Usage(
        input_tokens=required(raw, "input_tokens"),
        cache_read_tokens=count(raw, "input_tokens_details.cached_tokens") or 0,
        input_image_tokens=count(raw, "input_tokens_details.image_tokens") or 0,
        output_tokens=output,
        output_image_tokens=output if images is None else images,
        units={"svg_token": written} if written else {},
    )


def image_usage(usage: Usage | None) -> ImageUsage | None:
    """The public usage of an answer with images, on any wire; None where it was not charged by tokens."""
    if usage is None or not usage.total_tokens:
        return None
    return ImageUsage(
        input_tokens=usage.input_tokens,
        output_tokens=usage.output_tokens,
        total_tokens=usage.total_tokens,
        input_tokens_details=TokensByKind(
            image_tokens=usage.input_image_tokens, text_tokens=usage.input_tokens - usage.input_image_tokens
        ),
        output_tokens_details=TokensByKind(
            image_tokens=usage.output_image_tokens, text_tokens=usage.output_tokens - usage.output_image_tokens
        ),
    )
