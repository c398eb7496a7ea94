"""LiteLLM pricing the calls of the cross-check: `litellm_load.py CALLS ANSWERS`, a JSON object a line.

Each call is put to its `completion_cost` as an answer of the provider would be: the counts in its own `Usage`; an
image, a transcript, a rerank, a video or pages read by OCR in its own response classes. It is pinned to the call's
instant. Runs in an environment of its own, so it imports nothing of ours.
"""

import contextlib
import json
import os
import sys
import warnings
from datetime import datetime, timezone

warnings.simplefilter("ignore")
import litellm  # noqa: E402
from litellm._internal_context import pinned_billing_time  # noqa: E402
from litellm.llms.base_llm.ocr.transformation import OCRPage, OCRResponse, OCRUsageInfo  # noqa: E402
from litellm.types.llms.openai import ResponsesAPIResponse  # noqa: E402
from litellm.types.rerank import RerankResponse  # noqa: E402
from litellm.types.utils import (  # noqa: E402
    CacheCreationTokenDetails,
    CompletionTokensDetailsWrapper,
    ImageObject,
    ImageResponse,
    ModelResponse,
    PromptTokensDetailsWrapper,
    ServerToolUse,
    TranscriptionResponse,
    Usage,
)
from litellm.types.videos.main import VideoObject  # noqa: E402

litellm.suppress_debug_info = True

KINDS = {
    "image_generation": "image",
    "image_edit": "image",
    "video_generation": "video",
    "audio_speech": "speech",
    "audio_transcription": "transcription",
    "rerank": "rerank",
    "ocr": "ocr",
    "search": "search",
}
"""How calls of a mode are asked about that are charged by the piece; any other piece comes with a chat."""

SEARCHES_IN_USAGE = ("anthropic", "gemini", "vertex_ai", "xai", "perplexity", "groq")
"""Providers whose searches it reads from the usage. Of others it counts the calls in a response of OpenAI's kind."""


class Silent(Exception):
    """It cannot be asked this."""


