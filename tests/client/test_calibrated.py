"""Streams that their provider counts teach what the tokens of those it does not count are."""

from decimal import Decimal
from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

import callmeter
from callmeter.client.estimate import calibrated, counted_usage, estimated
from callmeter.events.model import StreamCompleted
from callmeter.pricing.calibration import LEAST_OBSERVED, Calibration, Learned, Ratio
from callmeter.runtime import Runtime, using
from callmeter.settings import Settings
from callmeter.testing import FakeProvider
from callmeter.traffic import learn
from callmeter.types import Call, Cost, Usage

QUESTION = [{"role": "user", "content": "Say something long and nice, please. " * 20}]


def call(*texts: str) -> Call:
    return Call(id="1", operation="chat", model="m", messages=[{"role": "user", "content": text} for text in texts])


def price(usage: Usage) -> Cost:
    return Cost(total=Decimal(usage.input_tokens + 4 * usage.output_tokens).scaleb(-6), status="priced")


@st.composite
def ratios(draw: st.DrawFn) -> Ratio:
    least, typical, most = sorted(draw(st.tuples(*(st.integers(500, 64_000) for _ in range(3)))))
    return Ratio(typical=typical, least=least, most=most)


learned = st.builds(Learned, st.none() | ratios(), st.none() | ratios())
reports = st.none() | st.builds(Usage, input_tokens=st.integers(0, 1000), output_tokens=st.integers(0, 10))


@given(
    st.lists(st.text(max_size=200), min_size=1, max_size=4),
    st.text(max_size=300),
    learned,
    reports,
    st.integers(0, 3000),
)
def test_whatever_was_learned_the_estimate_lies_in_its_band_under_the_bound(
    prompts: list[str], answer: str, known: Learned, reported: Usage | None, body: int
) -> None:
    size = len(answer.encode("utf-8", "surrogatepass"))
    asked = call(*prompts)
    counted = counted_usage(asked, len(answer), size, reported)
    count, most, low, high = calibrated(asked, counted, known, size, body, reported)
    cost, bound = estimated(price, count, most, (low, high)), price(most).total
    assert cost.low is not None
    assert cost.total is not None
    assert cost.high is not None
    assert bound is not None
    assert cost.low <= cost.total <= cost.high <= bound
    assert low.input_tokens <= count.input_tokens <= high.input_tokens <= most.input_tokens
    assert low.output_tokens <= count.output_tokens <= high.output_tokens <= most.output_tokens


def test_a_prompt_with_images_is_not_measured_by_its_bytes() -> None:
    image = [{"type": "image_url", "image_url": {"url": "data:image/png;base64," + "A" * 1000}}]
    asked = Call(id="1", operation="chat", model="m", messages=[{"role": "user", "content": image}])
    counted = counted_usage(asked, 0, 0, None)
    known = Learned(prompt=Ratio(typical=4000, least=3000, most=5000))
    assert calibrated(asked, counted, known, 0, 1200, None)[0] == counted[0]


def stream(tokens: int, read: int | None = None) -> None:
    """A stream that is read to its end, or until `read` chunks came."""
    wish = {"prompt_tokens": 300, "completion_tokens": tokens}
    chunks = callmeter.completion("openai/gpt-4o", QUESTION, stream=True, x_fake=wish)
    for number, _ in enumerate(chunks, 1):
        if number == read:
            chunks.close()
            break


def test_without_calibration_an_estimate_depends_on_its_text_alone(provider: FakeProvider) -> None:
    seen: list[StreamCompleted] = []
    with using(Runtime(Settings(calibrate=False))) as runtime:
        runtime.subscribe(seen.append, types=(StreamCompleted,))
        stream(100, read=40)
        for _ in range(LEAST_OBSERVED):
            stream(100)
        stream(100, read=40)
        assert runtime.flush(10)
        assert runtime.calibration.of("openai", "gpt-4o").answer is not None
        runtime.close()
    first, *_, last = seen
    assert first.usage_source == last.usage_source == "counted"
    assert first.answer_bytes == last.answer_bytes
    assert (first.usage, first.cost) == (last.usage, last.cost)


def test_a_cut_stream_is_counted_by_the_ratio_of_whole_ones(provider: FakeProvider, tmp_path: Path) -> None:
    seen: list[StreamCompleted] = []
    home = tmp_path / "home"
    with using(Runtime(Settings(home=str(home), ledger=True))) as runtime:
        runtime.subscribe(seen.append, types=(StreamCompleted,))
        for _ in range(LEAST_OBSERVED):
            stream(100)
        stream(100, read=40)
        assert runtime.flush(10)
        runtime.close()
    *whole, cut = seen
    assert len(whole) == LEAST_OBSERVED
    assert all(end.usage_source == "provider" for end in whole)
    ratio = 1000 * whole[0].answer_bytes // 100
    assert (cut.usage_source, cut.finish_reason) == ("counted", "cancelled")
    assert cut.usage is not None
    # 2 % for the classes, one token for rounding; the body of the prompt is the same each time.
    assert abs(cut.usage.output_tokens - 1000 * cut.answer_bytes / ratio) <= 1 + 0.02 * cut.usage.output_tokens
    assert abs(cut.usage.input_tokens - 300) <= 1 + 300 * 0.03
    assert cut.cost.low is not None
    assert cut.cost.high is not None
    assert cut.cost.total is not None
    assert cut.cost.low <= cut.cost.total <= cut.cost.high
    assert cut.cost.high - cut.cost.low < cut.cost.total / 10  # the usual band is as wide as the cost itself
    taught = Calibration()
    with callmeter.ledger.connect(home) as ledger:
        learn(ledger, taught)
    again, live = taught.of("openai", "gpt-4o"), runtime.calibration.of("openai", "gpt-4o")
    assert again.answer is not None
    assert live.answer is not None
    assert abs(again.answer.typical - live.answer.typical) <= live.answer.typical // 25
