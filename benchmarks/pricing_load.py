"""One library pricing calls: `pricing_load.py LIBRARY COUNT`. Prints microseconds a price by case."""

import json
import os
import sys
import time
from datetime import datetime, timezone

AT = datetime(2026, 11, 1, tzinfo=timezone.utc)  # noqa: UP017


def callmeter():
    from callmeter.pricing import Usage, price

    used = Usage(input_tokens=1_000, output_tokens=100, cache_read_tokens=200)

    def cost(name):
        return price(name, used, provider="openai", at=AT).items

    return cost


def litellm():
    import litellm as library

    details = library.types.utils.PromptTokensDetailsWrapper(cached_tokens=200)
    used = library.Usage(prompt_tokens=1_000, completion_tokens=100, total_tokens=1_100, prompt_tokens_details=details)
    answer = library.ModelResponse(model="gpt-4o-mini", usage=used)

    def cost(name):
        return library.completion_cost(completion_response=answer, model=name, custom_llm_provider="openai")

    return cost


def genai_prices():
    from genai_prices import Usage, calc_price

    used = Usage(input_tokens=1_000, output_tokens=100, cache_read_tokens=200)

    def cost(name):
        return calc_price(used, name, provider_id="openai", genai_request_timestamp=AT)

    return cost


def spelled(count):
    """As many spellings of one name."""
    name = "gpt-4o-mini"
    for number in range(count):
        yield "".join(c.upper() if number >> at & 1 else c for at, c in enumerate(name))


def best_us(cost, names):
    best = float("inf")
    for _ in range(5):
        began = time.perf_counter()
        for name in names:
            try:
                cost(name)
            except Exception:
                pass
        best = min(best, (time.perf_counter() - began) / len(names) * 1e6)
    return best


def once_us(cost, names):
    began = time.perf_counter()
    for name in names:
        try:
            cost(name)
        except Exception:
            pass
    return (time.perf_counter() - began) / len(names) * 1e6


def main():
    name, count = sys.argv[1].replace("-", "_"), int(sys.argv[2])
    cost = {"callmeter": callmeter, "litellm": litellm, "genai_prices": genai_prices}[name]()
    cost("gpt-4o-mini")
    found = {
        "warm": best_us(cost, ["gpt-4o-mini"] * count),
        # Each spelling is new once only.
        "spelling": once_us(cost, list(spelled(200))[1:]),
        "unknown": best_us(cost, ["no-such-model-of-anybodys"] * count),
    }
    print(json.dumps(found), flush=True)
    os._exit(0)


main()