class Question:
    """One call in its terms."""

    def __init__(self, call, provider):
        self.provider, self.tier, self.region = provider, call.get("tier", ""), call.get("region", "")
        self.usage, self.units = call["usage"], call["usage"].get("units", {})
        self.count = next(iter(self.units.values()), 0)
        self.line = next(iter(self.units), "")
        self.asked = {"model": call["model"], "custom_llm_provider": provider, **self.place(call["model"])}
        if call["mode"] == "embedding":
            self.asked["call_type"] = "embedding"
        by_piece = self.units and not self.usage.get("input_tokens")
        self.kind = KINDS.get(call["mode"], "tokens") if by_piece else "tokens"

    def usd(self):
        return getattr(self, self.kind)()

    def cost(self, response=None, **more):
        return litellm.completion_cost(completion_response=response, **{**self.asked, **more})

    def place(self, model):
        """Region and tier in the form its own code gives them."""
        found = {}
        if self.tier and self.tier not in ("batch", "fast", "standard"):
            found["service_tier"] = self.tier
        if not self.region or self.provider == "anthropic":
            return found
        if self.provider == "azure":
            return {**found, "model": f"{self.region}/{model}"}
        places = {"bedrock": ("region_name", ""), "openai": ("data_residency", "eu")}
        if self.provider.startswith("vertex_ai"):
            places[self.provider] = ("vertex_location", "us-east5")
        if self.provider not in places:
            raise Silent(f"no region {self.region!r} of {self.provider}")
        keyword, some = places[self.provider]
        return {**found, keyword: some if self.region == "regional" else self.region}

    def tokens(self):
        if self.tier == "batch":
            self.asked["call_type"] = "retrieve_batch"
        searches = [line for line in self.units if line.startswith("search.web")]
        tools = {}
        if searches:
            size = searches[0].removeprefix("search.web").strip(".") or "medium"
            tools["web_search_options"] = {"search_context_size": size}
            if not self.provider.startswith(SEARCHES_IN_USAGE):
                return self.cost(self.responses(int(self.count)), standard_built_in_tools_params=tools)
        made = ModelResponse(model=self.asked["model"], usage=self.counts())
        if "code_session" in self.units:
            tools["code_interpreter_sessions"] = int(self.count)
        if "search.file" in self.units:
            tools["file_search"] = {"type": "file_search"}
            made.choices[0].message.annotations = [{"type": "file_citation"}]
        return self.cost(made, **({"standard_built_in_tools_params": tools} if tools else {}))

    def responses(self, searches):
        calls = [{"type": "web_search_call", "id": f"w{n}", "status": "completed"} for n in range(searches)]
        inputs, outputs = self.usage.get("input_tokens", 0), self.usage.get("output_tokens", 0)
        counts = {"input_tokens": inputs, "output_tokens": outputs, "total_tokens": inputs + outputs}
        return ResponsesAPIResponse(
            id="r", created_at=0, model=self.asked["model"], object="response", output=calls, usage=counts
        )

    def counts(self):
        get = {name: value for name, value in self.usage.items() if name != "units" and value}.get
        written, hour = get("cache_write_tokens", 0), get("cache_write_1h_tokens", 0)
        inputs = {
            "cached_tokens": get("cache_read_tokens"),
            "audio_tokens": get("input_audio_tokens"),
            "image_tokens": get("input_image_tokens"),
            "video_tokens": get("input_video_tokens"),
            "google_maps_grounding_requests": self.whole("search.maps"),
            "image_count": self.whole("image"),
            "audio_length_seconds": self.fraction("audio_second"),
            "video_length_seconds": self.fraction("video_second"),
            "character_count": self.whole("character"),
            "query_count": self.whole("request"),
        }
        if get("cache_read_audio_tokens"):
            inputs["cached_tokens_details"] = {"audio_tokens": get("cache_read_audio_tokens")}
        if written or hour:
            inputs["cache_creation_tokens"] = written + hour
            inputs["cache_creation_token_details"] = CacheCreationTokenDetails(
                ephemeral_5m_input_tokens=written, ephemeral_1h_input_tokens=hour
            )
        outputs = {
            "reasoning_tokens": get("reasoning_tokens"),
            "audio_tokens": get("output_audio_tokens"),
            "image_tokens": get("output_image_tokens"),
            "video_tokens": self.whole("video_out"),
        }
        more = {}
        searches = sum(int(number) for line, number in self.units.items() if line.startswith("search.web"))
        if searches:
            inputs["web_search_requests"] = searches
            more["server_tool_use"] = ServerToolUse(web_search_requests=searches)
        if self.region and self.provider == "anthropic":
            more["inference_geo"] = self.region
        if self.tier == "fast":
            more["speed"] = "fast"
        inputs = {name: value for name, value in inputs.items() if value}
        outputs = {name: value for name, value in outputs.items() if value}
        total_out = get("output_tokens", 0) + (self.whole("video_out") or 0)
        made = Usage(
            prompt_tokens=get("input_tokens", 0),
            completion_tokens=total_out,
            total_tokens=get("input_tokens", 0) + total_out,
            prompt_tokens_details=PromptTokensDetailsWrapper(**inputs) if inputs else None,
            completion_tokens_details=CompletionTokensDetailsWrapper(**outputs) if outputs else None,
            **more,
        )
        if searches and self.provider == "xai":
            made.server_side_tool_usage_details = {"web_search_calls": searches}
        if self.units.get("citation"):
            made.citation_tokens = int(self.units["citation"])
        return made

    def whole(self, line):
        return int(self.units[line]) if line in self.units else None

    def fraction(self, line):
        return float(self.units[line]) if line in self.units else None

    def image(self):
        if self.line.partition(".")[0] != "image":
            return self.tokens()
        quality, _, size = self.line.removeprefix("image").removeprefix(".").rpartition(".")
        if size and "x" not in size:
            quality, size = (f"{quality}.{size}" if quality else size), ""
        options = {"resolution": quality} if quality.endswith("K") else {"quality": quality} if quality else {}
        image = ImageObject(url="x")
        if size:
            width, height = (int(number) for number in size.split("x"))
            options["image_size"] = {"width": width, "height": height}
            image.provider_specific_fields = {"width": width, "height": height}
        more = {"quality": quality, "size": size, "optional_params": options}
        return self.cost(
            ImageResponse(data=[image] * int(self.count)),
            call_type="image_generation",
            n=int(self.count),
            **{name: value for name, value in more.items() if value},
        )

    def video(self):
        if self.line.partition(".")[0] != "video_second":
            return self.image() if self.line.startswith("image") else self.tokens()
        usage = {"duration_seconds": float(self.count)}
        if "." in self.line:
            usage["video_resolution"] = self.line.partition(".")[2]
        made = VideoObject(id="v", object="video", status="completed", model=self.asked["model"], usage=usage)
        return self.cost(made, call_type="create_video")

    def speech(self):
        if self.line != "character":
            raise Silent(f"speech is asked about by its characters, not by {self.line}")
        return self.cost(call_type="speech", prompt="x" * int(self.count))

    def transcription(self):
        made = TranscriptionResponse(text="x")
        made.duration = float(self.count)
        return self.cost(made, call_type="transcription")

    def rerank(self):
        made = RerankResponse(id="x", results=[], meta={"billed_units": {"search_units": int(self.count)}})
        return self.cost(made, call_type="rerank")

    def ocr(self):
        made = OCRResponse(
            pages=[OCRPage(index=0, markdown="x")],
            model=self.asked["model"],
            usage_info=OCRUsageInfo(
                pages_processed=self.whole("page") or 0, pages_processed_annotation=self.whole("page_annotated") or 0
            ),
        )
        return self.cost(made, call_type="ocr")

    def search(self):
        return self.cost({"usage": {}}, call_type="search", optional_params={"query": ["x"] * int(self.count)})


def answer(call):
    """What it says under the first of the provider's names by which it knows the model."""
    why = ""
    for provider in call["names"]:
        try:
            with pinned_billing_time(datetime.fromtimestamp(call["at_s"], timezone.utc)):  # noqa: UP017
                return {"usd": repr(float(Question(call, provider).usd()))}
        except Silent as reason:
            why = str(reason)
        except Exception as problem:
            why = why or f"{type(problem).__name__}: {problem}"
    return {"silent": why[:200]}


def known():
    """Every entry of its map that has a price."""
    for key, entry in litellm.model_cost.items():
        if any("cost" in field and value for field, value in entry.items()):
            yield {"key": key, "provider": entry.get("litellm_provider", ""), "entry": entry}


def main():
    calls, answers = sys.argv[1:]
    with open(calls) as read, open(answers, "w") as write, contextlib.redirect_stdout(sys.stderr):
        for line in read:
            write.write(json.dumps(answer(json.loads(line))) + "\n")
    with open(f"{answers}.known", "w") as write:
        write.writelines(json.dumps(one) + "\n" for one in known())


main()
print(json.dumps({"done": True}), flush=True)
os._exit(0)
