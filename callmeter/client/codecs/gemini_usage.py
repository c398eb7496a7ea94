"""Gemini's counts as ours.

Source: https://ai.google.dev/api/generate-content#UsageMetadata
"""

from collections.abc import Iterable
from typing import Any

from callmeter.client.codecs.base import Meter
from callmeter.client.usage import checked, count, metered
from callmeter.types import Usage

TRAFFIC = {
    "ON_DEMAND": "standard",
    "ON_DEMAND_PRIORITY": "priority",
    "ON_DEMAND_FLEX": "flex",
    "ON_DEMAND_OFFPEAK": "offpeak",
    "PROVISIONED_THROUGHPUT": "provisioned",
}
"""The tier that served a call on Vertex AI, by its name for it."""

COUNTS = ("promptTokenCount", "candidatesTokenCount", "responseTokenCount", "thoughtsTokenCount", "totalTokenCount")


def meter(raw: Any, searches: int) -> Meter:
    """The usage object metered, and the searches that the answer was grounded by.

    One that has no counts yet, as the first events of a stream on Vertex AI bring, is no usage.
    """
    if not isinstance(raw, dict):
        return metered(raw, usage)
    tier = raw.get("serviceTier") or TRAFFIC.get(str(raw.get("trafficType")), "")
    tier = tier.lower() if isinstance(tier, str) else ""
    if not counted(raw):
        return Meter(service_tier=tier)
    return metered(raw, lambda counts: usage(counts, searches), service_tier=tier)


def counted(raw: Any) -> bool:
    """Whether a usage object counts anything; one that is no object is for `meter` to complain of."""
    if not isinstance(raw, dict) or raw.get("totalTokenCount") is not None:
        return True
    return any(raw.get(name) is not None for name in COUNTS)


def usage(raw: Any, searches: int = 0) -> Usage:
    """Gemini's counts as ours. Raises `InvalidUsage` naming the count that is none.

    The prompt contains what was read from a cache, not what tools brought; candidates do not contain thoughts. A count
    of zero is left out there.
    """
    prompt, tools = count(raw, "promptTokenCount") or 0, count(raw, "toolUsePromptTokenCount") or 0
    thoughts = count(raw, "thoughtsTokenCount")
    inputs = _by_modality(raw, "promptTokensDetails", "toolUsePromptTokensDetails")
    outputs = _by_modality(raw, "candidatesTokensDetails", "responseTokensDetails")
    return Usage(
        input_tokens=prompt + tools,
        output_tokens=_output(raw, prompt + tools, thoughts or 0),
        cache_read_tokens=count(raw, "cachedContentTokenCount") or 0,
        reasoning_tokens=thoughts,
        input_audio_tokens=inputs.get("AUDIO", 0),
        input_image_tokens=inputs.get("IMAGE", 0),
        input_video_tokens=inputs.get("VIDEO", 0),
        cache_read_audio_tokens=_by_modality(raw, "cacheTokensDetails").get("AUDIO", 0),
        output_audio_tokens=outputs.get("AUDIO", 0),
        output_image_tokens=outputs.get("IMAGE", 0),
        units={"search.web": searches} if searches else {},
    )


def _output(raw: Any, prompt: int, thoughts: int) -> int:
    """Candidates and thoughts. Some models count thoughts within candidates, which only the total tells."""
    candidates = count(raw, "candidatesTokenCount")
    if candidates is None:
        candidates = count(raw, "responseTokenCount") or 0
    within = candidates >= thoughts and count(raw, "totalTokenCount") == prompt + candidates
    return candidates if within else candidates + thoughts


def _by_modality(raw: Any, *names: str) -> dict[str, int]:
    """Tokens by modality, summed over these lists."""
    found: dict[str, int] = {}
    for name in names:
        listed = raw.get(name)
        for item in listed if isinstance(listed, list) else ():
            if isinstance(item, dict) and item.get("tokenCount") is not None:
                kind = str(item.get("modality"))
                found[kind] = found.get(kind, 0) + checked(item["tokenCount"], f"{name}.{kind}.tokenCount")
    return found


def searches_in(queries: Iterable[str], *, each_counts: bool) -> int:
    """Searches as they are billed: each query from the third generation on, one a grounded prompt before.

    Source: https://ai.google.dev/gemini-api/docs/google-search#pricing
    """
    made = len({query for query in queries if query})
    return made if each_counts else min(made, 1)
