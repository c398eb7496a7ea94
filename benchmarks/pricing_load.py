"""One library pricing calls of four lines: `pricing_load.py LIBRARY COUNT`. Prints CPU microseconds a price by case."""

import json
import os
import sys
import time
from datetime import datetime, timezone

PROVIDER, MODEL = "anthropic", "claude-sonnet-4-5"
AT = datetime(2026, 11, 1, tzinfo=timezone.utc)  # noqa: UP017


def callmeter():
    from callmeter.pricing import Usage, price

    used = Usage(input_tokens=1_000, output_tokens=100, cache_read_tokens=200, cache_write_tokens=300)

    def cost(name):
        return price(name, used, provider=PROVIDER, at=AT).items

    return cost


def litellm():
    import litellm as library

    used = library.Usage(
        prompt_tokens=1_000,
        completion_tokens=100,
        total_tokens=1_100,
        cache_read_input_tokens=200,
        cache_creation_input_tokens=300,
    )
    answer = library.ModelResponse(model=MODEL, usage=used)

    def cost(name):
        return library.completion_cost(completion_response=answer, model=name, custom_llm_provider=PROVIDER)

    return cost


def genai_prices():
    from genai_prices import Usage, calc_price

    used = Usage(input_tokens=1_000, output_tokens=100, cache_read_tokens=200, cache_write_tokens=300)

    def cost(name):
        return calc_price(used, name, provider_id=PROVIDER, genai_request_timestamp=AT)

    return cost


def spelled(count):
    """As many spellings of one name."""
    letters = [at for at, c in enumerate(MODEL) if c.isalpha()]
    for number in range(count):
        upper = {at for bit, at in enumerate(letters) if number >> bit & 1}
        yield "".join(c.upper() if at in upper else c for at, c in enumerate(MODEL))


def best_us(cost, names):
    best = float("inf")
    for _ in range(5):
        began = time.process_time()
        for name in names:
            try:
                cost(name)
            except Exception:
                pass
        best = min(best, (time.process_time() - began) / len(names) * 1e6)
    return best


def once_us(cost, names):
    began = time.process_time()
    for name in names:
        try:
            cost(name)
        except Exception:
            pass
    return (time.process_time() - began) / len(names) * 1e6


def main():
    name, count = sys.argv[1].replace("-", "_"), int(sys.argv[2])
    cost = {"callmeter": callmeter, "litellm": litellm, "genai_prices": genai_prices}[name]()
    cost(MODEL)
    found = {
        "warm": best_us(cost, [MODEL] * count),
        # Each spelling is new once only.
        "spelling": once_us(cost, list(spelled(200))[1:]),
        "unknown": best_us(cost, ["no-such-model-of-anybodys"] * count),
    }
    print(json.dumps(found), flush=True)
    os._exit(0)


main()
