"""SAP AI Core's orchestration: OpenAI's messages within a configuration, OpenAI's answers within an envelope.

Variables: `deployment`, the orchestration's id, and `resource_group`. Extras: `model_version`, `placeholder_values`,
and the modules `grounding`, `masking`, `filtering` and `translation`, as SAP documents them.
Source: https://help.sap.com/docs/sap-ai-core/generative-ai/orchestration-8d022355037643cebf775cd3bf662cc5
"""

from collections.abc import Sequence
from typing import Any

import msgspec
from msgspec import Raw, Struct
from msgspec.structs import replace

from callmeter.client.codecs.base import Answer, Frame
from callmeter.client.codecs.messages import JSON
from callmeter.client.codecs.openai_answer import NOT_READ
from callmeter.client.codecs.openai_chat import OpenAIChat
from callmeter.client.codecs.openai_stream import OpenAIChatDecoder
from callmeter.client.params import OPENAI_CHAT_PARAMS
from callmeter.errors import BadRequestError
from callmeter.shapes import Chunk
from callmeter.types import Call, Deployment
from callmeter.wire import WireReply, WireRequest

SAP_PARAMS = OPENAI_CHAT_PARAMS - {
    "audio", "functions", "function_call", "metadata", "modalities", "moderation", "parallel_tool_calls",
    "prompt_cache_key", "prompt_cache_options", "prompt_cache_retention", "safety_identifier", "service_tier", "store",
    "thinking", "tool_choice", "verbosity", "web_search_options",
}  # fmt: skip
"""Parameters this wire can carry. A choice among tools has no place in a template. Source: as above."""

MODULES = ("filtering", "grounding", "masking", "translation")


class _Envelope(Struct):
    final_result: Raw = Raw()


_read = msgspec.json.Decoder(_Envelope).decode


class SAP(OpenAIChat):
    """`POST {api_base}/v2/inference/deployments/{deployment}/v2/completion`."""

    supported: frozenset[str] = SAP_PARAMS

    def request(self, call: Call, deployment: Deployment) -> WireRequest:
        """The call as one POST, for the resource group that it is charged to."""
        request = super().request(call, deployment)
        group = deployment.variables.get("resource_group", "default")
        return replace(request, headers={"ai-resource-group": group, **request.headers})

    def url(self, deployment: Deployment) -> str:
        """The address of orchestration. Raises `BadRequestError` where the deployment is not known."""
        base = deployment.api_base.rstrip("/")
        if base.endswith("/completion"):
            return base
        if "/deployments/" in base:
            return f"{base}/v2/completion"
        name = deployment.variables.get("deployment")
        if not name:
            raise BadRequestError(
                "sap needs the id of your orchestration deployment: pass deployment=… or set AICORE_DEPLOYMENT_ID"
            )
        return f"{base.removesuffix('/v2')}/v2/inference/deployments/{name}/v2/completion"

    def body(self, call: Call, deployment: Deployment) -> JSON:
        """The body: a configuration of orchestration's modules, whose prompt is the conversation."""
        plain = super().body(call, deployment)
        stream = {"stream": {"enabled": True}} if plain.pop("stream", False) else {}
        for name in ("stream_options", "user"):
            plain.pop(name, None)
        values, version = plain.pop("placeholder_values", None), plain.pop("model_version", "latest")
        modules = {name: plain.pop(name) for name in MODULES if name in plain}
        prompt = {"template": plain.pop("messages")}
        prompt |= {name: plain.pop(name) for name in ("tools", "response_format") if name in plain}
        model = {"name": plain.pop("model"), "version": version, "params": plain}
        templating = {"prompt_templating": {"prompt": prompt, "model": model}, **modules}
        filled = {} if values is None else {"placeholder_values": values}
        return {"config": {"modules": templating, **stream}, **filled}

    def response(self, reply: WireReply, call: Call, deployment: Deployment) -> Answer:
        """A whole answer. Raises `APIResponseValidationError`, or the error an answer of 200 hides."""
        return super().response(replace(reply, body=_opened(reply.body)), call, deployment)

    def decoder(self, call: Call, deployment: Deployment) -> "SAPDecoder":
        """A fresh decoder for one stream."""
        return SAPDecoder(call, deployment)


CODEC = SAP()


class SAPDecoder(OpenAIChatDecoder):
    """OpenAI's stream, each chunk out of its envelope."""

    def chunks(self, frame: Frame) -> Sequence[Chunk]:
        """The chunks a frame adds."""
        return super().chunks(Frame(_opened(frame.data), frame.event))


def _opened(data: bytes) -> Any:
    """What is in an envelope; what is none, as it is."""
    try:
        inner = bytes(_read(data).final_result)
    except NOT_READ:
        return data
    return inner or data
