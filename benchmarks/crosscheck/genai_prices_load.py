"""genai-prices pricing the calls of the cross-check: `genai_prices_load.py CALLS ANSWERS`, a JSON object a line.

Runs in an environment of its own, so it imports nothing of ours.
"""

import json
import sys
import warnings
from datetime import datetime, timezone

warnings.simplefilter("ignore")
from genai_prices import Usage, calc_price  # noqa: E402
from genai_prices.data import providers  # noqa: E402

COUNTS = {
    "input_tokens": "input_tokens",
    "output_tokens": "output_tokens",
    "cache_read_tokens": "cache_read_tokens",
    "input_audio_tokens": "input_audio_tokens",
    "output_audio_tokens": "output_audio_tokens",
    "cache_read_audio_tokens": "cache_audio_read_tokens",
    "input_image_tokens": "input_image_tokens",
    "output_image_tokens": "output_image_tokens",
    "input_video_tokens": "input_video_tokens",
    "reasoning_tokens": "output_reasoning_tokens",
}
UNITS = {
    "search.web": "web_searches",
    "search.x": "social_searches",
    "search.file": "storage_searches",
    "request": "requests",
    "message": "input_text_messages",
    "audio_second": "input_audio_seconds",
    "character": "input_characters",
    "page": "input_document_pages",
    "page_annotated": "input_annotated_document_pages",
    "rerank": "rerank_searches",
    "citation": "output_citation_tokens",
}
TIERS = {
    "batch": {"processing": "batch"},
    "flex": {"service_tier": "flex"},
    "priority": {"service_tier": "priority"},
    "fast": {"speed": "fast"},
}


def asked(usage):
    """The counts under its names; None where a quantity has none there."""
    counts = {COUNTS[name]: value for name, value in usage.items() if name in COUNTS and value}
    written, hour = usage.get("cache_write_tokens", 0), usage.get("cache_write_1h_tokens", 0)
    if written or hour:
        counts |= {
            "cache_write_tokens": written + hour,
            "cache_write_5m_tokens": written,
            "cache_write_1h_tokens": hour,
        }
    for line, quantity in usage.get("units", {}).items():
        name = UNITS.get(line)
        if name is None:
            return None
        number = float(quantity)
        counts[name] = int(number) if number.is_integer() else number
    if "input_audio_seconds" in counts:
        counts["audio_seconds"] = counts["input_audio_seconds"]
    return counts


def answer(call):
    counts, tier = asked(call["usage"]), call.get("tier", "")
    if counts is None:
        return {"silent": "no count of that name"}
    if call.get("region"):
        return {"silent": "no regions"}
    if tier and tier != "standard" and tier not in TIERS:
        return {"silent": f"no tier {tier}"}
    at = datetime.fromtimestamp(call["at_s"], timezone.utc)  # noqa: UP017
    why = ""
    for provider in call["names"]:
        try:
            found = calc_price(
                Usage(**counts),
                call["model"],
                provider_id=provider,
                genai_request_timestamp=at,
                price_context=TIERS.get(tier),
            )
        except LookupError as problem:
            why = why or f"LookupError: {problem}"
        except ValueError as problem:
            return {"silent": f"ValueError: {problem}"[:200]}
        else:
            return {"usd": str(found.total_price), "as": f"{found.provider.id}/{found.model.id}"}
    return {"silent": why[:200]}


def known():
    """Every model that it has a price for."""
    for provider in providers:
        for model in provider.models:
            yield {"key": model.id, "provider": provider.id}


def main():
    calls, answers = sys.argv[1:]
    with open(calls) as read, open(answers, "w") as write:
        for line in read:
            write.write(json.dumps(answer(json.loads(line))) + "\n")
    with open(f"{answers}.known", "w") as write:
        write.writelines(json.dumps(one) + "\n" for one in known())
    print(json.dumps({"done": True}), flush=True)


main()
